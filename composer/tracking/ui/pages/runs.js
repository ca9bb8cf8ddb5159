// The table of runs and what can be done with many at once.
import { html, useMemo, useState } from "../lib/html.js";
import { allColumns, isNumeric, metricsOf, titleOf, valueOf, varying } from "../lib/columns.js";
import { download, toCsv } from "../lib/csv.js";
import { FilterBox } from "../parts/filter_box.js";
import { ColumnMenu } from "../parts/column_menu.js";
import { RunsTable } from "../parts/runs_table.js";
import { TagPrompt } from "../parts/run_menu.js";
import { Trash } from "../parts/trash.js";
import { Icon, IconButton } from "../parts/icon.js";
import { projectPath, setQuery } from "../state.js";
import { stopRuns, trashRuns } from "../actions.js";
import { plural } from "../lib/format.js";

const FIRST = ["state", "created", "runtime", "steps"];
const MOST_CONFIG = 5;
const MOST_METRICS = 4;

// Until columns are chosen: what differs between the runs, and the first metrics.
function defaultColumns(runs) {
  const tags = runs.some((run) => run.tags.length) ? ["tags"] : [];
  const summaries = metricsOf(runs).map((metric) => `summary.${metric}`).filter((column) => isNumeric(runs, column));
  return [...FIRST, ...tags, ...varying(runs, MOST_CONFIG), ...summaries.slice(0, MOST_METRICS)];
}

export function RunsPage({ data, view, query }) {
  const [isTagging, setTagging] = useState(false);
  const [isTrash, setTrash] = useState(false);
  const all = useMemo(() => allColumns(data.runs).filter((column) => column !== "name"), [data.runs]);
  const automatic = useMemo(() => defaultColumns(data.runs), [data.runs]);
  const chosen = query.all("columns");
  const columns = chosen.length ? chosen : automatic;
  const selected = new Set(query.all("select").filter((name) => data.byName.has(name)));
  const select = (names) => setQuery({ select: names }, { replace: true });
  const chosenNames = [...selected];
  const exported = () => download(`${data.where.project}-runs.csv`, toCsv(["id", "name", ...columns.map(titleOf)], view.ordered.map((run) => [run.name, run.display_name, ...columns.map((column) => valueOf(run, column))])));
  return html`<div class="content fill">
    <div class="toolbar">
      <${FilterBox} query=${query} error=${view.error} />
      <${ColumnMenu} icon="columns" text="Columns" label="Columns" all=${all} chosen=${columns} onChange=${(list) => setQuery({ columns: list })} />
      <${ColumnMenu} icon="group" text="Group" label="Group runs by" all=${all} chosen=${view.by} onChange=${(group) => setQuery({ group, open: null })} />
      <button type="button" class="button" onClick=${exported}><${Icon} name="download" />CSV</button>
      <${IconButton} icon="trash" label="Trash" onClick=${() => setTrash(true)} />
      <span class="spacer" />
      ${chosenNames.length > 0 ? html`<span class="selection"><b>${plural(chosenNames.length, "run")}</b>
        <a class="button" href=${`${projectPath(data.where, "compare")}?${chosenNames.map((name) => `select=${encodeURIComponent(name)}`).join("&")}`}>Compare</a>
        <button type="button" class="button" onClick=${() => setTagging(true)}><${Icon} name="tag" />Tag</button>
        ${chosenNames.some((name) => data.byName.get(name).state === "running") && html`<button type="button" class="button" onClick=${() => stopRuns(data, chosenNames)}><${Icon} name="stop" />Stop</button>`}
        <button type="button" class="button danger" onClick=${() => { select([]); trashRuns(data, chosenNames); }}><${Icon} name="trash" />Delete</button>
        <${IconButton} icon="close" label="Select none" onClick=${() => select([])} /></span>` : html`<span class="list-count">${plural(view.kept.length, "run")}${view.kept.length < data.total ? ` of ${data.total}` : ""}</span>`}
    </div>
    ${data.runs.length ? html`<${RunsTable} data=${data} view=${view} query=${query} columns=${columns} selected=${selected} onSelect=${select} isOpen=${new Set(query.all("open"))} />` : html`<div class="empty"><h2>No runs yet</h2></div>`}
    ${isTagging && html`<${TagPrompt} data=${data} names=${chosenNames} onClose=${() => setTagging(false)} />`}
    ${isTrash && html`<${Trash} data=${data} onClose=${() => setTrash(false)} />`}
  </div>`;
}
