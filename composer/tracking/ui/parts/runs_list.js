// The runs beside the charts: what is drawn, in which colour, and how each is doing.
import { html } from "../lib/html.js";
import { IconButton } from "./icon.js";
import { Dot } from "./swatch.js";
import { RunMenu } from "./run_menu.js";
import { VirtualRows } from "./virtual.js";
import { FilterBox } from "./filter_box.js";
import { ColumnMenu } from "./column_menu.js";
import { projectPath, setQuery } from "../state.js";
import { toggleDrawn } from "../view.js";
import { allColumns } from "../lib/columns.js";
import { formatAgo, plural } from "../lib/format.js";

const ROW = 34;

export function RunsList({ data, view, query, highlighted, onHighlight }) {
  const { all, drawn, groups, by } = view;
  const render = (i) => {
    const each = all[i];
    const isDrawn = drawn.has(each.id);
    return html`<div role="row" aria-rowindex=${i + 2} key=${each.id} class=${`list-row ${isDrawn ? "" : "is-off"} ${highlighted === each.id ? "is-on" : ""}`} style=${{ height: `${ROW}px` }}
        onPointerEnter=${() => onHighlight(isDrawn ? each.id : null)} onPointerLeave=${() => onHighlight(null)}>
      <span role="cell"><button type="button" class="eye" aria-pressed=${String(isDrawn)} aria-label=${`${isDrawn ? "Hide" : "Show"} ${each.label}`} onClick=${() => setQuery(toggleDrawn(query, view, each.id), { replace: true })}><${Dot} colour=${each.colour} hollow=${!isDrawn} /></button></span>
      <span role="cell" class="list-name">${each.run ? html`<a href=${projectPath(data.where, "runs", each.run.name)} title=${each.label}>${each.label}</a>` : html`<span title=${each.label}>${each.label}</span>`}</span>
      ${each.run && html`<${State} run=${each.run} />`}
      ${each.run && html`<span role="cell"><${RunMenu} data=${data} run=${each.run} query=${query} /></span>`}
    </div>`;
  };
  const columns = allColumns(data.runs);
  const sortColumn = view.order.replace(/^-/, "");
  return html`<aside class="sidebar" aria-label="Runs">
    <${FilterBox} query=${query} error=${view.error} />
    <div class="toolbar">
      <${ColumnMenu} icon="group" text="Group" label="Group runs by" all=${columns} chosen=${by} onChange=${(group) => setQuery({ group, hide: null, show: null })} />
      <${ColumnMenu} icon="sliders" text="Sort" label="Sort runs by" single all=${columns} chosen=${[sortColumn]} onChange=${([column]) => setQuery({ sort: column ?? null })} />
      <${IconButton} icon="down" label=${view.order.startsWith("-") ? "Falling; turn around" : "Rising; turn around"} class=${`icon-button ${view.order.startsWith("-") ? "" : "is-flipped"}`} onClick=${() => setQuery({ sort: view.order.startsWith("-") ? sortColumn : `-${sortColumn}` })} />
    </div>
    <p class="list-count">${groups ? plural(groups.length, "group") : plural(all.length, "run")}${view.kept.length < data.runs.length ? ` of ${data.runs.length}` : ""}, ${drawn.size} drawn${(query.has("hide") || query.has("show")) && html` <button type="button" class="link" onClick=${() => setQuery({ hide: null, show: null })}>Reset</button>`}</p>
    <${VirtualRows} count=${all.length} height=${ROW} render=${render} label="Runs" columns="4" className="list" />
    ${data.runs.length < data.total && html`<p class="hint">The newest ${data.runs.length} of ${data.total} runs are loaded.</p>`}
  </aside>`;
}

const WORDS = { running: "running", finished: "finished", failed: "failed", crashed: "crashed", killed: "killed", pending: "pending", preempting: "preempting", preempted: "preempted" };

export function State({ run, long }) {
  const word = WORDS[run.state] ?? run.state;
  return html`<span role=${long ? undefined : "cell"} class=${`state is-${word}`} title=${`${word}, started ${formatAgo(run.created_at)}`}>${long ? word : word === "finished" ? html`<small>${formatAgo(run.created_at)}</small>` : word}</span>`;
}

