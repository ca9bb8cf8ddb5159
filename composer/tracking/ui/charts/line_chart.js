// A chart of lines: runs, or groups of runs as a mean with its band.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib/html.js";
import { clip, drawAxes, frame, line as stroke, prepare, themeColours } from "./frame.js";
import { drawLines } from "./draw_lines.js";
import { gestures } from "./gestures.js";
import { onPoint, point } from "./cursor.js";
import { useLines, useSize, useVisible } from "./use_lines.js";
import { extent, nearest } from "../lib/lines.js";
import { meanLine } from "../lib/replicates.js";
import { padded } from "../lib/scale.js";
import { smooth } from "../lib/smooth.js";
import { Tooltip } from "./tooltip.js";

const AXIS_KINDS = { _timestamp: "time", _runtime: "duration" };
const AXIS_LABELS = { _timestamp: "time", _runtime: "relative time" };
const SETTLED_MS = 180;

// `series` are {id, label, colour, runs: [names]}. `view` is {x, low, high, logX, logY, smoothing}.
export function LineChart({ where, chartKey, series, view, news, highlighted, onRange, stream, onDrawn, title }) {
  const box = useRef();
  const base = useRef();
  const over = useRef();
  const live = useRef({});
  const isVisible = useVisible(box);
  const { width, height } = useSize(box);
  const [range, setRange] = useState(null);
  const [cursor, setCursor] = useState(null);
  const names = useMemo(() => [...new Set(series.flatMap((each) => each.runs))], [series]);
  const ask = { where, key: chartKey, x: view.x, names, low: view.low, high: view.high, points: Math.min(1600, Math.max(300, Math.round(width || 500))), stream };
  const { lines, isLoading, error } = useLines(ask, news, isVisible && width > 0);
  useEffect(() => setRange(null), [view.low, view.high, view.x]);

  const items = useMemo(() => series.map((each) => {
    const own = each.runs.map((name) => lines.get(name)).filter((line) => line?.size);
    return { ...each, line: own.length > 1 ? meanLine(own) : own[0] };
  }).filter((item) => item.line), [series, lines]);

  const shown = { low: range?.low ?? view.low, high: range?.high ?? view.high };
  const found = useMemo(() => {
    const all = items.map((item) => item.line);
    const whole = extent(all, shown.low, shown.high, view.logX, view.logY);
    if (!whole) return null;
    const [x0, x1] = [shown.low ?? whole.x0, shown.high ?? whole.x1];
    const [low, high] = x0 < x1 ? [x0, x1] : padded(x0, x1, view.logX);
    const [y0, y1] = padded(whole.y0, whole.y1, view.logY);
    return { x: { low, high, isLog: view.logX, kind: AXIS_KINDS[view.x], label: (view.x ?? "_step") === "_step" ? "" : AXIS_LABELS[view.x] ?? view.x }, y: { low: y0, high: y1, isLog: view.logY } };
  }, [items, shown.low, shown.high, view.logX, view.logY, view.x]);

  useLayoutEffect(() => {
    if (!isVisible || !width) return;
    const { context } = prepare(base.current);
    if (!found) { live.current.frame = null; return; }
    const colours = themeColours();
    const made = frame(context, width, height, found.x, found.y);
    drawAxes(context, made, colours);
    drawLines(context, made, items.map((item) => ({ ...item, isStrong: item.id === highlighted, isFaint: highlighted !== undefined && highlighted !== null && item.id !== highlighted && series.some((each) => each.id === highlighted) })), { smoothing: view.smoothing });
    live.current = { ...live.current, frame: made, items, found };
    onDrawn?.({ canvas: base.current, items, view });
  }, [items, found, width, height, isVisible, highlighted, view.smoothing, document.documentElement.dataset.theme]);

  useEffect(() => {
    const commit = (low, high) => {
      setRange({ low, high });
      clearTimeout(live.current.timer);
      live.current.timer = setTimeout(() => onRange?.(low, high), SETTLED_MS);
    };
    const axis = view.x ?? "_step";
    const chart = {
      scale: () => live.current.frame?.x, box: () => live.current.frame?.box,
      point: (x) => point(axis, x, over.current), view: commit,
      select: (from, to) => drawSelection(over.current, live.current.frame, from, to),
      reset: () => { setRange(null); onRange?.(undefined, undefined); },
      step: (by) => {
        const line = live.current.items?.[0]?.line;
        if (!line) return;
        const { cursor: now } = live.current;
        const before = Number.isFinite(now) ? nearest(line.x, now) : by > 0 ? -1 : line.size;
        point(axis, line.x[Math.max(0, Math.min(line.size - 1, before + by))], over.current);
      },
    };
    const stopGestures = gestures(over.current, chart);
    const stopPoint = onPoint((now) => {
      const x = now.axis === axis ? now.x : null;
      live.current.cursor = x;
      setCursor(x === null ? null : { x, isOwn: now.source === over.current });
    });
    return () => { stopGestures(); stopPoint(); clearTimeout(live.current.timer); };
  }, [view.x, onRange]);

  const rows = cursor && live.current.frame ? valuesAt(items, cursor.x, live.current.frame, view.smoothing) : [];
  useLayoutEffect(() => {
    if (isVisible && width) drawCursor(over.current, live.current.frame, cursor?.x, rows);
  }, [cursor, found, width, height, isVisible]);

  const what = items.map((item) => item.label).join(", ");
  return html`<div class="plot" ref=${box}>
    <canvas ref=${base} />
    <canvas ref=${over} class="over" tabindex="0" role="img" aria-label=${`${title ?? chartKey}: ${items.length} lines, ${what.slice(0, 200)}. Arrow keys read values, plus and minus zoom, 0 shows all.`} />
    ${!found && html`<p class="plot-note">${error ? error.message : isLoading ? "" : "No finite values here."}</p>`}
    ${isLoading && html`<span class="plot-busy" aria-hidden="true" />`}
    ${cursor?.isOwn && live.current.frame && html`<${Tooltip} frame=${live.current.frame} x=${cursor.x} rows=${rows} axis=${found?.x} />`}
  </div>`;
}

