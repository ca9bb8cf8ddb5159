// What is known of a run at a glance.
import { html, useState } from "../lib/html.js";
import { compareNames, runtimeOf, valuesOf } from "../lib/columns.js";
import { formatDuration, formatTime, formatValue } from "../lib/format.js";
import { Markdown } from "../lib/markdown.js";
import { ComposerRun } from "../parts/composer_run.js";
import { State } from "../parts/runs_list.js";

export function OverviewPage({ run, detail }) {
  const values = [...valuesOf(run)].filter(([column]) => !column.startsWith("config.composition/"));
  const part = (prefix) => values.filter(([column]) => column.startsWith(prefix)).map(([column, value]) => [column.slice(prefix.length), value]).sort(([a], [b]) => compareNames(a, b));
  const facts = [
    ["State", html`<${State} run=${run} long />`], ["Started", formatTime(run.created_at)], ["Ran for", formatDuration(runtimeOf(run))],
    ["User", run.user], ["Id", run.name], ["Group", run.group], ["Job type", run.job_type], ["Rows", run.history_lines], ["Exit code", run.exit_code],
    ["Python", run.config?._wandb?.value?.python_version], ["Client", run.config?._wandb?.value?.cli_version],
  ].filter(([, value]) => value !== undefined && value !== null && value !== "");
  return html`<div class="content overview">
    ${(detail?.alerts ?? []).map((alert) => html`<div class=${`alert is-${alert.severity?.toLowerCase()}`} role="note"><b>${alert.title}</b> ${alert.text} <small>${formatTime(alert.at)}</small></div>`)}
    <div class="columns">
      <section class="box"><h2>Run</h2><dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
        ${run.tags.length > 0 && html`<p class="tags">${run.tags.map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`)}</p>`}
        ${run.notes && html`<h3>Notes</h3><${Markdown} text=${run.notes} />`}</section>
      <${ComposerRun} run=${run} />
      <${Values} title="Summary" values=${part("summary.")} empty="Nothing was logged." />
      <${Values} title="Config" values=${part("config.")} empty="The run was given no config." />
    </div>
  </div>`;
}

function Values({ title, values, empty }) {
  const [search, setSearch] = useState("");
  const shown = values.filter(([name, value]) => `${name} ${formatValue(value)}`.toLowerCase().includes(search.toLowerCase()));
  return html`<section class="box"><h2>${title}<span class="count">${values.length}</span>${values.length > 8 && html`<input type="search" class="box-search" placeholder="Search" aria-label=${`Search ${title}`} value=${search} onInput=${(event) => setSearch(event.target.value)} />`}</h2>
    ${values.length ? html`<dl class="facts">${shown.map(([name, value]) => html`<dt title=${name}>${name}</dt><dd title=${String(value)}>${formatValue(value)}</dd>`)}</dl>` : html`<p class="hint">${empty}</p>`}</section>`;
}
