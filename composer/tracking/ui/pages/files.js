// A run's files.
import { html, useState } from "../lib/html.js";
import { get } from "../api.js";
import { useAnswer } from "../data.js";
import { compareNames } from "../lib/columns.js";
import { formatAgo, formatBytes } from "../lib/format.js";
import { projectPath } from "../state.js";

// What an ablation wrote opens as a page of its own.
const REPORT = /(^|\/)report\.json$/;

export function FilesPage({ where, run }) {
  const { value: files, error } = useAnswer(() => get("/api/run/files", where), run.updated_at);
  const [search, setSearch] = useState("");
  if (error) return html`<p class="error">${error.message}</p>`;
  if (!files) return html`<div class="empty" aria-busy="true" />`;
  const shown = files.filter((file) => file.name.toLowerCase().includes(search.toLowerCase())).sort((a, b) => compareNames(a.name, b.name));
  return html`<div class="content"><div class="toolbar"><input type="search" class="search-field" data-hotkey="/" placeholder="Search files" aria-label="Search files" value=${search} onInput=${(event) => setSearch(event.target.value)} /></div>
    <${FileTable} files=${shown} openAs=${(file) => REPORT.test(file.name) && `${projectPath(where, "ablation")}?report=${encodeURIComponent(run.name)}&report=${encodeURIComponent(file.name)}`} /></div>`;
}

// `openAs` gives the address of a page that shows a file, if there is one.
export function FileTable({ files, openAs = () => null }) {
  return html`<div class="scroll"><table class="plain"><thead><tr><th>Name</th><th class="number">Size</th><th>Changed</th></tr></thead>
    <tbody>${files.map((file) => html`<tr key=${file.name}><td>${file.url ? html`<a href=${file.url} target="_blank" rel="noopener noreferrer" download=${file.name.split("/").pop()}>${file.name}</a>` : html`${file.name} ${file.reference && html`<small>${file.reference}</small>`}`}${openAs(file) && html` <a class="link" href=${openAs(file)}>Open as an ablation</a>`}</td>
      <td class="number">${formatBytes(file.size)}</td><td>${file.updated_at ? formatAgo(file.updated_at) : ""}</td></tr>`)}</tbody></table></div>`;
}
