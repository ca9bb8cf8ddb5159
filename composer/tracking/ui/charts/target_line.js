// The target: a line across a chart that can be taken and moved, with the mouse, a finger or arrow keys.
import { line } from "./frame.js";
import { formatNumber } from "../lib/format.js";
import { useRef, useState } from "../lib/html.js";
import { setQuery } from "../state.js";

const REACH = 12;
const SETTLED_MS = 250;

// The target and how to set it: the address has it once it is let go. `otherwise()` gives it until then.
export function useTarget(query, otherwise) {
  const [dragged, setDragged] = useState(null);
  const timer = useRef();
  const onTarget = (value) => {
    setDragged(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => { setQuery({ target: Number(value.toPrecision(6)) }, { replace: true }); setDragged(null); }, SETTLED_MS);
  };
  return [dragged ?? (query.has("target") ? query.number("target", 0) : otherwise()), onTarget];
}

export function drawTarget(context, { box, y }, colours, target) {
  const at = Math.round(y.at(target)) + 0.5;
  context.strokeStyle = colours.accent;
  context.lineWidth = 1.5;
  context.setLineDash([6, 4]);
  line(context, box.left, at, box.right, at);
  context.setLineDash([]);
  const text = `target ${formatNumber(target)}`;
  context.font = "600 11px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = at - box.top > 18 ? "bottom" : "top";
  context.fillStyle = colours.accent;
  context.fillText(text, box.left + 18, at + (at - box.top > 18 ? -3 : 4));
  context.beginPath();
  context.roundRect(box.left + 4, at - 7, 10, 14, 3);
  context.fill();
}

// Handlers for a canvas; `frameOf()` gives its frame. A handler returns true when it took the event.
export function dragTarget(frameOf, target, onTarget, state) {
  const at = (event) => event.clientY - event.currentTarget.getBoundingClientRect().top;
  const isNear = (event) => frameOf() && Math.abs(frameOf().y.at(target) - at(event)) < REACH;
  const within = (value) => { const { low, high } = frameOf().y; return Math.min(high, Math.max(low, value)); };
  return {
    tabindex: 0,
    onPointerDown: (event) => { if (isNear(event)) { state.current = true; event.currentTarget.setPointerCapture(event.pointerId); event.preventDefault(); } },
    onPointerMove: (event) => {
      event.currentTarget.style.cursor = state.current || isNear(event) ? "ns-resize" : "";
      if (state.current) onTarget(within(frameOf().y.value(at(event))));
      return state.current;
    },
    onPointerUp: () => { state.current = false; },
    onKeyDown: (event) => {
      const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!by || !frameOf()) return;
      event.preventDefault();
      const { low, high } = frameOf().y;
      onTarget(within(target + (by * (high - low)) / 200));
    },
  };
}
