// The dashboard's pure functions; run by test_files.py where node is there.
import assert from "node:assert/strict";
import test from "node:test";

const lib = (name) => import(`${process.env.UI}/lib/${name}.js`);
const { parseFilter } = await lib("filter");
const { describe, halfWidth, holm, studentP } = await lib("statistics");
const { groupRuns, groupValue, sortRuns } = await lib("rows");
const { filterSource, valueOf, metricsOf, stepMetric, varying } = await lib("columns");
const { ticks, logTicks, padded } = await lib("scale");
const { smooth } = await lib("smooth");
const { toLine, extent, nearest } = await lib("lines");
const { meanLine } = await lib("replicates");
const { parseAnsi } = await lib("ansi");
const { toCsv } = await lib("csv");
const { formatNumber, formatDuration, formatBytes } = await lib("format");
const { colourOf } = await lib("colours");
const { fromReport, fromRuns, timesAsFast } = await lib("ablation");
const { costRows } = await lib("cost");
const { figureInPage, fillPlaces, namedRows } = await lib("custom");

const run = (name, config, summary, more = {}) => ({
  name, display_name: name, tags: [], state: "finished", id: 1,
  config: Object.fromEntries(Object.entries(config).map(([key, value]) => [key, { value }])), summary, ...more,
});
const RUNS = [
  run("a", { lr: 0.1, opt: { name: "sgd" } }, { loss: 0.5 }, { tags: ["base"] }),
  run("b", { lr: 0.2, opt: { name: "adam" } }, { loss: "NaN" }),
  run("c", { lr: 0.2 }, { loss: { min: 0.1 } }, { state: "failed", notes: "odd one" }),
];
const kept = (text) => RUNS.filter(parseFilter(text, filterSource(RUNS))).map((each) => each.name).join("");

