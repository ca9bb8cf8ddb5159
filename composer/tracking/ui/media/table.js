// A logged table: any number of rows, pictures in cells, sorted, filtered, compared with another run's.
import { html, useMemo } from "../lib/html.js";
import { fileAddress, readFile } from "../api.js";
import { useAnswer } from "../data.js";
import { later } from "../parts/later.js";
import { VirtualRows } from "../parts/virtual.js";
import { setQuery } from "../state.js";
import { Icon } from "../parts/icon.js";
import { cellText, joinTables, readTable, rowDiffers, selectRows } from "../lib/tables.js";
import { download, toCsv } from "../lib/csv.js";
import { formatNumber, formatValue, plural } from "../lib/format.js";
import { Preset } from "./preset.js";
import { Picture } from "./pictures.js";
import { filesOf } from "../lib/media.js";

const CustomChart = later(() => import("./custom.js"), "CustomChart");
const ROW = 34;
const PICTURE_ROW = 68;
const LEAST_WIDTH = 120;
const JOINED_WIDTH = 200;

// `sources` are {where, value, label}: one table, two that may be compared, or several for one custom chart.
// How it is filtered, sorted and compared stands in the address under the key's name.
export function Tables({ sources: given, name, query }) {
  const sources = given.map((source) => ({ ...source, ...tablePlace(source) }));
  const { value: files, error } = useAnswer(() => Promise.all(sources.map(({ where, path }) => readFile(where, path).then(readTable))), sources.map(({ where, path }) => `${where.run} ${where.artifact} ${path}`).join());
  const [by, setBy] = useKept(query, `by ${name}`);
  const [onlyDifferent, setOnlyDifferent] = useKept(query, `differ ${name}`);
  const shared = files?.length === 2 ? files[0].columns.filter((column) => files[1].columns.includes(column)) : [];
  const joined = useMemo(() => {
    if (!by || files?.length !== 2) return null;
    const found = joinTables(files[0], files[1], by, sources.map((source) => source.label));
    return onlyDifferent ? { ...found, rows: found.rows.filter(rowDiffers) } : found;
  }, [files, by, onlyDifferent]);
  if (error) return html`<p class="error">${error.message}</p>`;
  if (!files) return html`<div class="empty" aria-busy="true" />`;
  // One chart for all runs, as its specification may tell them apart by name.
  const custom = sources[0]?.custom;
  return html`${custom && html`<${CustomChart} key=${JSON.stringify([custom, sources.map((source) => source.label)])} custom=${custom} tables=${files.map((table, i) => ({ ...table, label: sources[i].label }))} />`}
    ${shared.length > 0 && html`<div class="toolbar"><label class="field">Compare by <select onChange=${(event) => setBy(event.target.value)}><option value="">nothing</option>${shared.map((column) => html`<option key=${column} value=${column} selected=${column === by}>${column}</option>`)}</select></label>
      ${joined && html`<button type="button" class="button toggle" aria-pressed=${String(Boolean(onlyDifferent))} onClick=${() => setOnlyDifferent(onlyDifferent ? "" : "1")}>Only what differs</button>`}</div>`}
    ${joined ? html`<${Table} table=${joined} name=${name} query=${query} wheres=${(column) => sources[column === 0 ? 0 : (column - 1) % 2].where} isJoined />`
    : files.map((table, i) => html`<div key=${sources[i].where.run}>${sources.length > 1 && html`<p class="hint">${sources[i].label}</p>`}${sources[i].preset && html`<${Preset} table=${table} preset=${sources[i].preset} colour=${sources[i].colour} />`}<${Table} table=${table} name=${name} query=${query} wheres=${() => sources[i].where} /></div>`)}`;
}

const useKept = (query, key) => [query.get(key), (value) => setQuery({ [key]: value }, { replace: true })];

// The table itself is in an artifact, with the pictures of its cells; the run has only its text.
function tablePlace({ where, value }) {
  const found = /^wandb-client-artifact:\/\/([^/:]+)(?::[^/]*)?\/(.+)$/.exec(value.artifact_path ?? "");
  return found ? { where: { ...where, artifact: found[1] }, path: found[2] } : { where, path: value.path };
}

function Table({ table, name, query, wheres, isJoined }) {
  const [filter, setFilter] = useKept(query, `rows ${name}`);
  const [order, setOrder] = useKept(query, `order ${name}`);
  const { rows, error } = useMemo(() => {
    try { return { rows: selectRows(table, filter, order), error: null }; } catch (problem) { return { rows: selectRows(table, "", order), error: problem.message }; }
  }, [table, filter, order]);
  const hasPictures = table.rows.slice(0, 20).some((row) => row.some((cell) => cell?._type?.startsWith("image")));
  const height = hasPictures ? PICTURE_ROW : ROW;
  const grid = { gridTemplateColumns: `52px repeat(${table.columns.length}, minmax(0, 1fr))`, minWidth: `${52 + table.columns.length * (isJoined ? JOINED_WIDTH : LEAST_WIDTH)}px` };
  const turn = (column) => setOrder(order === `-${column}` ? column : `-${column}`);
  const head = html`<div role="row" class="table-row table-head" style=${grid}><span role="columnheader">#</span>
    ${table.columns.map((column) => html`<span key=${column} role="columnheader" aria-sort=${order === column ? "ascending" : order === `-${column}` ? "descending" : "none"}><button type="button" class="head-button" onClick=${() => turn(column)}>${column}${order.replace(/^-/, "") === column && html`<${Icon} name="down" size="12" />`}</button></span>`)}</div>`;
  const render = (i) => html`<div role="row" aria-rowindex=${i + 2} key=${rows[i].number} class="table-row" style=${{ ...grid, height: `${height}px` }}><span role="cell" class="number soft">${rows[i].number + 1}</span>
    ${rows[i].cells.map((cell, column) => html`<${Cell} key=${column} cell=${cell} where=${wheres(column)} differs=${isJoined && column > 0 && cellText(cell) !== cellText(rows[i].cells[column % 2 ? column + 1 : column - 1])} />`)}</div>`;
  return html`<div class="logged-table"><div class="toolbar"><div class=${error ? "search bad" : "search"}><${Icon} name="search" /><input type="search" class="search-input" placeholder="Search, or confidence > 0.5 and truth = cat" aria-label=${`Filter ${name}`} value=${filter} onInput=${(event) => setFilter(event.target.value)} />${error && html`<p class="search-error" role="alert">${error}</p>`}</div>
      <span class="list-count">${plural(rows.length, "row")}${rows.length < table.rows.length ? ` of ${formatNumber(table.rows.length)}` : ""}</span><span class="spacer" />
      <button type="button" class="button" onClick=${() => download(`${name}.csv`, toCsv(table.columns, rows.map((row) => row.cells)))}><${Icon} name="download" />CSV</button></div>
    <${VirtualRows} count=${rows.length} height=${height} render=${render} head=${head} label=${name} columns=${table.columns.length + 1} className="table" /></div>`;
}

function Cell({ cell, where, differs }) {
  const className = differs ? "differs" : "";
  if (cell?._type === "image-file") return html`<span role="cell" class=${className}><${Picture} small where=${where} picture=${{ path: cell.path, caption: "", masks: cell.masks, boxes: cell.boxes }} /></span>`;
  if (cell?._type === "audio-file") return html`<span role="cell" class=${className}>${filesOf(cell).map((file) => html`<audio controls preload="metadata" src=${fileAddress(where, file.path)} />`)}</span>`;
  const text = formatValue(cell);
  return html`<span role="cell" class=${`${className} ${typeof cell === "number" ? "number" : ""}`} title=${text}>${text}</span>`;
}
