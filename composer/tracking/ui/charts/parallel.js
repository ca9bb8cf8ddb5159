// Parallel coordinates: an axis per column, a line per run. Drag along an axis to keep only the runs that
// pass there; a click on the axis lets all pass again.
import { html, useMemo, useRef, useState } from "../lib/html.js";
import { Canvas } from "./canvas.js";
import { line } from "./frame.js";
import { withAlpha } from "../lib/colours.js";
import { setQuery } from "../state.js";
import { formatValue } from "../lib/format.js";
import { compareNames } from "../lib/columns.js";
import { ticks, tickText } from "../lib/scale.js";

const EDGE = { left: 60, right: 60, top: 34, bottom: 16 };
const MOST_TEXTS = 24;
// With more lines than this one cannot follow single colours; then the last axis gives the colour.
const MOST_COLOURS = 40;

const shade = (share) => `oklch(0.68 0.15 ${(265 - 225 * share).toFixed(1)})`;

// Numbers stand where their size puts them, texts one above another.
function axisOf(values) {
  const numbers = values.filter((value) => typeof value === "number" && Number.isFinite(value));
  const isNumbers = numbers.length > 0 && values.every((value) => typeof value === "number" || value === undefined || value === null);
  if (isNumbers) {
    const low = numbers.reduce((a, b) => Math.min(a, b));
    const high = numbers.reduce((a, b) => Math.max(a, b));
    const marks = low === high ? [low] : ticks(low, high, 5);
    const texts = tickText("number", marks);
    const share = (value) => (typeof value === "number" ? (low === high ? 0.5 : (value - low) / (high - low)) : NaN);
    return { share, marks: marks.map((value, i) => ({ at: share(value), text: texts[i] })) };
  }
  const texts = [...new Set(values.filter((value) => value !== undefined && value !== null && value !== "").map(formatValue))].sort(compareNames);
  const place = new Map(texts.map((text, i) => [text, texts.length === 1 ? 0.5 : i / (texts.length - 1)]));
  return { share: (value) => place.get(formatValue(value)) ?? NaN, marks: texts.slice(0, MOST_TEXTS).map((text) => ({ at: place.get(text), text })) };
}

// Which part of each axis runs must pass, as the address has it: shares of the axis from 0 to 1.
const spansOf = (query) => Object.fromEntries(query.all("pass").map((text) => text.split("@")).map(([column, low, high]) => [column, [Number(low), Number(high)]]));

// `axes` are {column, title}; `lines` {id, label, colour, values}.
export function Parallel({ axes, lines, query, highlighted }) {
  const [dragged, setDragged] = useState({});
  const kept = { ...spansOf(query), ...dragged };
  const drag = useRef(null);
  const box = useRef({});
  const scales = useMemo(() => axes.map((_, i) => axisOf(lines.map((each) => each.values[i]))), [axes.map((axis) => axis.column).join(), lines]);
  const passes = (each) => axes.every(({ column }, i) => { const span = kept[column]; const at = scales[i].share(each.values[i]); return !span || (at >= span[0] && at <= span[1]); });
  const draw = (context, width, height, colours) => {
    const x = (i) => EDGE.left + (axes.length === 1 ? 0.5 : i / (axes.length - 1)) * (width - EDGE.left - EDGE.right);
    const y = (share) => height - EDGE.bottom - share * (height - EDGE.top - EDGE.bottom);
    box.current = { x, y, height };
    const sorted = [...lines].sort((a, b) => passes(a) - passes(b) || (a.id === highlighted) - (b.id === highlighted));
    for (const each of sorted) {
      const isKept = passes(each) && (highlighted === null || highlighted === each.id);
      const end = scales[axes.length - 1]?.share(each.values[axes.length - 1]);
      const colour = lines.length > MOST_COLOURS && Number.isFinite(end) ? shade(end) : each.colour;
      context.strokeStyle = withAlpha(colour, isKept ? (lines.length > 100 ? 0.5 : 0.85) : 0.07);
      context.lineWidth = each.id === highlighted ? 3 : 1.5;
      context.beginPath();
      let isOpen = false;
      each.values.forEach((value, i) => {
        const at = y(scales[i].share(value));
        if (!Number.isFinite(at)) { isOpen = false; return; }
        if (isOpen) { const middle = (x(i - 1) + x(i)) / 2; context.bezierCurveTo(middle, y(scales[i - 1].share(each.values[i - 1])), middle, at, x(i), at); } else context.moveTo(x(i), at);
        isOpen = true;
      });
      context.stroke();
    }
    context.font = "11px system-ui, sans-serif";
    axes.forEach(({ column, title }, i) => drawAxis(context, { x: x(i), y, title, marks: scales[i].marks, span: kept[column], room: (width - EDGE.left - EDGE.right) / Math.max(1, axes.length - 1) }, colours));
  };
  const near = (event) => {
    const at = event.currentTarget.getBoundingClientRect();
    const i = axes.findIndex((_, each) => Math.abs(box.current.x(each) - (event.clientX - at.left)) < 16);
    return { i, share: (box.current.height - EDGE.bottom - (event.clientY - at.top)) / (box.current.height - EDGE.top - EDGE.bottom) };
  };
  const down = (event) => { const { i, share } = near(event); if (i >= 0) { drag.current = { i, share }; event.currentTarget.setPointerCapture(event.pointerId); } };
  const move = (event) => {
    const { i, share } = near(event);
    event.currentTarget.style.cursor = i >= 0 ? "crosshair" : "";
    if (drag.current) setDragged({ [axes[drag.current.i].column]: [Math.min(drag.current.share, share), Math.max(drag.current.share, share)] });
  };
  const up = (event) => {
    if (!drag.current) return;
    const { column } = axes[drag.current.i];
    const all = { ...kept };
    if (Math.abs(near(event).share - drag.current.share) < 0.01) delete all[column];
    drag.current = null;
    setDragged({});
    setQuery({ pass: Object.entries(all).map(([each, [low, high]]) => `${each}@${low.toFixed(3)}@${high.toFixed(3)}`) }, { replace: true });
  };
  const count = lines.filter(passes).length;
  return html`<${Canvas} className="taller" draw=${draw} deps=${[lines, scales, JSON.stringify(kept), highlighted]} label=${`${lines.length} runs over ${axes.map((axis) => axis.title).join(", ")}; ${count} pass.`} onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} />
    <p class="list-count">${count} of ${lines.length} pass. Drag along an axis to choose; click it to let all pass.</p>`;
}

function drawAxis(context, { x, y, title, marks, span, room }, colours) {
  context.strokeStyle = colours.soft;
  context.lineWidth = 1;
  line(context, x, y(0), x, y(1));
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillStyle = colours.ink;
  context.fillText(title, x, y(1) - 10, Math.max(60, room - 10));
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const mark of marks) {
    context.lineWidth = 4;
    context.strokeStyle = colours.paper;
    context.strokeText(mark.text, x + 6, y(mark.at), room - 12);
    context.fillStyle = colours.soft;
    context.fillText(mark.text, x + 6, y(mark.at), room - 12);
  }
  if (span) {
    context.fillStyle = colours.accent;
    context.globalAlpha = 0.35;
    context.fillRect(x - 5, y(span[1]), 10, y(span[0]) - y(span[1]));
    context.globalAlpha = 1;
  }
}
