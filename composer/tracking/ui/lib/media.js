// What the client logs as pictures, sounds, tables and so on, in one form.

// Pictures of a value: one or many, each {path, caption, masks, boxes}; paths are of files of the run.
export function picturesOf(value) {
  if (value._type === "images/separated" || value._type === "images") {
    return (value.filenames ?? []).map((path, i) => ({ path, caption: value.captions?.[i], masks: value.all_masks?.[i] ?? {}, boxes: value.all_boxes?.[i] ?? {} }));
  }
  return [{ path: value.path, caption: value.caption, masks: value.masks ?? {}, boxes: value.boxes ?? {} }];
}

const MARKS = { mask: "mask/class_labels", box: "bounding_box/class_labels" };

// What the masks and boxes under a key are of: [{id, name, classes: [[number, label]]}].
export function classesOf(run, key) {
  const given = run?.config?._wandb?.value ?? {};
  const start = `${key}_wandb_delimeter_`;
  return Object.entries(MARKS).flatMap(([kind, place]) => Object.entries(given[place] ?? {}).filter(([name]) => name.startsWith(start)).map(([name, each]) => ({
    id: `${kind} ${name.slice(start.length)}`, name: name.slice(start.length), classes: Object.entries(each?.value ?? {}).map(([number, label]) => [Number(number), String(label)]),
  })));
}

// Class 0 of a mask is most often what lies behind, so it is shown only when it is asked for.
export const isShownAtFirst = (group, number) => number !== 0 || group.startsWith("box");

// Sounds and films come one at a time or as a list under one value.
export function filesOf(value) {
  const list = Array.isArray(value.audio) ? value.audio : Array.isArray(value.videos) ? value.videos : [value];
  return list.filter((each) => typeof each?.path === "string").map((each, i) => ({ path: each.path, caption: value.captions?.[i] ?? each.caption }));
}

// A histogram as edges and counts.
export function histogramOf(value) {
  const counts = Array.isArray(value.values) ? value.values.map(Number) : [];
  if (Array.isArray(value.bins)) return { edges: value.bins.map(Number), counts };
  const { min, size, count } = value.packedBins ?? { min: 0, size: 1, count: counts.length };
  return { edges: Array.from({ length: count + 1 }, (_, i) => min + i * size), counts };
}

// A box in fractions of the picture: {x, y, width, height, label, id}.
export function boxesOf(file, picture) {
  return (file.box_data ?? []).map((box) => {
    const { position: at = {}, domain } = box;
    const [sx, sy] = domain === "pixel" ? [picture.width || 1, picture.height || 1] : [1, 1];
    const [x, y, width, height] = Array.isArray(at.middle)
      ? [at.middle[0] - at.width / 2, at.middle[1] - at.height / 2, at.width, at.height]
      : [at.minX, at.minY, at.maxX - at.minX, at.maxY - at.minY];
    return { x: x / sx, y: y / sy, width: width / sx, height: height / sy, id: box.class_id ?? 0, label: box.box_caption ?? file.class_labels?.[box.class_id] ?? "" };
  }).filter((box) => [box.x, box.y, box.width, box.height].every(Number.isFinite));
}

// Points of a cloud: {x, y, z, hue or null}.
export function pointsOf(file) {
  const rows = Array.isArray(file) ? file : file.points ?? [];
  return rows.filter((row) => Array.isArray(row) && row.length >= 3).map((row) => ({ x: Number(row[0]), y: Number(row[1]), z: Number(row[2]), rgb: row.length >= 6 ? row.slice(3, 6).map(Number) : null, kind: row.length === 4 ? Number(row[3]) : null }));
}

// The value at a step: the last one logged until then.
export function valueAt(values, step) {
  let found = values[0];
  for (const each of values) if (each.step <= step) found = each;
  return found;
}
