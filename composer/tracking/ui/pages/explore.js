// Runs against one another: scatter, bars, parallel coordinates, of any columns.
import { html, useMemo, useState } from "../lib/html.js";
import { allColumns, isNumeric, metricsOf, titleOf, valueOf, varying } from "../lib/columns.js";
import { groupValue } from "../lib/rows.js";
import { formatNumber, formatValue } from "../lib/format.js";
import { halfWidth } from "../lib/statistics.js";
import { guessQuality } from "../lib/cost.js";
import { Points, rangeOf } from "../charts/points.js";
import { Bars } from "../charts/bars.js";
import { Parallel } from "../charts/parallel.js";
import { ColumnMenu } from "../parts/column_menu.js";
import { SaveChart } from "../parts/save_chart.js";
import { RunsList } from "../parts/runs_list.js";
import { go, projectPath, setQuery } from "../state.js";

const KINDS = [["scatter", "Scatter"], ["bars", "Bars"], ["parallel", "Parallel coordinates"]];
const MOST_AXES = 8;

export function ExplorePage({ data, view, query }) {
  const [highlighted, setHighlighted] = useState(null);
  const numeric = useMemo(() => allColumns(view.kept).filter((column) => isNumeric(view.kept, column)), [view.kept]);
  const guessed = useMemo(() => guesses(view.kept, numeric), [view.kept, numeric]);
  const kind = query.get("kind", "scatter");
  // Unlike line charts these can hold all runs, so only those hidden by hand are left out.
  const hidden = new Set(query.all("hide"));
  const series = useMemo(() => view.all.filter((each) => !hidden.has(each.id)), [view.all, query.all("hide").join()]);
  const shared = { data, series, query, numeric, guessed, highlighted };
  return html`<div class="split"><${RunsList} data=${data} view=${{ ...view, drawn: new Set(series.map((each) => each.id)) }} query=${query} highlighted=${highlighted} onHighlight=${setHighlighted} />
    <div class="content"><div class="toolbar">${KINDS.map(([name, title]) => html`<button key=${name} type="button" class="button toggle" aria-pressed=${String(kind === name)} onClick=${() => setQuery({ kind: name })}>${title}</button>`)}</div>
      ${!numeric.length ? html`<div class="empty"><h2>No numbers yet</h2></div>` : kind === "bars" ? html`<${BarsOf} ...${shared} />` : kind === "parallel" ? html`<${ParallelOf} ...${shared} columns=${allColumns(view.kept)} />` : html`<${Scatter} ...${shared} />`}</div></div>`;
}

// A config value against the metric people most likely mean, until others are chosen.
function guesses(runs, numeric) {
  const quality = guessQuality(metricsOf(runs));
  const changed = varying(runs).filter((column) => numeric.includes(column));
  const y = quality ? `summary.${quality}` : numeric[0];
  return { y, x: changed[0] ?? (numeric.includes("runtime") ? "runtime" : numeric[0]), axes: [...changed.slice(0, MOST_AXES - 1), y] };
}

const Choice = ({ label, name, value, numeric }) => html`<label class="field">${label} <select onChange=${(event) => setQuery({ [name]: event.target.value })}>${numeric.map((column) => html`<option key=${column} value=${column} selected=${column === value}>${titleOf(column)}</option>`)}</select></label>`;

const numberOf = (each, column) => (each.group ? groupValue(each.group, column)?.mean : valueOf(each.run, column));
const spreadOf = (each, column) => (each.group ? groupValue(each.group, column)?.sd : undefined);

