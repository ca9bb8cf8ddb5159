// Thousands of runs as a table with any column; or groups of them with mean and spread.
import { html } from "../lib/html.js";
import { Dot } from "./swatch.js";
import { Icon } from "./icon.js";
import { RunMenu } from "./run_menu.js";
import { State } from "./runs_list.js";
import { VirtualRows } from "./virtual.js";
import { projectPath, setQuery } from "../state.js";
import { isNumeric, titleOf, valueOf } from "../lib/columns.js";
import { groupValue } from "../lib/rows.js";
import { formatAgo, formatDuration, formatNumber, formatValue } from "../lib/format.js";

const ROW = 36;
const WIDTHS = { state: 104, created: 110, runtime: 96, steps: 84, user: 96, tags: 170, notes: 220, group: 130 };
const NUMBERS = new Set(["runtime", "steps"]);
const width = (column) => WIDTHS[column] ?? 132;

export function RunsTable({ data, view, query, columns, selected, onSelect, isOpen }) {
  const rows = view.groups ? view.groups.flatMap((group, i) => [{ group, series: view.all[i] }, ...(isOpen.has(group.key) ? group.runs.map((run) => ({ run, inGroup: true })) : [])]) : view.all.map((series) => ({ run: series.run, series }));
  const widths = columns.map(width);
  const grid = { gridTemplateColumns: `44px minmax(220px, 1fr) ${widths.map((each) => `${each}px`).join(" ")}`, minWidth: `${264 + widths.reduce((sum, each) => sum + each, 0)}px` };
  const render = (i) => (rows[i].group ? html`<${GroupRow} key=${rows[i].group.key} row=${rows[i]} at=${i} ...${{ columns, grid, query, isOpen }} />`
    : html`<${RunRow} key=${rows[i].run.name} row=${rows[i]} at=${i} ...${{ data, columns, grid, query, selected, onSelect }} />`);
  const names = rows.filter((row) => row.run).map((row) => row.run.name);
  const isAll = names.length > 0 && names.every((name) => selected.has(name));
  const head = html`<div role="row" aria-rowindex="1" class="table-row table-head" style=${grid}>
    <span role="columnheader" class="cell-check"><input type="checkbox" aria-label="Select all" checked=${isAll} onChange=${() => onSelect(isAll ? [] : names)} /></span>
    ${["name", ...columns].map((column) => html`<${Head} key=${column} column=${column} order=${view.order} isNumber=${NUMBERS.has(column) || isNumeric(data.runs, column)} />`)}
  </div>`;
  return html`<${VirtualRows} count=${rows.length} height=${ROW} render=${render} head=${head} label="Runs" columns=${columns.length + 2} className="table" />`;
}

function Head({ column, order, isNumber }) {
  const isSorted = order.replace(/^-/, "") === column;
  const falls = order.startsWith("-");
  const next = isSorted && falls ? column : `-${column}`;
  return html`<span role="columnheader" class=${column === "name" ? "cell-name" : isNumber ? "number" : ""} aria-sort=${isSorted ? (falls ? "descending" : "ascending") : "none"}>
    <button type="button" class="head-button" title=${`${column}. Click to sort.`} onClick=${() => setQuery({ sort: next })}>${titleOf(column)}${isSorted && html`<${Icon} name="down" size="12" />`}</button></span>`;
}

function RunRow({ row: { run, series, inGroup }, at, data, columns, grid, query, selected, onSelect }) {
  const isChosen = selected.has(run.name);
  const toggle = () => onSelect(isChosen ? [...selected].filter((name) => name !== run.name) : [...selected, run.name]);
  return html`<div role="row" aria-rowindex=${at + 2} aria-selected=${String(isChosen)} class=${`table-row ${inGroup ? "in-group" : ""}`} style=${{ ...grid, height: `${ROW}px` }}>
    <span role="cell" class="cell-check"><input type="checkbox" aria-label=${`Select ${run.display_name}`} checked=${isChosen} onChange=${toggle} /></span>
    <span role="cell" class="cell-name">${series && html`<${Dot} colour=${series.colour} />`}<a href=${projectPath(data.where, "runs", run.name)} title=${run.display_name}>${run.display_name ?? run.name}</a><${RunMenu} data=${data} run=${run} query=${query} /></span>
    ${columns.map((column) => html`<${Cell} key=${column} column=${column} run=${run} />`)}
  </div>`;
}

function Cell({ column, run }) {
  const value = valueOf(run, column);
  if (column === "state") return html`<span role="cell"><${State} run=${run} long /></span>`;
  if (column === "created") return html`<span role="cell" title=${value}>${formatAgo(value)}</span>`;
  if (column === "runtime") return html`<span role="cell" class="number">${formatDuration(value)}</span>`;
  if (column === "tags") return html`<span role="cell" class="tags">${value.map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`)}</span>`;
  const text = formatValue(value);
  return html`<span role="cell" class=${typeof value === "number" ? "number" : ""} title=${typeof value === "number" ? String(value) : text}>${text}</span>`;
}

function GroupRow({ row: { group, series }, at, columns, grid, isOpen, query }) {
  const open = isOpen.has(group.key);
  const toggle = () => setQuery({ open: open ? query.all("open").filter((key) => key !== group.key) : [...query.all("open"), group.key] }, { replace: true });
  return html`<div role="row" aria-rowindex=${at + 2} class="table-row group-row" style=${{ ...grid, height: `${ROW}px` }}>
    <span role="cell" class="cell-check"><button type="button" class="icon-button" aria-expanded=${String(open)} aria-label=${`Runs of ${group.label}`} onClick=${toggle}><${Icon} name=${open ? "down" : "right"} size="14" /></button></span>
    <span role="cell" class="cell-name"><${Dot} colour=${series.colour} /><b title=${group.label}>${group.label}</b><span class="count">n = ${group.runs.length}</span></span>
    ${columns.map((column) => html`<${GroupCell} key=${column} column=${column} value=${groupValue(group, column)} />`)}
  </div>`;
}

function GroupCell({ column, value }) {
  if (!value || typeof value !== "object" || !("mean" in value)) return html`<span role="cell">${column === "created" ? formatAgo(value) : formatValue(value)}</span>`;
  const show = column === "runtime" ? formatDuration : formatNumber;
  return html`<span role="cell" class="number" title=${`mean of ${value.n}; lowest ${value.low}, highest ${value.high}`}>${show(value.mean)}${value.n > 1 && html` <small>± ${show(value.sd)}</small>`}</span>`;
}
