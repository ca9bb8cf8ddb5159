// What the cursor of a chart reads: shown beside it, and told to screen readers.
import { html } from "../lib/html.js";
import { formatDuration, formatNumber, formatTime } from "../lib/format.js";

const MOST = 10;

function axisText(axis, x) {
  if (axis?.kind === "duration") return formatDuration(x);
  if (axis?.kind === "time") return formatTime(x);
  return `${axis?.label || "step"} ${formatNumber(Number(x.toPrecision(7)), 6)}`;
}

export function Tooltip({ frame, x, rows, axis }) {
  const pixel = frame.x.at(x);
  const isLeft = pixel > (frame.box.left + frame.box.right) / 2;
  const side = isLeft ? { right: `calc(100% - ${pixel - 12}px)` } : { left: `${pixel + 12}px` };
  const first = rows[0];
  return html`<div class="tooltip" style=${side} role="status">
    <b>${axisText(axis, first ? first.at : x)}</b>
    ${rows.slice(0, MOST).map((row) => html`<div class="tooltip-row" key=${row.id}>
      <i class="dot" style=${{ background: row.colour }} /><span>${row.label}</span>
      <b>${formatNumber(row.value, 5)}</b>
      ${!row.line.isExact && Number.isFinite(row.low) && row.low !== row.high && html`<small>${row.line.isMean ? `± ${formatNumber((row.high - row.low) / 2, 3)}` : `${formatNumber(row.low, 4)} … ${formatNumber(row.high, 4)}`}</small>`}
    </div>`)}
    ${rows.length > MOST && html`<small>and ${rows.length - MOST} more</small>`}
  </div>`;
}