function Scatter({ data, series, query, numeric, guessed, highlighted }) {
  const [x, y] = [query.get("px", guessed.x), query.get("py", guessed.y)];
  const [isLogX, isLogY] = [query.has("logx"), query.has("logy")];
  const points = useMemo(() => series.map((each) => ({ ...each, x: numberOf(each, x), y: numberOf(each, y), dx: spreadOf(each, x), dy: spreadOf(each, y), small: highlighted !== null && highlighted !== each.id }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y)), [series, x, y, highlighted]);
  const [xs, ys] = [rangeOf(points.map((point) => point.x), isLogX), rangeOf(points.map((point) => point.y), isLogY)];
  const toggle = (name) => setQuery({ [name]: query.has(name) ? null : "1" }, { replace: true });
  return html`<figure class="panel"><div class="toolbar panel-tools"><${Choice} label="x" name="px" value=${x} numeric=${numeric} /><${Choice} label="y" name="py" value=${y} numeric=${numeric} />
      <button type="button" class="button toggle" aria-pressed=${String(isLogX)} onClick=${() => toggle("logx")}>log x</button><button type="button" class="button toggle" aria-pressed=${String(isLogY)} onClick=${() => toggle("logy")}>log y</button><span class="spacer" /><${SaveChart} title=${`${titleOf(y)} against ${titleOf(x)}`} items=${points} head=${["run", titleOf(x), titleOf(y)]} rows=${() => points.map((point) => [point.label, point.x, point.y])} /></div>
    <${Points} className="taller" points=${points} x=${{ low: xs[0], high: xs[1], isLog: isLogX, kind: x === "runtime" ? "duration" : "number", label: titleOf(x) }} y=${{ low: ys[0], high: ys[1], isLog: isLogY, label: titleOf(y) }}
      label=${`${titleOf(y)} against ${titleOf(x)} of ${points.length} runs or groups.`} describePoint=${(point) => [`${titleOf(x)}: ${formatNumber(point.x)}`, `${titleOf(y)}: ${formatNumber(point.y)}`]}
      onPick=${(point) => point.run && go(projectPath(data.where, "runs", point.run.name))} /></figure>`;
}

function BarsOf({ series, query, numeric, guessed, highlighted }) {
  const y = query.get("py", guessed.y);
  const bars = useMemo(() => series.map((each) => {
    const found = each.group ? groupValue(each.group, y) : { mean: valueOf(each.run, y), n: 1, sd: NaN };
    return { ...each, value: found?.mean, half: found ? halfWidth(found) : NaN };
  }).filter((bar) => Number.isFinite(bar.value)).sort((a, b) => b.value - a.value), [series, y]);
  return html`<figure class="panel"><div class="toolbar panel-tools"><${Choice} label="Value" name="py" value=${y} numeric=${numeric} /><p class="hint">Whiskers of groups are 95 % confidence intervals of the mean.</p><span class="spacer" /><${SaveChart} title=${titleOf(y)} items=${[]} head=${["run", titleOf(y), "half its interval"]} rows=${() => bars.map((bar) => [bar.label, bar.value, bar.half])} /></div><${Bars} bars=${bars} label=${titleOf(y)} highlighted=${highlighted} /></figure>`;
}

function ParallelOf({ series, query, guessed, columns, highlighted }) {
  const chosen = query.all("axes");
  const axes = (chosen.length ? chosen : guessed.axes).slice(0, MOST_AXES);
  const lines = useMemo(() => series.map((each) => ({ ...each, values: axes.map((column) => (each.group ? plain(groupValue(each.group, column)) : valueOf(each.run, column))) })), [series, axes.join()]);
  return html`<figure class="panel"><div class="toolbar panel-tools"><${ColumnMenu} icon="columns" text="Axes" label="Axes" all=${columns} chosen=${axes} onChange=${(list) => setQuery({ axes: list })} /><span class="spacer" /><${SaveChart} title="Parallel coordinates" items=${lines} head=${["run", ...axes.map(titleOf)]} rows=${() => lines.map((line) => [line.label, ...line.values])} /></div>
    <${Parallel} axes=${axes.map((column) => ({ column, title: titleOf(column) }))} lines=${lines} query=${query} highlighted=${highlighted} /></figure>`;
}

const plain = (value) => (value && typeof value === "object" && "mean" in value ? value.mean : formatValue(value));
