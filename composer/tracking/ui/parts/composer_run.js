// What only runs of this library tell: the methods composed into them, and where their steps spend time.
import { html } from "../lib/html.js";
import { valuesOf } from "../lib/columns.js";
import { colourAt } from "../lib/colours.js";
import { formatNumber } from "../lib/format.js";
import { isDark } from "../state.js";

// The parts of a step in the order they happen; each has its colour on every run's page.
const PARTS = ["data", "copy", "forward", "backward", "optimizer", "communication", "logging", "checkpoint", "evaluation"];
const METHOD = "config.enabled_algorithms/";

export function ComposerRun({ run }) {
  const values = valuesOf(run);
  if (!values.has("config.composer_version")) return null;
  const methods = [...values].filter(([column, value]) => column.startsWith(METHOD) && value === true).map(([column]) => column.slice(METHOD.length));
  const table = values.get("config.composition");
  return html`<section class="box"><h2>Composition</h2>
    ${methods.length ? html`<p class="tags">${methods.map((name) => html`<span class="tag" key=${name}>${name}</span>`)}</p>` : html`<p class="hint">No methods: a plain training loop.</p>`}
    ${typeof table === "string" && html`<pre class="code">${table}</pre>`}
    <${Stalls} values=${values} /></section>`;
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
