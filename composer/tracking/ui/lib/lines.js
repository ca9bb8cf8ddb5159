// What the server sends for a chart, as arrays that can be drawn: for each point x, the mean, the lowest
// and the highest value, and apart from them the points at which something was not a finite number.
import { asNumber } from "./columns.js";

export function toLine(answer) {
  return { ...(answer.kind === "blocks" ? fromBlocks(answer) : fromRows(answer)), branches: (answer.branches ?? []).map(toBranch) };
}

// What a resumed run left behind: where it went on, and the line from there that was cut.
const toBranch = ({ mark, x, y }) => ({ mark: asNumber(mark) ?? NaN, x: x.map((value) => asNumber(value) ?? NaN), y: y.map((value) => asNumber(value) ?? NaN) });

function fromRows({ x, y }) {
  const size = x.length;
  const line = { size, isExact: true, x: new Float64Array(size), y: new Float64Array(size), odd: [] };
  for (let i = 0; i < size; i += 1) {
    line.x[i] = asNumber(x[i]) ?? NaN;
    const value = asNumber(y[i]) ?? NaN;
    line.y[i] = value;
    if (!Number.isFinite(value)) line.odd.push({ x: line.x[i], value, count: 1 });
  }
  line.low = line.y;
  line.high = line.y;
  return line;
}

function fromBlocks({ x0, x1, mean, min, max, nan, plus, minus }) {
  const size = x0.length;
  const numbers = (list) => Float64Array.from(list, (value) => asNumber(value) ?? NaN);
  const [from, to] = [numbers(x0), numbers(x1)];
  const line = { size, isExact: false, x: from.map((value, i) => (value + to[i]) / 2), y: numbers(mean), low: numbers(min), high: numbers(max), odd: [] };
  for (const [counts, value] of [[nan, NaN], [plus, Infinity], [minus, -Infinity]]) {
    counts.forEach((count, i) => { if (count) line.odd.push({ x: line.x[i], value, count }); });
  }
  return line;
}

// Lowest and highest x and y of the points between two x; null if there is none.
export function extent(lines, from = -Infinity, to = Infinity, isLogX = false, isLogY = false) {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const line of lines) {
    for (let i = 0; i < line.size; i += 1) {
      const x = line.x[i];
      if (!(x >= from && x <= to) || (isLogX && !(x > 0))) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      const low = isLogY && !(line.low[i] > 0) ? line.y[i] : line.low[i];
      if (Number.isFinite(low) && low < y0 && (!isLogY || low > 0)) y0 = low;
      if (Number.isFinite(line.high[i]) && line.high[i] > y1 && (!isLogY || line.high[i] > 0)) y1 = line.high[i];
    }
  }
  return x0 <= x1 ? { x0, x1, y0: y0 <= y1 ? y0 : isLogY ? 0.1 : 0, y1: y0 <= y1 ? y1 : 1 } : null;
}

// Index of the point nearest to an x; xs rise, as steps do.
export function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle; else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}

// Points in rising x: some x axes, such as a learning rate, go back and forth.
export function sorted(line) {
  for (let i = 1; i < line.size; i += 1) {
    if (line.x[i] < line.x[i - 1]) {
      const order = Array.from(line.x.keys()).sort((a, b) => line.x[a] - line.x[b]);
      const pick = (values) => Float64Array.from(order, (at) => values[at]);
      return { ...line, x: pick(line.x), y: pick(line.y), low: pick(line.low), high: pick(line.high) };
    }
  }
  return line;
}
