// Points with whiskers, as scatter charts show runs and groups.
import { html, useRef, useState } from "../lib/html.js";
import { Canvas } from "./canvas.js";
import { clip, drawAxes, frame, line } from "./frame.js";
import { withAlpha } from "../lib/colours.js";
import { padded } from "../lib/scale.js";

const REACH = 18;

// The smallest range that holds all points with their whiskers.
export function rangeOf(values, isLog) {
  const good = values.filter((value) => Number.isFinite(value) && (!isLog || value > 0));
  return good.length ? padded(Math.min(...good), Math.max(...good), isLog, 0.08) : isLog ? [0.1, 10] : [0, 1];
}

// `points` are {id, label, colour, x, y, dx, dy, small}; `x` and `y` axes of `frame`. `under` and `over` draw
// with the frame before and after the points. `onFrame` is told the frame for those who hit-test themselves.
export function Points({ points, x, y, label, under, over, deps = [], describePoint, onFrame, onPick, className, events = {} }) {
  const made = useRef();
  const [found, setFound] = useState(null);
  const draw = (context, width, height, colours) => {
    made.current = frame(context, width, height, x, y);
    onFrame?.(made.current);
    drawAxes(context, made.current, colours);
    clip(context, made.current.box, () => {
      under?.(context, made.current, colours);
      for (const point of points) drawPoint(context, made.current, point, colours, point.id === found?.id);
      over?.(context, made.current, colours);
    });
  };
  const near = (event) => {
    const at = event.currentTarget.getBoundingClientRect();
    const [px, py] = [event.clientX - at.left, event.clientY - at.top];
    let best = null;
    for (const point of points) {
      const distance = Math.hypot(made.current.x.at(point.x) - px, made.current.y.at(point.y) - py);
      if (distance < REACH && (!best || distance < best.distance)) best = { ...point, distance };
    }
    return best;
  };
  const move = (event) => { if (!events.onPointerMove?.(event)) setFound(near(event)); };
  return html`<${Canvas} draw=${draw} label=${label} className=${className} deps=${[points, x, y, found, ...deps]} ...${events}
      onPointerMove=${move} onPointerLeave=${() => setFound(null)} onClick=${(event) => { const point = near(event); if (point) onPick?.(point); }}>
    ${found && made.current && html`<div class="tooltip" style=${place(made.current, found)}><div class="tooltip-row"><i class="dot" style=${{ background: found.colour }} /><b>${found.label}</b></div>${describePoint(found).map((text) => html`<div>${text}</div>`)}</div>`}
  </${Canvas}>`;
}

function place({ x, y, box }, point) {
  const [px, py] = [x.at(point.x), y.at(point.y)];
  const side = px > (box.left + box.right) / 2 ? { right: `calc(100% - ${px - 12}px)` } : { left: `${px + 12}px` };
  return { ...side, top: `${Math.max(0, py - 20)}px` };
}

function drawPoint(context, { x, y }, point, colours, isFound) {
  const [px, py] = [x.at(point.x), y.at(point.y)];
  if (!Number.isFinite(px) || !Number.isFinite(py)) return;
  context.strokeStyle = withAlpha(point.colour, 0.7);
  context.lineWidth = 1.5;
  if (point.dx > 0) line(context, x.at(point.x - point.dx), py, x.at(point.x + point.dx), py);
  if (point.dy > 0) line(context, px, y.at(point.y - point.dy), px, y.at(point.y + point.dy));
  context.fillStyle = point.small ? withAlpha(point.colour, 0.4) : point.colour;
  context.strokeStyle = colours.paper;
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(px, py, isFound ? 7 : point.small ? 3 : 5.5, 0, 2 * Math.PI);
  context.fill();
  if (!point.small) context.stroke();
}
