// What only runs of this library tell: the methods composed into them, and where their steps spend time.
import { html } from "../lib/html.js";
import { valuesOf } from "../lib/columns.js";
import { colourAt } from "../lib/colours.js";
import { formatNumber } from "../lib/format.js";
import { isDark } from "../state.js";

// The parts of a step in the order they happen; each has its colour on every run's page.
const PARTS = ["data", "copy", "forward", "backward", "optimizer", "communication", "logging", "checkpoint", "evaluation"];
const METHOD = "config.enabled_algorithms/";
const EVENT = "config.composition/";

export function ComposerRun({ run }) {
  const values = valuesOf(run);
  if (!values.has("config.composer_version")) return null;
  const methods = [...values].filter(([column, value]) => column.startsWith(METHOD) && value === true).map(([column]) => column.slice(METHOD.length));
  const events = [...values].filter(([column, value]) => column.startsWith(EVENT) && Array.isArray(value)).map(([column, value]) => [column.slice(EVENT.length), value.map(String)]);
  return html`<section class="box"><h2>Composition</h2>
    ${methods.length ? html`<p class="tags">${methods.map((name) => html`<span class="tag" key=${name}>${name}</span>`)}</p>` : html`<p class="hint">No methods: a plain training loop.</p>`}
    ${events.length > 0 && html`<${Events} events=${events} />`}
    <${Stalls} values=${values} /></section>`;
}

// The order of the loop, in which the events come; those it does not know come last.
const LOOP = ["init", "before_load", "after_load", "fit_start", "iteration_start", "epoch_start", "before_dataloader", "after_dataloader", "batch_start", "before_train_batch", "before_forward", "after_forward", "before_loss", "after_loss", "before_backward", "after_backward", "after_train_batch", "batch_end"];
const placeOf = (event) => (LOOP.includes(event) ? LOOP.indexOf(event) : LOOP.length);

function Events({ events }) {
  const rows = [...events].sort(([a], [b]) => placeOf(a) - placeOf(b)).flatMap(([event, methods]) => methods.map((text, i) => [i ? "" : event, ...text.split(": ")]));
  return html`<div class="scroll"><table class="plain"><thead><tr><th scope="col">Event</th><th scope="col">Method, in order</th><th scope="col">Changes</th></tr></thead><tbody>${rows.map(([event, method, writes], i) => html`<tr key=${i}><td>${event}</td><td>${method}</td><td>${writes}</td></tr>`)}</tbody></table></div>`;
}

function Stalls({ values }) {
  const parts = PARTS.map((name, i) => ({ name, seconds: values.get(`summary.stall/${name}`), colour: colourAt(i, isDark()) })).filter((part) => part.seconds > 0);
  const total = parts.reduce((sum, part) => sum + part.seconds, 0);
  if (!total) return null;
  return html`<h3>Where a step spends its ${formatNumber(total * 1000, 3)} ms</h3>
    <div class="stall-bar" role="img" aria-label=${parts.map((part) => `${part.name} ${percent(part.seconds / total)}`).join(", ")}>${parts.map((part) => html`<span key=${part.name} style=${{ width: `${(100 * part.seconds) / total}%`, background: part.colour }} title=${part.name} />`)}</div>
    <ul class="stall-list">${parts.map((part) => html`<li key=${part.name}><i class="dot" style=${{ background: part.colour }} />${part.name}<b>${percent(part.seconds / total)}</b></li>`)}</ul>`;
}

const percent = (share) => `${formatNumber(100 * share, 3)} %`;
