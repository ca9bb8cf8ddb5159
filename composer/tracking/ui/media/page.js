// A logged page. Scripts do not run in it, so a chart that one would have drawn is drawn beside it.
import { html, useState } from "../lib/html.js";
import { frameAddress, readText } from "../api.js";
import { useAnswer } from "../data.js";
import { figureInPage } from "../lib/custom.js";
import { Framed } from "./framed.js";

const MOST_BYTES = 30_000_000;

export function Page({ where, value, name }) {
  const [isPlain, setPlain] = useState(false);
  const { value: figure } = useAnswer(() => (value.size < MOST_BYTES ? readText(where, value.path).then(figureInPage) : Promise.resolve(null)), value.path);
  if (figure === undefined) return html`<div class="empty" aria-busy="true" />`;
  const frame = html`<iframe class="page-frame" sandbox="" referrerpolicy="no-referrer" loading="lazy" title=${`${name}, as logged; scripts do not run`} src=${frameAddress(where, value.path)} />`;
  if (!figure) return frame;
  return html`${isPlain ? frame : html`<${Framed} key=${value.path} kind="plotly" chart=${figure} height=${figure.layout?.height ?? 420} title=${name} />`}
    <button type="button" class="link" aria-pressed=${String(isPlain)} onClick=${() => setPlain(!isPlain)}>The page as logged</button>`;
}
