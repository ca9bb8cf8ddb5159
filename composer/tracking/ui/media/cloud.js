// A cloud of points that can be turned.
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { Canvas } from "../charts/canvas.js";
import { pointsOf } from "../lib/media.js";
import { colourAt } from "../lib/colours.js";
import { isDark } from "../state.js";
import { readFile } from "../api.js";

const MOST = 60_000;

export function Cloud({ where, value }) {
  const [file, setFile] = useState(null);
  const [turn, setTurn] = useState({ yaw: 0.6, pitch: 0.4, zoom: 1 });
  const from = useRef(null);
  useEffect(() => { readFile(where, value.path).then(setFile, () => setFile([])); }, [value.path]);
  const points = useMemo(() => centred(pointsOf(file ?? []).slice(0, MOST)), [file]);
  const draw = (context, width, height) => {
    const [c, s, cp, sp] = [Math.cos(turn.yaw), Math.sin(turn.yaw), Math.cos(turn.pitch), Math.sin(turn.pitch)];
    const scale = Math.min(width, height) * 0.42 * turn.zoom;
    for (const point of points) {
      const [x, z] = [point.x * c - point.z * s, point.x * s + point.z * c];
      const y = point.y * cp - z * sp;
      context.fillStyle = point.rgb ? `rgb(${point.rgb.map((each) => Math.round(each)).join(" ")})` : colourAt(point.kind ?? 0, isDark());
      context.fillRect(width / 2 + x * scale, height / 2 - y * scale, 2, 2);
    }
  };
  const move = (event) => {
    if (!from.current) return;
    const [dx, dy] = [event.clientX - from.current.x, event.clientY - from.current.y];
    setTurn({ ...turn, yaw: from.current.yaw + dx / 120, pitch: from.current.pitch + dy / 120 });
  };
  const key = (event) => {
    const by = { ArrowLeft: { yaw: -0.1 }, ArrowRight: { yaw: 0.1 }, ArrowUp: { pitch: -0.1 }, ArrowDown: { pitch: 0.1 } }[event.key];
    if (!by) return;
    event.preventDefault();
    setTurn({ ...turn, yaw: turn.yaw + (by.yaw ?? 0), pitch: turn.pitch + (by.pitch ?? 0) });
  };
  return html`<${Canvas} className="cloud" draw=${draw} deps=${[points, turn]} label=${`${points.length} points in space. Arrow keys turn them.`} tabindex="0" onKeyDown=${key}
    onPointerDown=${(event) => { from.current = { x: event.clientX, y: event.clientY, ...turn }; event.currentTarget.setPointerCapture(event.pointerId); }} onPointerMove=${move} onPointerUp=${() => { from.current = null; }} />`;
}

function centred(points) {
  const span = (name) => points.reduce(([low, high], point) => [Math.min(low, point[name]), Math.max(high, point[name])], [Infinity, -Infinity]);
  if (!points.length) return points;
  const [x, y, z] = [span("x"), span("y"), span("z")];
  const half = Math.max(x[1] - x[0], y[1] - y[0], z[1] - z[0]) / 2 || 1;
  const middle = ([low, high]) => (low + high) / 2;
  return points.map((point) => ({ ...point, x: (point.x - middle(x)) / half, y: (point.y - middle(y)) / half, z: (point.z - middle(z)) / half }));
}
