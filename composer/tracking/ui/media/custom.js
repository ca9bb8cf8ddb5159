// Charts that were described and not drawn: Vega specifications with a table, and figures of Plotly.
import { html, useMemo } from "../lib/html.js";
import { get, readFile } from "../api.js";
import { useAnswer } from "../data.js";
import { fillPlaces, namedRows } from "../lib/custom.js";
import { Framed } from "./framed.js";

const MOST_ROWS = 100_000;

// `custom` is what `customOf` found; `tables` what it draws: {columns, rows, label}, one of each run.
export function CustomChart({ custom, tables }) {
  const { value: found, error } = useAnswer(() => get("/api/custom_chart", { name: custom.name }), custom.name);
  const chart = useMemo(() => found?.spec && { spec: fillPlaces(found.spec, custom), rows: tables.flatMap(namedRows).slice(0, MOST_ROWS) }, [found]);
  if (error) return html`<p class="error">${error.message}</p>`;
  if (found && !found.spec) return html`<p class="hint">The specification ${custom.name} is not on this server, so only its table is shown. <code>wandb.Api().create_custom_chart</code> puts it there.</p>`;
  if (!chart) return html`<div class="empty" aria-busy="true" />`;
  return html`<${Framed} kind="vega" chart=${chart} height=${320} title=${found.title || custom.name} />`;
}

export function PlotlyFile({ where, path, title }) {
  const { value: figure, error } = useAnswer(() => readFile(where, path), path);
  if (error) return html`<p class="error">${error.message}</p>`;
  return figure ? html`<${Framed} key=${path} kind="plotly" chart=${figure} height=${figure.layout?.height ?? 420} title=${title} />` : html`<div class="empty" aria-busy="true" />`;
}
