// An ablation: arms that differ in the methods that are on, each with the same seeds, compared seed by seed.
import { html, useMemo } from "../lib/html.js";
import { valueOf } from "../lib/columns.js";
import { costRows, isHighBetter, pairedGains } from "../lib/cost.js";
import { formatDuration, formatNumber, plural } from "../lib/format.js";
import { halfWidth } from "../lib/statistics.js";
import { groupRuns } from "../lib/rows.js";
import { colourOf } from "../lib/colours.js";
import { useLines } from "../charts/use_lines.js";
import { Dot } from "../parts/swatch.js";
import { projectPath, isDark, setQuery } from "../state.js";

const ARM = "config.ablation/arm";
const GROUP = "config.ablation/group";
const SEED = "config.ablation/seed";
const METRIC = "config.ablation/metric";

export function AblationPage({ data, query }) {
  const all = data.runs.filter((run) => valueOf(run, ARM) !== undefined);
  const groups = groupRuns(all, [GROUP]);
  const group = groups.find((each) => each.label === query.get("ablation")) ?? groups[0];
  if (!group) return html`<div class="empty"><h2>No ablation</h2><p>Runs that <code>composer.ablation</code> started are compared here.</p></div>`;
  return html`<div class="content"><div class="page-head"><h1>${group.label}</h1><span class="spacer" />
      ${groups.length > 1 && html`<label class="field">Ablation <select onChange=${(event) => setQuery({ ablation: event.target.value })}>${groups.map((each) => html`<option key=${each.key} value=${each.label} selected=${each === group}>${each.label}</option>`)}</select></label>`}</div>
    <${Arms} key=${group.key} data=${data} runs=${group.runs} /></div>`;
}

function Arms({ data, runs }) {
  const named = String(valueOf(runs[0], METRIC) ?? "");
  // The Trainer logs an evaluator's metric under the evaluator's label.
  const metric = Object.keys(runs[0].summary).find((key) => key === named || (key.startsWith("metrics/") && key.endsWith(`/${named}`))) ?? named;
  const isHigh = isHighBetter(metric);
  const series = useMemo(() => groupRuns(runs, [ARM]).map((arm) => ({ id: arm.label, label: arm.label, runs: arm.runs.map((run) => run.name), colour: colourOf(arm.runs.reduce((a, b) => (a.id < b.id ? a : b)), isDark()) })), [runs]);
  const { lines, isLoading, error } = useLines({ where: data.where, key: metric, x: "_runtime", names: series.flatMap((arm) => arm.runs), points: 1500 }, data.news, true);
  if (error) return html`<p class="error" role="alert">${error.message}</p>`;
  const found = costRows(series, lines, { isHigh, isBest: false, target: NaN });
  if (!found.length) return html`<p class="hint">${isLoading ? "" : `No run has logged ${metric} yet.`}</p>`;
  const base = found.find((row) => row.label === "off") ?? found[found.length - 1];
  const rows = pairedGains(found, base, (name) => valueOf(data.byName.get(name), SEED)).sort((a, b) => (isHigh ? 1 : -1) * (b.quality.mean - a.quality.mean));
  const address = `${projectPath(data.where, "cost")}?group=${encodeURIComponent(ARM)}&quality=${encodeURIComponent(metric)}`;
  return html`<p class="hint">${metric}, ${plural(series.length, "arm")}. Gains are over “${base.label}”, seed by seed, with the 95 % confidence interval of their mean. <a href=${address}>Quality against cost</a></p>
    <div class="box scroll"><table class="plain"><thead><tr><th>Arm</th><th class="number">Seeds</th><th class="number">Final</th><th class="number">Gain</th><th class="number">Time</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.id}><td><${Dot} colour=${row.colour} /> ${row.label}</td><td class="number">${row.quality.n}</td><td class="number">${formatNumber(row.quality.mean)}${row.quality.n > 1 && html` <small>± ${formatNumber(row.quality.sd, 2)}</small>`}</td>
      <td class=${`number ${verdict(row.gain, isHigh)}`}>${row.gain.n ? html`${row.gain.mean > 0 ? "+" : ""}${formatNumber(row.gain.mean, 3)}${row.gain.n > 1 && html` <small>± ${formatNumber(halfWidth(row.gain), 2)}</small>`}` : ""}</td><td class="number">${formatDuration(row.cost.mean)}</td></tr>`)}</tbody></table></div>`;
}

// Only a gain whose interval leaves zero out is shown as one.
function verdict(gain, isHigh) {
  const half = halfWidth(gain);
  if (!(gain.n > 1) || !(Math.abs(gain.mean) > half)) return "";
  return gain.mean > 0 === isHigh ? "is-gain" : "is-loss";
}
