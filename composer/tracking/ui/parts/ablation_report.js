// What an ablation found: what each arm gained and how sure that is, what it cost, and quality over time.
import { html, useMemo } from "../lib/html.js";
import { timesAsFast } from "../lib/ablation.js";
import { costRows, firstTarget } from "../lib/cost.js";
import { formatDuration, formatNumber } from "../lib/format.js";
import { Bars } from "../charts/bars.js";
import { CostCurves } from "../charts/cost_curves.js";
import { useTarget } from "../charts/target_line.js";
import { CostPoints } from "../charts/cost_points.js";
import { SaveChart, SaveCost } from "./save_chart.js";
import { Dot } from "./swatch.js";

export function AblationReport({ found, query, where }) {
  const { metric, isHigh, series, lines, verdicts } = found;
  const [target, onTarget] = useTarget(query, () => found.target ?? firstTarget(series, lines, { isHigh, isBest: false }));
  const rows = useMemo(() => costRows(series, lines, { isHigh, isBest: false, target }), [found, target]);
  const gains = series.map((arm) => ({ ...arm, ...verdicts.get(arm.id) })).filter((arm) => arm.against).map((arm) => ({ id: arm.id, label: arm.label, colour: arm.colour, value: arm.mean, half: arm.high - arm.mean }));
  const shared = { rows, target, onTarget, isHigh, quality: metric, cost: found.unit, unit: "duration", write: formatDuration, highlighted: null, isLogX: query.has("logx"), isLogY: false, where };
  return html`<h2>${found.title}</h2><p class="hint">${found.about}. Gains are paired by seed; above 0 is better. Intervals are 95 %, Student's; p is of the paired t-test, corrected for the number of arms (Holm).</p>
    ${found.notes.map((note) => html`<div class="alert" role="note" key=${note}>${note}</div>`)}
    <div class="box scroll"><${Arms} rows=${rows} found=${found} target=${target} /></div>
    <div class="cost-charts">
      <figure class="panel"><figcaption class="panel-head"><span class="panel-title">Gain in ${metric}, with its interval</span><span class="spacer" /><${SaveChart} title=${`Gain in ${metric}`} items=${gains} head=${["arm", "gain", "half its interval"]} rows=${() => gains.map((gain) => [gain.label, gain.value, gain.half])} /></figcaption><${Bars} bars=${gains} label=${`Gain in ${metric}`} highlighted=${null} /></figure>
      <figure class="panel"><figcaption class="panel-head"><span class="panel-title">Final ${metric} against time</span><span class="spacer" /><${SaveCost} title=${`${metric} against time`} ...${shared} /></figcaption><${CostPoints} ...${shared} /></figure>
      <figure class="panel"><figcaption class="panel-head"><span class="panel-title">Who is first past the target</span><span class="spacer" /><${SaveCost} title="Who is first past the target" ...${shared} /></figcaption><${CostCurves} ...${shared} /></figure>
    </div>`;
}

function Arms({ rows, found: { verdicts, series, seedOf }, target }) {
  const timeOf = new Map(rows.map((row) => [row.id, row]));
  const head = ["Arm", "Seeds", "Final", "Gain", "95 % interval", "p", "Step cost", `Reached ${formatNumber(target)}`, "Time to it", "Times as fast"];
  return html`<table class="plain"><thead><tr>${head.map((text, i) => html`<th scope="col" class=${i ? "number" : ""}>${text}</th>`)}</tr></thead><tbody>${series.map((arm) => {
    const row = timeOf.get(arm.id);
    const verdict = verdicts.get(arm.id);
    return html`<tr key=${arm.id}><th scope="row" title=${arm.title}><${Dot} colour=${arm.colour} /> ${arm.label}</th>
      <td class="number">${row?.quality.n ?? 0}</td><td class="number">${row ? html`${formatNumber(row.quality.mean)}${row.quality.n > 1 && html` <small>± ${formatNumber(row.quality.sd, 2)}</small>`}` : "failed"}</td>
      ${verdict.against ? html`<td class=${`number ${classOf(verdict)}`}>${signed(verdict.mean)} <small>on ${verdict.against}</small></td><td class="number">${Number.isFinite(verdict.low) ? `${signed(verdict.low)} … ${signed(verdict.high)}` : ""}</td><td class="number">${Number.isNaN(verdict.p) ? "" : formatNumber(verdict.p, 2)}</td>` : html`<td /><td /><td />`}
      <td class="number">${Number.isFinite(verdict.stepCost) ? `${formatNumber(verdict.stepCost, 3)}×` : ""}</td>
      <td class="number">${row ? `${row.reached} of ${row.tried}` : ""}</td><td class="number">${row?.reached ? formatDuration(row.toTarget.mean) : ""}</td>
      <td class="number">${verdict.against ? faster(row, timeOf.get(verdict.against), seedOf) : ""}</td></tr>`;
  })}</tbody></table>`;
}

const signed = (value) => `${value > 0 ? "+" : ""}${formatNumber(value, 3)}`;

// Among many arms one gains by chance; only what stands after the correction is shown as a difference.
const classOf = ({ mean, p }) => (p < 0.05 ? (mean > 0 ? "is-gain" : "is-loss") : "");

const faster = (row, rival, seedOf) => { const ratio = row && rival ? timesAsFast(row, rival, seedOf) : NaN; return Number.isFinite(ratio) ? `${formatNumber(ratio, 3)}×` : ""; };
