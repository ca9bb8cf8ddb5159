// One logged value that is no number, shown as what it is.
import { html } from "../lib/html.js";
import { fileAddress, frameAddress } from "../api.js";
import { filesOf } from "../lib/media.js";
import { Pictures } from "./pictures.js";
import { Cloud } from "./cloud.js";
import { Tables } from "./table.js";
import { formatBytes } from "../lib/format.js";

export function Value({ where, value, name, label, query }) {
  const kind = value._type ?? "";
  if (kind === "image-file" || kind.startsWith("images")) return html`<${Pictures} where=${where} value=${value} />`;
  if (kind.startsWith("audio")) return html`<div class="sounds">${filesOf(value).map((file) => html`<figure key=${file.path}><audio controls preload="metadata" src=${fileAddress(where, file.path)} /><figcaption>${file.caption}</figcaption></figure>`)}</div>`;
  if (kind.startsWith("video")) return html`<div class="pictures">${filesOf(value).map((file) => (file.path.endsWith(".gif") ? html`<img src=${fileAddress(where, file.path)} alt=${file.caption ?? ""} />` : html`<video controls preload="metadata" src=${fileAddress(where, file.path)} />`))}</div>`;
  if (kind === "html-file") return html`<iframe class="page-frame" sandbox="" referrerpolicy="no-referrer" loading="lazy" title=${`${name}, as logged; scripts do not run`} src=${frameAddress(where, value.path)} />`;
  if (kind === "object3D-file" && value.path?.endsWith(".pts.json")) return html`<${Cloud} where=${where} value=${value} />`;
  if (kind === "table-file") return html`<${Tables} sources=${[{ where, value, label }]} name=${name} query=${query} />`;
  return html`<p>${value.path ? html`<a class="button" href=${fileAddress(where, value.path)} download=${value.path.split("/").pop()}>Download ${value.path.split("/").pop()}</a> <small>${formatBytes(value.size)}</small>` : html`<code>${JSON.stringify(value).slice(0, 500)}</code>`}</p>`;
}
