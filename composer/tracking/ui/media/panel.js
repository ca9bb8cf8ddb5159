// Everything that some runs logged under one key, step by step.
import { html } from "../lib/html.js";
import { get } from "../api.js";
import { useAnswer } from "../data.js";
import { classesOf, valueAt } from "../lib/media.js";
import { customOf } from "../lib/custom.js";
import { presetOf } from "../lib/presets.js";
import { formatNumber } from "../lib/format.js";
import { setQuery } from "../state.js";
import { Dot } from "../parts/swatch.js";
import { Heat } from "./heat.js";
import { Tables } from "./table.js";
import { Value } from "./value.js";

const MOST_TABLES = 2;

// `series` are single runs: {id, label, colour, run}.
export function MediaPanel({ where, name, kind, series, query }) {
  const runs = series.filter((each) => each.run?.summary && pathOf(each.run.summary, name));
  const key = runs.map((each) => `${each.id} ${JSON.stringify(pathOf(each.run.summary, name))}`).join();
  const { value: found, error } = useAnswer(() => Promise.all(runs.map((each) => get("/api/run/values", { ...where, run: each.id, key: name }))), key);
  const lists = found?.length === runs.length ? found : runs.map(() => []);
  const steps = [...new Set(lists.flatMap((list) => list.map((each) => each.step)))].sort((a, b) => a - b);
  const chosen = query.all("at").map((text) => [text.slice(0, text.lastIndexOf("@")), Number(text.slice(text.lastIndexOf("@") + 1))]);
  const step = new Map(chosen).get(name) ?? steps[steps.length - 1];
  const onStep = (value) => setQuery({ at: [...chosen.filter(([each]) => each !== name), [name, value]].map(([each, at]) => `${each}@${at}`) }, { replace: true });
  const at = lists.map((list) => (list.length ? valueAt(list, step) : null));
  const isTable = kind === "table-file";
  return html`<section class="box media-box"><div class="media-head"><h2>${name}</h2>
      ${kind !== "histogram" && steps.length > 1 && html`<label class="field">Step <input type="range" min="0" max=${steps.length - 1} value=${Math.max(0, steps.findLastIndex((each) => each <= step))} onInput=${(event) => onStep(steps[Number(event.target.value)])} aria-valuetext=${`step ${step}`} /><output>${formatNumber(step)}</output></label>`}</div>
    ${error && html`<p class="error">${error.message}</p>`}
    ${isTable ? html`<${Tables} query=${query} key=${at.map((each) => each?.value.path).join()} name=${name} sources=${runs.map((each, i) => ({ where: { ...where, run: each.id }, value: at[i]?.value, label: each.label, colour: each.colour, preset: presetOf(each.run, name), custom: customOf(each.run, name) })).filter((source) => source.value).filter((source, i) => i < MOST_TABLES || source.custom)} />`
    : html`<div class="media-runs">${runs.map((each, i) => at[i] && html`<div key=${each.id} class="media-run">${series.length > 1 && html`<p class="media-name"><${Dot} colour=${each.colour} /> ${each.label}</p>`}
        ${kind === "histogram" ? html`<${Heat} values=${lists[i].filter((point) => point.value?._type === "histogram")} colour=${each.colour} label=${name} />` : html`<${Value} where=${{ ...where, run: each.id }} value=${at[i].value} name=${name} label=${each.label} groups=${classesOf(each.run, name)} query=${query} />`}</div>`)}</div>`}
  </section>`;
}

function pathOf(summary, name) {
  if (name in summary) return summary[name];
  return name.split(".").reduce((found, part) => found?.[part], summary);
}
