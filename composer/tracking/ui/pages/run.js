// One run and everything it left.
import { html, useMemo } from "../lib/html.js";
import { get } from "../api.js";
import { useAnswer, useProject } from "../data.js";
import { metricsOf } from "../lib/columns.js";
import { projectPath } from "../state.js";
import { viewOf } from "../view.js";
import { Sections } from "./charts.js";
import { OverviewPage } from "./overview.js";
import { Media } from "./media.js";
import { FilesPage } from "./files.js";
import { Console } from "../parts/console.js";
import { ChartTools } from "../parts/chart_tools.js";
import { State } from "../parts/runs_list.js";
import { RunMenu } from "../parts/run_menu.js";
import { Lineage } from "../parts/lineage.js";
import { Dot } from "../parts/swatch.js";

const TABS = [
  ["", "Overview", OverviewPage],
  ["charts", "Charts", Charts],
  ["media", "Media", RunMedia],
  ["system", "System", System],
  ["console", "Console", Console],
  ["files", "Files", FilesPage],
  ["artifacts", "Artifacts", RunArtifacts],
];

export function RunPage({ where, name, tab, query }) {
  const data = useProject(where);
  const run = data.byName.get(name);
  const detail = useAnswer(() => get("/api/run", { ...where, run: name }), `${name} ${run?.event_lines > 0} ${run?.state}`);
  const [, , Page] = TABS.find(([each]) => each === tab) ?? TABS[0];
  const colour = run && viewOf(data, query).all.find((each) => each.runs.includes(name))?.colour;
  if (data.error) return html`<div class="empty"><p class="error" role="alert">${data.error.message}</p></div>`;
  if (!data.isLoaded) return html`<div class="empty" aria-busy="true" />`;
  if (!run) return html`<div class="empty"><h2>No such run</h2><p>It may have been deleted; <a href=${projectPath(where, "table")}>the trash</a> keeps runs for seven days.</p></div>`;
  return html`<div class="page">
    <div class="run-head"><${Dot} colour=${colour} /><h1>${run.display_name ?? run.name}</h1><${State} run=${run} long /><${RunMenu} data=${data} run=${run} query=${query} /></div>
    <nav class="tabs" aria-label="Parts of the run">${TABS.map(([each, title]) => html`<a key=${each} href=${projectPath(where, "runs", name, ...(each ? [each] : []))} aria-current=${each === tab ? "page" : undefined}>${title}</a>`)}</nav>
    <${Page} data=${data} run=${run} where=${{ ...where, run: name }} detail=${detail.value} colour=${colour} query=${query} />
  </div>`;
}

function Charts({ data, run, colour, query }) {
  const metrics = useMemo(() => metricsOf([run]), [run.summary]);
  return html`<div class="content"><${ChartTools} query=${query} metrics=${metrics} /><${Sections} where=${data.where} data=${data} series=${seriesOf(run, colour)} metrics=${metrics} query=${query} /></div>`;
}

function RunMedia({ data, run, colour, query }) {
  return html`<div class="content"><${Media} where=${data.where} series=${seriesOf(run, colour)} query=${query} /></div>`;
}

function System({ data, run, detail, colour, query }) {
  const metrics = Object.entries(detail?.keys.events ?? {}).filter(([key, { numbers }]) => numbers && !key.startsWith("_")).map(([key]) => key);
  if (detail && !metrics.length) return html`<div class="empty"><h2>No system metrics</h2><p>The client sends them every few seconds while a run goes on.</p></div>`;
  return html`<div class="content"><${Sections} where=${data.where} data=${data} series=${seriesOf(run, colour)} metrics=${metrics} query=${query} stream="events" /></div>`;
}

function RunArtifacts({ where }) {
  return html`<div class="content"><section class="box"><h2>What it used and made</h2><${Lineage} question=${where} /></section></div>`;
}

const seriesOf = (run, colour) => [{ id: run.name, label: run.display_name ?? run.name, colour, runs: [run.name], run }];
