// What can be saved of a chart that is no line chart: its picture, and its numbers.
import { html, useRef } from "../lib/html.js";
import { downloadPng } from "../charts/export.js";
import { download, toCsv } from "../lib/csv.js";
import { Menu, MenuItem } from "./menu.js";

// Stands in the chart's figure. `items` are {label, colour} for the legend; `head` and `rows()` the numbers.
export function SaveChart({ title, items, head, rows }) {
  const place = useRef();
  const savePicture = () => downloadPng(title, { canvas: place.current.closest("figure").querySelector("canvas"), items });
  return html`<span ref=${place}><${Menu} icon="dots" label=${`Options of ${title}`}>${(close) => html`
    <${MenuItem} icon="download" onClick=${() => { close(); savePicture(); }}>Download PNG<//>
    <${MenuItem} icon="download" onClick=${() => { close(); download(`${title}.csv`, toCsv(head, rows())); }}>Download CSV<//>`}<//></span>`;
}

// Quality and cost of runs or groups, as both charts of them save it.
export const SaveCost = ({ title, rows, quality, cost }) => html`<${SaveChart} title=${title} items=${rows} head=${["run", quality, cost, "cost to the target", "reached", "runs"]} rows=${() => rows.map((row) => [row.label, row.quality.mean, row.cost.mean, row.toTarget.mean, row.reached, row.tried])} />`;