test("filters compare, combine, and look words up", () => {
  assert.equal(kept("lr >= 0.2"), "bc");
  assert.equal(kept("lr >= 0.2 and state = finished"), "b");
  assert.equal(kept("tags has base or opt.name in (adam, x)"), "ab");
  assert.equal(kept("not (lr = 0.2)"), "a");
  assert.equal(kept("odd"), "c");
  assert.equal(kept("loss < 0.3"), "c");
  assert.equal(kept('name = "a"'), "a");
  assert.equal(kept(""), "abc");
});
test("filters say what is wrong with them", () => {
  for (const text of ["lr >", "(a", "lr in 3", "nothing = 1", "> 3"]) assert.throws(() => parseFilter(text, filterSource(RUNS)), /./, text);
});
test("a value is found by column, whatever its shape", () => {
  assert.equal(valueOf(RUNS[2], "summary.loss"), 0.1);
  assert.ok(Number.isNaN(valueOf(RUNS[1], "summary.loss")));
  assert.deepEqual(metricsOf(RUNS), ["loss"]);
  assert.deepEqual(varying(RUNS), ["config.lr", "config.opt.name"]);
});
test("the axis a run defined for its metric is found", () => {
  const defined = run("d", {}, {});
  defined.config._wandb = { value: { m: [{ 1: "epoch" }, { 2: "val/*", 5: 1 }, { 1: "val/acc", 5: 1 }] } };
  assert.equal(stepMetric(defined, "val/acc"), "epoch");
  assert.equal(stepMetric(defined, "val/other"), "epoch");
  assert.equal(stepMetric(defined, "loss"), undefined);
});
test("what is missing or not a number sorts last either way", () => {
  const names = (order) => sortRuns(RUNS, order).map((each) => each.name).join("");
  assert.equal(names("summary.loss"), "cab");
  assert.equal(names("-summary.loss"), "acb");
});
test("groups have mean, spread and number", () => {
  const [first, second] = groupRuns(RUNS, ["config.lr"]);
  assert.equal(first.runs.length, 1);
  assert.deepEqual(groupValue(second, "config.lr"), { n: 2, mean: 0.2, sd: 0, low: 0.2, high: 0.2 });
});
test("an interval of three values is Student's", () => {
  const found = describe([1, 2, 3]);
  assert.equal(found.sd, 1);
  assert.ok(Math.abs(halfWidth(found) - 4.303 / Math.sqrt(3)) < 1e-9);
  assert.ok(Number.isNaN(halfWidth(describe([1]))));
});
test("ticks are round and inside", () => {
  assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(logTicks(1, 1000, 6), [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  assert.deepEqual(padded(0, 0, false), [-1, 1]);
});
test("smoothing starts at the first value and steps over gaps", () => {
  const found = smooth([1, NaN, 3], 0.5);
  assert.equal(found[0], 1);
  assert.ok(Number.isNaN(found[1]));
  assert.ok(found[2] > 1 && found[2] < 3);
});
test("values that are not finite are kept apart", () => {
  const line = toLine({ kind: "rows", x: [0, 1, 2], y: [1, "NaN", "Infinity"] });
  assert.equal(line.odd.length, 2);
  assert.deepEqual(extent([line]), { x0: 0, x1: 2, y0: 1, y1: 1 });
});
test("blocks keep their extremes", () => {
  const line = toLine({ kind: "blocks", x0: [0, 10], x1: [9, 19], mean: [1, 2], min: [-5, 0], max: [3, 99], nan: [0, 2], plus: [0, 0], minus: [0, 0] });
  assert.deepEqual(extent([line]), { x0: 4.5, x1: 14.5, y0: -5, y1: 99 });
  assert.equal(line.odd[0].count, 2);
  assert.equal(nearest(line.x, 13), 1);
});
test("replicates of different steps have a mean where they overlap", () => {
  const rows = (x, y) => toLine({ kind: "rows", x, y });
  const line = meanLine([rows([0, 2], [0, 2]), rows([1, 3], [3, 5])]);
  assert.deepEqual([...line.x], [0, 1, 2, 3]);
  assert.deepEqual([...line.y], [0, 2, 3, 5]);
});
test("terminal colours become classes and the rest is dropped", () => {
  assert.deepEqual(parseAnsi("\u001b[31;1mbad\u001b[0m ok\u001b]8;;http://x\u0007link\u0007"), [
    { text: "bad", className: "ansi-red ansi-bold" }, { text: " ok", className: "" }, { text: "link", className: "" },
  ]);
});
test("spreadsheets are given no formulas", () => {
  assert.equal(toCsv(["a"], [["=1+1"], [-2], ['x"y']]), 'a\r\n\'=1+1\r\n-2\r\n"x""y"');
});
test("numbers are written short and true", () => {
  assert.equal(formatNumber(0.123456), "0.1235");
  assert.equal(formatNumber(1234567), "1\u202f234\u202f567");
  assert.equal(formatNumber(1e-9), "1e\u22129");
  assert.equal(formatDuration(3725), "1h 2m");
  assert.equal(formatBytes(1500), "1.5 kB");
});
test("a run's colour depends on its place alone", () => {
  assert.equal(colourOf({ name: "x", ordinal: 3 }, false), colourOf({ name: "y", ordinal: 3 }, false));
  assert.notEqual(colourOf({ name: "x", ordinal: 3 }, false), colourOf({ name: "x", ordinal: 4 }, false));
  assert.notEqual(colourOf({ name: "x", ordinal: 3 }, false, { x: 0 }), colourOf({ name: "x", ordinal: 3 }, false));
});

const line = (...values) => { const y = Float64Array.from(values); return { size: y.length, isExact: true, x: Float64Array.from(values, (_, i) => i + 1), y, low: y, high: y, odd: [] }; };
const close = (found, wanted, by = 1e-9) => assert.ok(Math.abs(found - wanted) <= by * Math.abs(wanted), `${found} is not ${wanted}`);
test("p-values are those of Student's t, and are corrected for their number", () => {
  // scipy.stats.t.sf(t, df) * 2
  for (const [t, df, p] of [[2.5, 4, 0.06676654481198814], [0.3, 1, 0.8144528418445154], [12, 9, 7.699886222985653e-07], [-1.7, 30, 0.09947787558851685]]) close(studentP(t, df), p, 1e-8);
  assert.equal(studentP(Infinity, 3), 0);
  assert.deepEqual(holm([0.01, NaN, 0.04, 0.03]), [0.03, NaN, 0.06, 0.06]);
});
test("an ablation of logged runs is compared seed by seed, all but one with all", () => {
  const arms = { off: [0.5, 0.7], "+ A": [0.6, 0.82], all: [0.7, 0.9], "all - A": [0.5, 0.71] };
  const series = Object.keys(arms).map((arm) => ({ id: arm, label: arm, runs: [`${arm}0`, `${arm}1`] }));
  const lines = new Map(Object.entries(arms).flatMap(([arm, finals]) => finals.map((final, seed) => [`${arm}${seed}`, line(0.1, final)])));
  const found = fromRuns({ title: "t", metric: "accuracy", isHigh: true, series, lines, seedOf: (name) => Number(name.at(-1)), stepCostOf: (name) => (name.startsWith("+") ? 3 : 2) });
  const gain = found.verdicts.get("+ A");
  close(gain.mean, 0.11);
  assert.equal(gain.against, "off");
  assert.equal(gain.stepCost, 1.5);
  assert.equal(found.verdicts.get("all - A").against, "all");
  assert.equal(found.verdicts.get("off").against, null);
  const rows = costRows(series, lines, { isHigh: true, isBest: false, target: 0.6 });
  assert.equal(timesAsFast(rows[1], rows[0], found.seedOf), 1);
});
test("a report keeps its own gains and leaves failed runs out of its lines", () => {
  const points = [{ seconds: 1, value: 0.4, batch: 1, epoch: 0 }, { seconds: 2, value: 0.5, batch: 2, epoch: 1 }];
  const row = (arm, against, mean) => ({ arm, against, methods: {}, gain: { n: 2, mean, low: null, high: null }, p_holm: 0.2, step_cost: 1 });
  const found = fromReport({ group: "g", metric: "loss", greater_is_better: false, target: null, rows: [row("off", "off", 0), row("+ A", "off", -0.1)], seeds: [0], runs: [{ arm: "off", seed: 0, points }, { arm: "+ A", seed: 0, points, error: "burst" }] }, () => "red");
  assert.deepEqual([...found.lines.keys()], ["off 0"]);
  assert.deepEqual(Array.from(found.lines.get("off 0").x), [1, 2]);
  assert.ok(Number.isNaN(found.verdicts.get("+ A").low));
  assert.equal(found.verdicts.get("+ A").mean, -0.1);
});
test("a specification's places are filled, and only its own", () => {
  const spec = { title: "${string:t} of ${field:x}", encoding: { x: { field: "${field:x}" } }, more: ["${string:none}", 3] };
  assert.deepEqual(fillPlaces(spec, { fields: { x: "a.b" }, strings: { t: "T" } }), { title: "T of a.b", encoding: { x: { field: "a\\.b" } }, more: ["", 3] });
  assert.deepEqual(fillPlaces("${field:constructor}", { fields: {}, strings: {} }), "constructor");
});
test("rows of a custom chart name their run, unless the table has names of its own", () => {
  assert.deepEqual(namedRows({ columns: ["x"], rows: [[1]], label: "a" }), [{ name: "a", x: 1 }]);
  assert.deepEqual(namedRows({ columns: ["name"], rows: [["own"]], label: "a" }), [{ name: "own" }]);
});
test("a figure is read out of a page without running it", () => {
  const page = 'x <script>Plotly.newPlot(later)</script><script>Plotly.newPlot("id", [{"x":[1,2],"name":"]}\\""}], {"title":{"text":"T"}}, {"responsive": true})</script>';
  assert.deepEqual(figureInPage(page), { data: [{ x: [1, 2], name: ']}"' }], layout: { title: { text: "T" } } });
  assert.equal(figureInPage('Plotly.newPlot("id", [alert(1)], {})'), null);
  assert.equal(figureInPage("<p>nothing</p>"), null);
});
