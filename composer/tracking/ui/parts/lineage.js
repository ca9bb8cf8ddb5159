// A lineage graph: runs and artifacts, joined by arrows from what was used to what was made.
import { html } from "../lib/html.js";
import { get } from "../api.js";
import { useAnswer } from "../data.js";
import { layout } from "../lib/lineage.js";
import { pathTo } from "../state.js";

const BOX = { width: 190, height: 46, across: 250, down: 62, margin: 10 };

export function Lineage({ question }) {
  const { value: graph, error } = useAnswer(() => get("/api/lineage", question), JSON.stringify(question));
  if (error) return html`<p class="error">${error.message}</p>`;
  if (!graph) return html`<div class="empty" aria-busy="true" />`;
  if (graph.nodes.length < 2) return html`<p class="hint">No run has made or used it yet.</p>`;
  const columns = layout(graph);
  const tallest = Math.max(...columns.map((column) => column.length));
  const place = new Map();
  columns.forEach((column, x) => column.forEach((node, y) => place.set(node.id, { x: BOX.margin + x * BOX.across, y: BOX.margin + (y + (tallest - column.length) / 2) * BOX.down, node })));
  const [width, height] = [columns.length * BOX.across - (BOX.across - BOX.width) + 2 * BOX.margin, tallest * BOX.down + 2 * BOX.margin];
  return html`<div class="lineage scroll"><svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label=${`Lineage of ${graph.nodes.length} runs and artifacts`}>
    ${graph.edges.map(([from, to]) => place.has(from) && place.has(to) && html`<path class="lineage-arrow" d=${arrow(place.get(from), place.get(to))} />`)}
    ${[...place.values()].map(({ x, y, node }) => html`<a key=${node.id} href=${addressOf(node)}><g transform=${`translate(${x} ${y})`} class=${`lineage-node is-${node.kind} ${node.id === graph.start ? "is-start" : ""}`}>
      <rect width=${BOX.width} height=${BOX.height} rx="9" /><text x="12" y="19" class="lineage-kind">${node.kind === "run" ? "run" : node.type}</text><text x="12" y="36">${cut(node.kind === "run" ? node.display_name ?? node.name : `${node.name}:${node.version}`)}</text></g></a>`)}
  </svg></div>`;
}

const cut = (text) => (text.length > 24 ? `${text.slice(0, 23)}…` : text);

function arrow(from, to) {
  const [x0, y0, x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2, to.x, to.y + BOX.height / 2];
  const bend = Math.max(24, (x1 - x0) / 2);
  return `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
}

function addressOf(node) {
  if (!node.project) return undefined;
  return node.kind === "run" ? pathTo(node.entity, node.project, "runs", node.name) : pathTo(node.entity, node.project, "artifacts", node.name, node.version);
}
