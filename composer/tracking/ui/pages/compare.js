// Configs and summaries side by side, what differs first.
import { html } from "../lib/html.js";
import { compareNames, titleOf, valueOf, valuesOf } from "../lib/columns.js";
import { formatValue } from "../lib/format.js";
import { Dot } from "../parts/swatch.js";
import { projectPath, setQuery } from "../state.js";
import { ColumnMenu } from "../parts/column_menu.js";

const MOST = 12;

export function ComparePage({ data, view, query }) {
  const wanted = query.all("select").filter((name) => data.byName.has(name));
  const runs = (wanted.length ? wanted : view.series.flatMap((each) => each.runs).slice(0, 4)).slice(0, MOST).map((name) => data.byName.get(name));
  const colours = new Map(view.all.flatMap((each) => each.runs.map((name) => [name, each.colour])));
  const columns = [...new Set(runs.flatMap((run) => [...valuesOf(run).keys()]))].sort(compareNames);
  const rows = columns.map((column) => ({ column, values: runs.map((run) => valueOf(run, column)) }));
  const parts = [
    ["Config that differs", rows.filter((row) => row.column.startsWith("config.") && differs(row))],
    ["Results", rows.filter((row) => row.column.startsWith("summary.") && !row.values.some((value) => value?._type))],
    ["Config that is the same", rows.filter((row) => row.column.startsWith("config.") && !differs(row))],
  ];
  const labels = new Map(data.runs.map((run) => [`${run.display_name} (${run.name})`, run.name]));
  return html`<div class="content">
    <div class="toolbar"><${ColumnMenu} icon="plus" text="Runs" label="Runs to compare" all=${[...labels.keys()]} chosen=${runs.map((run) => `${run.display_name} (${run.name})`)} onChange=${(list) => setQuery({ select: list.map((label) => labels.get(label)) })} /></div>
    ${runs.length < 2 ? html`<p class="hint">Choose two runs or more to compare.</p>` : html`<div class="scroll"><table class="compare">
      <thead><tr><th scope="col"><span class="unseen">Name</span></th>${runs.map((run) => html`<th scope="col" key=${run.name}><${Dot} colour=${colours.get(run.name) ?? "currentColor"} /><a href=${projectPath(data.where, "runs", run.name)}>${run.display_name}</a></th>`)}</tr></thead>
      ${parts.filter(([, list]) => list.length).map(([title, list]) => html`<tbody key=${title}><tr class="compare-part"><th colspan=${runs.length + 1} scope="rowgroup">${title}</th></tr>
        ${list.map((row) => html`<tr key=${row.column} class=${differs(row) ? "differs" : ""}><th scope="row">${titleOf(row.column)}</th>${row.values.map((value, i) => html`<td key=${i} title=${formatValue(value)}>${formatValue(value)}</td>`)}</tr>`)}</tbody>`)}
    </table></div>`}
  </div>`;
}

const differs = ({ values }) => values.some((value) => JSON.stringify(value) !== JSON.stringify(values[0]));
