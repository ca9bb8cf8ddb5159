// Quality against cost: what a run reached, what it took, and when it first passed a target.
import { describe } from "./statistics.js";

const BETTER_HIGH = /acc|f1|auc|precision|recall|score|bleu|rouge|iou|map\b|r2|reward|return|mfu|throughput|per_sec/i;

export const isHighBetter = (metric) => BETTER_HIGH.test(metric);

// The metric people most likely mean by quality.
export function guessQuality(metrics) {
  const evaluated = metrics.filter((metric) => /eval|val|test/i.test(metric));
  for (const list of [evaluated, metrics]) {
    const found = list.find(isHighBetter) ?? list.find((metric) => /loss|error|perplexity/i.test(metric));
    if (found) return found;
  }
  return metrics[0];
}

// What a run paid at the end of its line and what it got for it.
export function outcome(line, isHigh, isBest) {
  const good = [];
  for (let i = 0; i < line.size; i += 1) if (Number.isFinite(line.y[i]) && Number.isFinite(line.x[i])) good.push(i);
  if (!good.length) return null;
  const last = good[good.length - 1];
  const edge = isHigh ? line.high : line.low;
  const top = good.reduce((best, i) => ((isHigh ? edge[i] > edge[best] : edge[i] < edge[best]) ? i : best), good[0]);
  return isBest ? { cost: line.x[top], quality: edge[top] } : { cost: line.x[last], quality: line.y[last] };
}

// The cost at which a line first reaches a target; NaN if it never does.
function costToTarget(line, target, isHigh) {
  const edge = isHigh ? line.high : line.low;
  for (let i = 0; i < line.size; i += 1) {
    if (Number.isFinite(edge[i]) && (isHigh ? edge[i] >= target : edge[i] <= target)) return line.x[i];
  }
  return NaN;
}

// Which of some points no other beats in both cost and quality, cheapest first.
export function paretoFront(points, isHigh) {
  const sorted = points.filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y)).sort((a, b) => a.x - b.x || (isHigh ? b.y - a.y : a.y - b.y));
  const front = [];
  for (const point of sorted) {
    const best = front[front.length - 1];
    if (!best || (isHigh ? point.y > best.y : point.y < best.y)) front.push(point);
  }
  return front;
}

// One row per run or group: final or best quality, its cost, and the cost to a target, with spreads.
export function costRows(series, lines, { isHigh, isBest, target }) {
  return series.map((each) => {
    const names = each.runs.filter((name) => lines.get(name)?.size);
    const own = names.map((name) => lines.get(name));
    const outcomes = own.map((line) => outcome(line, isHigh, isBest)).filter(Boolean);
    const reached = own.map((line) => costToTarget(line, target, isHigh));
    return {
      ...each, outcomes, lines: own, times: new Map(names.map((name, i) => [name, reached[i]])), quality: describe(outcomes.map((found) => found.quality)), cost: describe(outcomes.map((found) => found.cost)),
      toTarget: describe(reached), reached: reached.filter(Number.isFinite).length, tried: own.length,
    };
  }).filter((row) => row.outcomes.length);
}

// A target that tells the runs apart: what the weakest just reaches.
export function firstTarget(series, lines, { isHigh, isBest }) {
  const found = costRows(series, lines, { isHigh, isBest, target: 0 }).map((row) => row.quality.mean).sort((a, b) => (isHigh ? a - b : b - a));
  return found.length ? Number((found[0] * (isHigh === found[0] > 0 ? 0.99 : 1.01)).toPrecision(3)) : 0;
}
