// Quality and cost in numbers: what one quotes.
import { html } from "../lib/html.js";
import { paretoFront } from "../lib/cost.js";
import { formatNumber } from "../lib/format.js";
import { Dot } from "./swatch.js";

const spread = ({ n, mean, sd }, write) => html`${write(mean)}${n > 1 && html` <small>± ${write(sd)}</small>`}`;

export function CostTable({ rows, target, write, isHigh }) {
  const front = new Set(paretoFront(rows.map((row) => ({ id: row.id, x: row.cost.mean, y: row.quality.mean })), isHigh).map((point) => point.id));
  const times = rows.filter((row) => row.reached === row.tried).map((row) => row.toTarget.mean);
  const slowest = Math.max(...times);
  const sorted = [...rows].sort((a, b) => (Number.isFinite(a.toTarget.mean) ? a.toTarget.mean : Infinity) - (Number.isFinite(b.toTarget.mean) ? b.toTarget.mean : Infinity));
  return html`<div class="box scroll cost-table"><table class="plain"><thead><tr><th>Run</th><th class="number">Quality</th><th class="number">Cost</th><th class="number">Cost to ${formatNumber(target)}</th><th class="number">Reached</th><th class="number">Faster than the slowest</th><th>Pareto front</th></tr></thead>
    <tbody>${sorted.map((row) => html`<tr key=${row.id}><td><${Dot} colour=${row.colour} /> ${row.label}</td><td class="number">${spread(row.quality, formatNumber)}</td><td class="number">${spread(row.cost, write)}</td>
      <td class="number">${row.reached ? spread(row.toTarget, write) : "never"}</td><td class="number">${row.reached} of ${row.tried}</td>
      <td class="number">${row.reached === row.tried && times.length > 1 ? `${formatNumber(slowest / row.toTarget.mean, 3)}×` : ""}</td><td>${front.has(row.id) ? "yes" : ""}</td></tr>`)}</tbody></table></div>`;
}
