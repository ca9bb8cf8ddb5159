// Ablations of a project: those whose runs were logged here, and those whose report was opened here.
import { html, useMemo, useRef, useState } from "../lib/html.js";
import { query as encoded, readFile, send } from "../api.js";
import { useAnswer } from "../data.js";
import { valueOf } from "../lib/columns.js";
import { fromReport, fromRuns } from "../lib/ablation.js";
import { isHighBetter } from "../lib/cost.js";
import { groupRuns } from "../lib/rows.js";
import { colourAt, colourOf } from "../lib/colours.js";
import { useLines } from "../charts/use_lines.js";
import { AblationReport } from "../parts/ablation_report.js";
import { Icon } from "../parts/icon.js";
import { failed } from "../parts/toast.js";
import { isDark, setQuery } from "../state.js";

const [ARM, GROUP, SEED, METRIC, REPORT] = ["arm", "group", "seed", "metric", "report"].map((name) => `config.ablation/${name}`);
const POINTS = 1500;

export function AblationPage({ data, query }) {
  const reports = data.runs.filter((run) => valueOf(run, REPORT) !== undefined).map((run) => ({ id: run.name, label: run.display_name, file: [run.name, String(valueOf(run, REPORT))] }));
  const groups = groupRuns(data.runs.filter((run) => valueOf(run, ARM) !== undefined), [GROUP]).map((group) => ({ id: `group ${group.label}`, label: `${group.label} (logged runs)`, group }));
  // A file of any run, as its page of files names it.
  const file = query.all("report");
  const all = [...(file.length === 2 ? [{ id: "file", label: `${file[0]}: ${file[1]}`, file }] : []), ...reports, ...groups];
  const chosen = all.find((each) => each.id === query.get("ablation")) ?? all[0];
  const open = useOpen(data);
  return html`<div class="content" onDragOver=${(event) => event.preventDefault()} onDrop=${(event) => { event.preventDefault(); open(event.dataTransfer.files[0]); }}>
    <div class="toolbar"><h1>Ablation</h1>${all.length > 1 && html`<label class="field">of <select aria-label="Ablation" onChange=${(event) => setQuery({ ablation: event.target.value, target: null })}>${all.map((each) => html`<option key=${each.id} value=${each.id} selected=${each === chosen}>${each.label}</option>`)}</select></label>`}
      <span class="spacer" /><${OpenButton} onFile=${open} /></div>
    ${!chosen ? html`<div class="empty"><h2>No ablation</h2><p>Runs that <code>composer.ablation</code> started are compared here. Drop the <code>report.json</code> of one that was not logged, or bring it in with <code>composer track import ablation FOLDER</code>.</p></div>`
    : chosen.file ? html`<${Report} key=${chosen.id} data=${data} file=${chosen.file} query=${query} />` : html`<${Runs} key=${chosen.id} data=${data} label=${chosen.group.label} runs=${chosen.group.runs} query=${query} />`}</div>`;
}

// Keeps a report on the server, so that its page has an address.
function useOpen(data) {
  return async (file) => {
    if (!file) return;
    try {
      const { run } = await send(`/api/ablation?${encoded(data.where)}`, await file.text());
      await data.load();
      setQuery({ ablation: run, report: null });
    } catch (error) { failed(error); }
  };
}

function OpenButton({ onFile }) {
  const field = useRef();
  return html`<button type="button" class="button" onClick=${() => field.current.click()}><${Icon} name="plus" />Open a report</button>
    <input ref=${field} type="file" accept=".json,application/json" hidden onChange=${(event) => { onFile(event.target.files[0]); event.target.value = ""; }} />`;
}

function Report({ data, file: [run, path], query }) {
  const { value: report, error } = useAnswer(() => readFile({ ...data.where, run }, path), `${run} ${path} ${data.byName.get(run)?.updated_at}`);
  const found = useMemo(() => report && modelOf(report), [report, isDark()]);
  if (error) return html`<p class="error" role="alert">${error.message}</p>`;
  if (!found) return report ? html`<p class="error" role="alert">${path} is no report of an ablation.</p>` : html`<div class="empty" aria-busy="true" />`;
  return html`<${AblationReport} found=${found} query=${query} />`;
}

const modelOf = (report) => (Array.isArray(report.rows) && Array.isArray(report.runs) ? fromReport(report, (place) => colourAt(place, isDark())) : null);

function Runs({ data, label, runs, query }) {
  const named = String(valueOf(runs[0], METRIC) ?? "");
  // The Trainer logs an evaluator's metric under the evaluator's label.
  const metric = Object.keys(runs[0].summary).find((key) => key === named || (key.startsWith("metrics/") && key.endsWith(`/${named}`))) ?? named;
  const series = useMemo(() => groupRuns(runs, [ARM]).map((arm) => ({ id: arm.label, label: arm.label, runs: arm.runs.map((run) => run.name), colour: colourOf(arm.runs.reduce((a, b) => (a.id < b.id ? a : b)), isDark()) })), [runs, isDark()]);
  const { lines, isLoading, error } = useLines({ where: data.where, key: metric, x: "_runtime", names: series.flatMap((arm) => arm.runs), points: POINTS }, data.news, true);
  if (error) return html`<p class="error" role="alert">${error.message}</p>`;
  if (![...lines.values()].some((line) => line.size)) return isLoading ? html`<div class="empty" aria-busy="true" />` : html`<p class="hint">No run has logged ${metric} yet.</p>`;
  const run = (name) => data.byName.get(name);
  const stepCostOf = (name) => valueOf(run(name), "summary._runtime") / valueOf(run(name), "summary._step");
  const found = fromRuns({ title: label, metric, isHigh: isHighBetter(metric), series, lines, seedOf: (name) => valueOf(run(name), SEED), stepCostOf });
  return html`<${AblationReport} found=${found} query=${query} where=${data.where} />`;
}
