// A line chart: rows as a line; blocks as a line of means over a band from minimum to maximum, so that
// no spike is lost however far one zooms out.
import { element, svg } from "../lib/dom.js";
import { colourOf } from "../lib/colours.js";
import { extent, format, ticks } from "../lib/scale.js";

const WIDTH = 460;
const HEIGHT = 240;
const EDGE = { left: 58, right: 8, top: 8, bottom: 24 };

export function lineChart(key, lines, onZoom) {
  const box = element("figure", { class: "chart" }, element("figcaption", {}, key));
  const names = Object.keys(lines);
  const xs = extent(names.flatMap((name) => [lines[name].x ?? lines[name].x0, lines[name].x ?? lines[name].x1]));
  const ys = extent(names.flatMap((name) => [lines[name].y ?? lines[name].min, lines[name].y ?? lines[name].max]));
  if (!xs || !ys) {
    box.append(element("p", { class: "hint" }, "No finite numbers in this range."));
    return box;
  }
  const [x0, x1] = xs[0] === xs[1] ? [xs[0] - 1, xs[1] + 1] : xs;
  const [y0, y1] = ys[0] === ys[1] ? [ys[0] - 1, ys[1] + 1] : ys;
  const toX = (x) => EDGE.left + ((x - x0) / (x1 - x0)) * (WIDTH - EDGE.left - EDGE.right);
  const toY = (y) => HEIGHT - EDGE.bottom - ((y - y0) / (y1 - y0)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Chart of ${key}` });
  axes(root, [x0, x1], [y0, y1], toX, toY);
  for (const name of names) drawLine(root, lines[name], colourOf(name), toX, toY);
  zooming(root, (pixel) => x0 + ((pixel - EDGE.left) / (WIDTH - EDGE.left - EDGE.right)) * (x1 - x0), onZoom);
  box.append(root);
  return box;
}

function axes(root, xSpan, ySpan, toX, toY) {
  for (const value of ticks(...ySpan, 5)) {
    root.append(svg("line", { class: "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: toY(value), y2: toY(value) }));
    root.append(svg("text", { x: EDGE.left - 6, y: toY(value) + 4, "text-anchor": "end" }, format(value)));
  }
  for (const value of ticks(...xSpan, 5)) {
    root.append(svg("text", { x: toX(value), y: HEIGHT - 6, "text-anchor": "middle" }, format(value)));
  }
}

function drawLine(root, line, colour, toX, toY) {
  const isBlocks = line.kind === "blocks";
  const xs = isBlocks ? line.x0.map((x, i) => (x + line.x1[i]) / 2) : line.x;
  const ys = isBlocks ? line.mean : line.y;
  if (isBlocks) {
    const good = xs.map((_, i) => i).filter((i) => typeof line.min[i] === "number");
    const up = good.map((i) => `${toX(xs[i])},${toY(line.max[i])}`);
    const down = good.map((i) => `${toX(xs[i])},${toY(line.min[i])}`).reverse();
    root.append(svg("polygon", { points: [...up, ...down].join(" "), fill: colour, "fill-opacity": 0.2 }));
  }
  let path = "";
  let isDrawing = false;
  for (let i = 0; i < xs.length; i += 1) {
    const isGood = typeof ys[i] === "number" && typeof xs[i] === "number";
    if (isGood) path += `${isDrawing ? "L" : "M"}${toX(xs[i]).toFixed(2)} ${toY(ys[i]).toFixed(2)}`;
    isDrawing = isGood;
  }
  root.append(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.5 }));
  if (xs.length === 1 && typeof ys[0] === "number") {
    root.append(svg("circle", { cx: toX(xs[0]), cy: toY(ys[0]), r: 3, fill: colour }));
  }
}

// Dragging picks a range, a double click shows everything again.
function zooming(root, toValue, onZoom) {
  let start = null;
  const at = (event) => {
    const box = root.getBoundingClientRect();
    return toValue(((event.clientX - box.left) / box.width) * WIDTH);
  };
  root.addEventListener("pointerdown", (event) => { start = at(event); });
  root.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const end = at(event);
    const [low, high] = [Math.min(start, end), Math.max(start, end)];
    if (high - low > 0 && Math.abs(end - start) > 1e-12) onZoom(low, high);
    start = null;
  });
  root.addEventListener("dblclick", () => onZoom(undefined, undefined));
}
