// Runs that repeat one another as one line: their mean with its 95 % confidence band.
import { describe, halfWidth } from "./statistics.js";

const MOST_POINTS = 400;

// A value at x on the straight line between neighbours; NaN outside the line.
export function at(line, x) {
  const { x: xs, y: ys } = line;
  let [low, high] = [0, line.size - 1];
  if (high < 0 || x < xs[0] || x > xs[high]) return NaN;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle; else high = middle;
  }
  if (xs[high] === xs[low]) return ys[low];
  const share = (x - xs[low]) / (xs[high] - xs[low]);
  return share === 0 ? ys[low] : share === 1 ? ys[high] : ys[low] * (1 - share) + ys[high] * share;
}

// Only where at least `least` of them are: where some have ended, the mean of the others says something else.
export function meanLine(lines, least = 1) {
  const kept = lines.filter((line) => line.size);
  if (!kept.length) return { size: 0, isExact: true, x: [], y: [], low: [], high: [], odd: [] };
  const places = [...new Set(kept.flatMap((line) => Array.from(line.x)))].filter(Number.isFinite).sort((a, b) => a - b);
  const every = Math.max(1, Math.ceil(places.length / MOST_POINTS));
  const all = places.filter((_, i) => i % every === 0 || i === places.length - 1).map((x) => [x, describe(kept.map((line) => at(line, x)))]);
  const common = all.filter(([, { n }]) => n >= least);
  const [xs, found] = [common.map(([x]) => x), common.map(([, each]) => each)];
  const half = found.map((each) => halfWidth(each) || 0);
  return {
    size: xs.length, isExact: false, isMean: true, x: Float64Array.from(xs), y: Float64Array.from(found, (each) => each.mean),
    low: Float64Array.from(found, (each, i) => each.mean - half[i]), high: Float64Array.from(found, (each, i) => each.mean + half[i]),
    n: found.map((each) => each.n), odd: kept.flatMap((line) => line.odd),
  };
}
