// Where the boxes of a lineage graph go: what comes from something stands to the right of it.
export function layout({ nodes, edges }) {
  const depth = new Map(nodes.map((node) => [node.id, 0]));
  // Arrows never make a circle longer than the number of nodes; stop there if logged data say otherwise.
  for (let round = 0; round < nodes.length; round += 1) {
    let isSettled = true;
    for (const [from, to] of edges) {
      if (depth.has(from) && depth.has(to) && depth.get(to) < depth.get(from) + 1 && from !== to) { depth.set(to, depth.get(from) + 1); isSettled = false; }
    }
    if (isSettled) break;
  }
  const columns = [];
  for (const node of nodes) (columns[depth.get(node.id)] ??= []).push(node);
  return columns.filter(Boolean).map((column) => order(column, edges));
}

// Boxes near those they are joined to: by the place of their sources in the list.
function order(column, edges) {
  const source = (node) => edges.findIndex(([, to]) => to === node.id);
  return [...column].sort((a, b) => source(a) - source(b));
}

// What changed between two lists of files: added, removed, changed, and how many are the same.
export function diffFiles(before, after) {
  const old = new Map(before.map((file) => [file.name, file]));
  const found = { added: [], removed: [], changed: [], same: 0 };
  for (const file of after) {
    const was = old.get(file.name);
    old.delete(file.name);
    if (!was) found.added.push(file);
    else if (was.digest !== file.digest) found.changed.push({ ...file, was });
    else found.same += 1;
  }
  found.removed = [...old.values()];
  return found;
}
