// Quality against cost, the question training methods are about: what was reached, for how much, and who
// is first past a target. The target is a line to be dragged.
import { html, useMemo, useState } from "../lib/html.js";
import { metricsOf } from "../lib/columns.js";
import { costRows, firstTarget, guessQuality, isHighBetter } from "../lib/cost.js";
import { formatDuration, formatNumber } from "../lib/format.js";
import { RunsList } from "../parts/runs_list.js";
import { CostTable } from "../parts/cost_table.js";
import { SaveCost } from "../parts/save_chart.js";
import { CostCurves } from "../charts/cost_curves.js";
import { CostPoints } from "../charts/cost_points.js";
import { useTarget } from "../charts/target_line.js";
import { useLines } from "../charts/use_lines.js";
import { setQuery } from "../state.js";

const COSTS = [["_runtime", "Time since the start"], ["_step", "Steps"]];
const CLOCKS = ["time/train", "time/total", "time/sample", "time/token"];
const POINTS = 1500;

export function CostPage({ data, view, query }) {
  const [highlighted, setHighlighted] = useState(null);
  const metrics = useMemo(() => metricsOf(view.kept), [view.kept]);
  const quality = query.get("quality") || guessQuality(metrics);
  const cost = query.get("cost") || CLOCKS.find((metric) => metrics.includes(metric)) || "_runtime";
  const isHigh = query.has("better") ? query.get("better") === "high" : isHighBetter(quality ?? "");
  const isBest = query.get("take") === "best";
  const names = useMemo(() => [...new Set(view.series.flatMap((each) => each.runs))], [view.series]);
  const { lines, isLoading, error } = useLines({ where: data.where, key: quality, x: cost, names, points: POINTS }, data.news, Boolean(quality));
  const [target, onTarget] = useTarget(query, () => firstTarget(view.series, lines, { isHigh, isBest }));
  const rows = useMemo(() => costRows(view.series, lines, { isHigh, isBest, target }), [view.series, lines, isHigh, isBest, target]);
  const unit = cost === "_runtime" ? "duration" : "number";
  const write = cost === "_runtime" ? formatDuration : formatNumber;
  const shared = { rows, target, onTarget, isHigh, quality, cost, unit, write, highlighted, isLogX: query.has("logx"), isLogY: query.has("logy") };
  return html`<div class="split">
    <${RunsList} data=${data} view=${view} query=${query} highlighted=${highlighted} onHighlight=${setHighlighted} />
    <div class="content">
      <${Tools} ...${{ query, metrics, quality, cost, isHigh, isBest, target, onTarget }} />
      ${error && html`<p class="error" role="alert">${error.message}</p>`}
      ${!quality || (!rows.length && !isLoading) ? html`<div class="empty"><h2>Nothing to weigh yet</h2><p>Choose a metric that the drawn runs have logged.</p></div>` : !rows.length ? html`<div class="empty" aria-busy="true" />` : html`<div class="cost-charts">
        <figure class="panel"><figcaption class="panel-head"><span class="panel-title">Who is first past the target</span><span class="spacer" /><${SaveCost} title="Who is first past the target" ...${shared} /></figcaption><${CostCurves} ...${shared} /></figure>
        <figure class="panel"><figcaption class="panel-head"><span class="panel-title">${isBest ? "Best" : "Final"} ${quality} against cost</span><span class="spacer" /><${SaveCost} title=${`${quality} against cost`} ...${shared} /></figcaption><${CostPoints} ...${shared} where=${data.where} /></figure>
      </div>
      <${CostTable} rows=${rows} target=${target} write=${write} isHigh=${isHigh} view=${view} />`}
    </div>
  </div>`;
}

function Tools({ query, metrics, quality, cost, isHigh, isBest, target, onTarget }) {
  const choice = (label, value, options, onChange) => html`<label class="field">${label} <select onChange=${(event) => onChange(event.target.value)}>${options.map(([each, text]) => html`<option key=${each} value=${each} selected=${each === value}>${text}</option>`)}</select></label>`;
  return html`<div class="toolbar chart-tools">
    ${choice("Quality", quality, metrics.map((metric) => [metric, metric]), (value) => setQuery({ quality: value, target: null, better: null }))}
    ${choice("is better when", isHigh ? "high" : "low", [["high", "high"], ["low", "low"]], (value) => setQuery({ better: value, target: null }))}
    ${choice("take the", isBest ? "best" : "final", [["final", "final value"], ["best", "best value"]], (value) => setQuery({ take: value === "best" ? value : null }))}
    ${choice("Cost", cost, [...COSTS, ...metrics.filter((metric) => metric !== quality).map((metric) => [metric, metric])], (value) => setQuery({ cost: value }))}
    <label class="field">Target <input class="target-field" type="number" step="any" value=${Number(Number(target).toPrecision(5))} onChange=${(event) => event.target.value !== "" && onTarget(Number(event.target.value))} /></label>
    <button type="button" class="button toggle" aria-pressed=${String(query.has("logx"))} onClick=${() => setQuery({ logx: query.has("logx") ? null : "1" }, { replace: true })}>log cost</button>
  </div>`;
}
