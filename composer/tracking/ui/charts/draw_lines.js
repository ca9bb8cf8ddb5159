// Draws lines into a frame. Nothing that was logged is hidden: means run over a band from the lowest to
// the highest value, smoothed lines over the raw ones, and values that are no finite numbers get marks.
import { withAlpha } from "../lib/colours.js";
import { smooth } from "../lib/smooth.js";
import { clip } from "./frame.js";

const GREY = "rgb(140 145 155 / 75%)";

// `items` are {line, colour, isFaint, isStrong, dash}.
export function drawLines(context, found, items, { smoothing = 0 } = {}) {
  clip(context, found.box, () => {
    for (const item of items) for (const branch of item.line.branches ?? []) drawBranch(context, found, branch);
    for (const item of items) drawBand(context, found, item);
    for (const item of items) drawLine(context, found, item, smoothing);
  });
  for (const item of items) drawOdd(context, found, item);
}

// Where a run was resumed, and in grey what it had logged beyond that point before.
function drawBranch(context, { box, x, y }, { mark, x: xs, y: ys }) {
  context.strokeStyle = GREY;
  context.lineWidth = 1.4;
  context.beginPath();
  xs.forEach((value, i) => { const [px, py] = [x.at(value), y.at(ys[i])]; if (Number.isFinite(px) && Number.isFinite(py)) context.lineTo(px, py); });
  context.stroke();
  const at = Math.round(x.at(mark)) + 0.5;
  if (!Number.isFinite(at)) return;
  context.setLineDash([3, 3]);
  context.beginPath();
  context.moveTo(at, box.top);
  context.lineTo(at, box.bottom);
  context.stroke();
  context.setLineDash([]);
  context.fillStyle = GREY;
  context.beginPath();
  context.moveTo(at - 4, box.top - 3);
  context.lineTo(at + 4, box.top - 3);
  context.lineTo(at, box.top + 4);
  context.fill();
}

// The part of a line that can be seen, with a neighbour on either side.
function visible({ x, size }, { low, high }) {
  let first = 0;
  let last = size - 1;
  while (first < last && x[first + 1] < low) first += 1;
  while (last > first && x[last - 1] > high) last -= 1;
  return [first, last];
}

function drawBand(context, { x, y }, { line, colour, isFaint }) {
  if (line.isExact || !line.size) return;
  const [first, last] = visible(line, x);
  context.fillStyle = withAlpha(colour, isFaint ? 0.06 : line.isMean ? 0.2 : 0.22);
  context.beginPath();
  let start = first;
  const close = (end) => {
    for (let i = end; i >= start; i -= 1) context.lineTo(x.at(line.x[i]), y.at(line.low[i]));
  };
  let isOpen = false;
  for (let i = first; i <= last; i += 1) {
    const isGood = Number.isFinite(line.high[i]) && Number.isFinite(y.at(line.low[i]));
    if (isGood && !isOpen) { start = i; isOpen = true; context.moveTo(x.at(line.x[i]), y.at(line.high[i])); }
    else if (isGood) context.lineTo(x.at(line.x[i]), y.at(line.high[i]));
    else if (isOpen) { close(i - 1); isOpen = false; }
  }
  if (isOpen) close(last);
  context.fill();
}

function drawLine(context, found, item, smoothing) {
  const { line, colour, isFaint, isStrong } = item;
  if (!line.size) return;
  const width = isStrong ? 2.6 : 1.6;
  context.setLineDash(item.dash ?? []);
  if (smoothing > 0) {
    path(context, found, line, line.y, withAlpha(colour, isFaint ? 0.08 : 0.3), 1);
    path(context, found, line, smooth(line.y, smoothing), isFaint ? withAlpha(colour, 0.2) : colour, width + 0.4);
  } else {
    path(context, found, line, line.y, isFaint ? withAlpha(colour, 0.2) : colour, width);
  }
  context.setLineDash([]);
}

function path(context, { x, y }, line, values, colour, width) {
  const [first, last] = visible(line, x);
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.beginPath();
  let isOpen = false;
  for (let i = first; i <= last; i += 1) {
    const [px, py] = [x.at(line.x[i]), y.at(values[i])];
    if (Number.isFinite(px) && Number.isFinite(py)) {
      if (isOpen) context.lineTo(px, py); else context.moveTo(px, py);
      // A point alone between gaps is a dot.
      if (!isOpen && !(i < last && Number.isFinite(y.at(values[i + 1])))) {
        context.moveTo(px + 2, py);
        context.arc(px, py, 2, 0, 2 * Math.PI);
        context.moveTo(px, py);
      }
      isOpen = true;
    } else isOpen = false;
  }
  context.stroke();
}

// NaN is a cross on the floor of the chart; infinity an arrow at the end it left by.
function drawOdd(context, { box, x }, { line, colour, isFaint }) {
  if (isFaint) return;
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.5;
  let before = -Infinity;
  for (const odd of line.odd) {
    const at = x.at(odd.x);
    if (!(at >= box.left && at <= box.right) || at - before < 3) continue;
    before = at;
    context.beginPath();
    if (Number.isNaN(odd.value)) {
      const y = box.bottom - 6;
      context.moveTo(at - 3, y - 3); context.lineTo(at + 3, y + 3);
      context.moveTo(at + 3, y - 3); context.lineTo(at - 3, y + 3);
      context.stroke();
    } else {
      const isUp = odd.value > 0;
      const [tip, foot] = isUp ? [box.top, box.top + 7] : [box.bottom - 1, box.bottom - 8];
      context.moveTo(at, tip); context.lineTo(at - 4, foot); context.lineTo(at + 4, foot);
      context.fill();
    }
  }
}
