// An ablation as its page shows it, from the runs that it logged or from the report that it wrote:
// {title, metric, isHigh, target, about, notes, unit, series, lines, seedOf, verdicts}. `series` are its arms,
// `lines` their runs over time, `verdicts` what each arm gained over the one it is compared with.
import { outcome } from "./cost.js";
import { describe, halfWidth, holm, studentP } from "./statistics.js";

const [OFF, ALL] = ["off", "all"];

// What an arm is compared with: everything with nothing, all but one with all.
const rivalOf = (arm, arms) => (arm.startsWith(`${ALL} - `) && arms.includes(ALL) ? ALL : OFF);

// `colourAt` gives an arm's colour by its place.
export function fromReport(report, colourAt) {
  const arms = report.rows.map((row) => String(row.arm));
  const runs = report.runs.filter((run) => !run.error && run.points?.length);
  const id = (run) => `${run.arm} ${run.seed}`;
  return {
    title: String(report.group), metric: report.metric, isHigh: Boolean(report.greater_is_better), target: report.target ?? null,
    about: aboutReport(report), notes: (report.warnings ?? []).map(String), unit: "seconds of training",
    series: arms.map((arm, i) => ({ id: arm, label: arm, colour: colourAt(i), runs: runs.filter((run) => run.arm === arm).map(id), title: Object.values(report.rows[i].methods ?? {}).join(", ") })),
    lines: new Map(runs.map((run) => [id(run), lineOf(run.points)])),
    seedOf: new Map(runs.map((run) => [id(run), run.seed])), verdicts: new Map(report.rows.map((row) => [String(row.arm), verdictOf(row)])),
  };
}

const number = (value) => (typeof value === "number" ? value : NaN);

function aboutReport({ conditions = {}, seeds = [], greater_is_better: isHigh, metric }) {
  const budget = conditions.budget ? `, budget ${conditions.budget}` : "";
  return `${metric} (${isHigh ? "higher" : "lower"} is better)${budget}, ${seeds.length} ${seeds.length === 1 ? "seed" : "seeds"}`;
}

function verdictOf({ arm, against, gain = {}, p_holm: p, step_cost: stepCost }) {
  return { against: arm === against ? null : against, n: gain.n ?? 0, mean: number(gain.mean), low: number(gain.low), high: number(gain.high), p: number(p), stepCost: number(stepCost) };
}

function lineOf(points) {
  const y = Float64Array.from(points, (point) => number(point.value));
  return { size: points.length, isExact: true, x: Float64Array.from(points, (point) => number(point.seconds)), y, low: y, high: y, odd: [] };
}

// `seedOf(run)` and `stepCostOf(run)` tell a run's seed and what one of its steps cost, by name.
export function fromRuns({ title, metric, isHigh, series, lines, seedOf, stepCostOf }) {
  const arms = series.map((arm) => arm.id);
  const bySeed = new Map(series.map((arm) => [arm.id, new Map(arm.runs.filter((run) => lines.get(run)?.size).map((run) => [seedOf(run), { quality: outcome(lines.get(run), isHigh, false)?.quality ?? NaN, cost: stepCostOf(run) }]))]));
  const verdicts = new Map(arms.map((arm) => [arm, compare(bySeed.get(arm), bySeed.get(rivalOf(arm, arms)), rivalOf(arm, arms), arm, isHigh)]));
  const corrected = holm(arms.map((arm) => verdicts.get(arm).p));
  arms.forEach((arm, i) => { verdicts.get(arm).p = corrected[i]; });
  const seeds = new Set([...bySeed.values()].flatMap((found) => [...found.keys()]));
  return {
    title, metric, isHigh, target: null, about: aboutReport({ greater_is_better: isHigh, metric, seeds: [...seeds] }), unit: "time since the start",
    notes: seeds.size === 1 ? ["One seed: nothing can be said about chance, and no interval exists."] : [], series, lines, verdicts,
    seedOf: new Map(series.flatMap((arm) => arm.runs).map((run) => [run, seedOf(run)])),
  };
}

function compare(own, rival, against, arm, isHigh) {
  const pairs = arm === against || !rival ? [] : [...own].filter(([seed]) => rival.has(seed)).map(([seed, found]) => [found, rival.get(seed)]);
  const gain = describe(pairs.map(([a, b]) => (isHigh ? 1 : -1) * (a.quality - b.quality)));
  const half = halfWidth(gain);
  const p = gain.n < 2 ? NaN : gain.sd === 0 ? Number(gain.mean === 0) : studentP((gain.mean * Math.sqrt(gain.n)) / gain.sd, gain.n - 1);
  return { against: pairs.length ? against : null, n: gain.n, mean: gain.mean, low: gain.mean - half, high: gain.mean + half, p, stepCost: arm === against ? 1 : describe(pairs.map(([a, b]) => a.cost / b.cost)).mean };
}

// How many times sooner one arm's runs met the target than another's, over the seeds where both did.
export function timesAsFast(row, rival, seedOf) {
  const bySeed = new Map([...rival.times].map(([run, time]) => [seedOf.get(run), time]));
  const pairs = [...row.times].map(([run, time]) => [time, bySeed.get(seedOf.get(run))]).filter((pair) => pair.every(Number.isFinite));
  const sum = (side) => pairs.reduce((total, pair) => total + pair[side], 0);
  return pairs.length ? sum(1) / sum(0) : NaN;
}
