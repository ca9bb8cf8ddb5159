// How all charts of a page are drawn: x axis, smoothing, scales, and which metrics.
import { html } from "../lib/html.js";
import { FilterBox } from "./filter_box.js";
import { setQuery } from "../state.js";

const AXES = [["", "Step, or as the run defined it"], ["_step", "Step"], ["_runtime", "Relative time"], ["_timestamp", "Time"]];

export function ChartTools({ query, metrics }) {
  const toggle = (name) => setQuery({ [name]: query.has(name) ? null : "1" }, { replace: true });
  const smoothing = query.number("smooth", 0);
  const isZoomed = query.has("low") || query.has("high");
  return html`<div class="toolbar chart-tools">
    <${FilterBox} query=${query} name="metrics" label="Filter charts" placeholder="Charts, e.g. loss|accuracy" />
    <label class="field">x <select value=${query.get("x")} onChange=${(event) => setQuery({ x: event.target.value, low: null, high: null })}>
      ${AXES.map(([value, text]) => html`<option key=${value} value=${value} selected=${query.get("x") === value}>${text}</option>`)}
      <optgroup label="A metric">${metrics.map((metric) => html`<option key=${metric} value=${metric} selected=${query.get("x") === metric}>${metric}</option>`)}</optgroup></select></label>
    <label class="field">Smoothing <input type="range" min="0" max="0.99" step="0.01" value=${smoothing} onInput=${(event) => setQuery({ smooth: Number(event.target.value) || null }, { replace: true })} /><output>${smoothing.toFixed(2)}</output></label>
    <button type="button" class="button toggle" aria-pressed=${String(query.has("logx"))} onClick=${() => toggle("logx")}>log x</button>
    <button type="button" class="button toggle" aria-pressed=${String(query.has("logy"))} onClick=${() => toggle("logy")}>log y</button>
    ${isZoomed && html`<button type="button" class="button" onClick=${() => setQuery({ low: null, high: null })}>Show all</button>`}
  </div>`;
}
