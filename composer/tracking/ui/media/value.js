// One logged value that is no number, shown as what it is.
import { html } from "../lib/html.js";
import { fileAddress } from "../api.js";
import { filesOf } from "../lib/media.js";
import { later } from "../parts/later.js";
import { Pictures } from "./pictures.js";
import { Cloud } from "./cloud.js";
import { Tables } from "./table.js";
import { formatBytes } from "../lib/format.js";

const Page = later(() => import("./page.js"), "Page");
const PlotlyFile = later(() => import("./custom.js"), "PlotlyFile");

// `groups` are the classes of its masks and boxes.
export function Value({ where, value, name, label, groups, query }) {
  const kind = value._type ?? "";
  if (kind === "image-file" || kind.startsWith("images")) return html`<${Pictures} ...${{ where, value, name, groups, query }} />`;
  if (kind.startsWith("audio")) return html`<div class="sounds">${filesOf(value).map((file) => html`<figure key=${file.path}><audio controls preload="metadata" src=${fileAddress(where, file.path)} /><figcaption>${file.caption}</figcaption></figure>`)}</div>`;
  if (kind.startsWith("video")) return html`<div class="pictures">${filesOf(value).map((file) => (file.path.endsWith(".gif") ? html`<img src=${fileAddress(where, file.path)} alt=${file.caption ?? ""} />` : html`<video controls preload="metadata" src=${fileAddress(where, file.path)} />`))}</div>`;
  if (kind === "html-file") return html`<${Page} key=${value.path} where=${where} value=${value} name=${name} />`;
  if (kind === "plotly-file") return html`<${PlotlyFile} key=${value.path} where=${where} path=${value.path} title=${name} />`;
  if (kind === "object3D-file" && value.path?.endsWith(".pts.json")) return html`<${Cloud} where=${where} value=${value} />`;
  if (kind === "table-file") return html`<${Tables} sources=${[{ where, value, label }]} name=${name} query=${query} />`;
  return html`<p>${value.path ? html`<a class="button" href=${fileAddress(where, value.path)} download=${value.path.split("/").pop()}>Download ${value.path.split("/").pop()}</a> <small>${formatBytes(value.size)}</small>` : html`<code>${JSON.stringify(value).slice(0, 500)}</code>`}</p>`;
}