// What each line has at a cursor: the nearest point.
function valuesAt(items, x, { x: scale }, smoothing) {
  const rows = [];
  for (const item of items) {
    const { line } = item;
    const i = nearest(line.x, x);
    if (i < 0 || Math.abs(scale.at(line.x[i]) - scale.at(x)) > 40) continue;
    const value = smoothing > 0 ? smooth(line.y.subarray ? line.y.subarray(0, i + 1) : line.y.slice(0, i + 1), smoothing)[i] : line.y[i];
    rows.push({ ...item, at: line.x[i], value, low: line.low[i], high: line.high[i], raw: line.y[i] });
  }
  return rows.sort((a, b) => (Number.isNaN(a.value) ? 1 : Number.isNaN(b.value) ? -1 : b.value - a.value));
}

function drawSelection(canvas, found, from, to) {
  const { context } = prepare(canvas);
  if (!found || from === null) return;
  const { box } = found;
  const [a, b] = [Math.max(box.left, Math.min(from, to)), Math.min(box.right, Math.max(from, to))];
  context.fillStyle = themeColours().accent;
  context.globalAlpha = 0.16;
  context.fillRect(a, box.top, b - a, box.bottom - box.top);
  context.globalAlpha = 1;
}

function drawCursor(canvas, found, x, rows) {
  const { context } = prepare(canvas);
  if (!found || x === null || x === undefined) return;
  const colours = themeColours();
  const at = Math.round(found.x.at(x)) + 0.5;
  if (!(at >= found.box.left && at <= found.box.right)) return;
  context.strokeStyle = colours.soft;
  context.globalAlpha = 0.5;
  stroke(context, at, found.box.top, at, found.box.bottom);
  context.globalAlpha = 1;
  clip(context, found.box, () => {
    for (const row of rows) {
      const y = found.y.at(row.value);
      if (!Number.isFinite(y)) continue;
      context.fillStyle = row.colour;
      context.strokeStyle = colours.paper;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(found.x.at(row.at), y, 4, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  });
}
