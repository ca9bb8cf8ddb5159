// Artifacts of a project: collections by type, and one version with its files, its makers and its users.
import { html, useState } from "../lib/html.js";
import { get } from "../api.js";
import { useAnswer } from "../data.js";
import { diffFiles } from "../lib/lineage.js";
import { compareNames } from "../lib/columns.js";
import { formatAgo, formatBytes, formatTime, formatValue, plural } from "../lib/format.js";
import { changeAlias } from "../actions.js";
import { Prompt } from "../parts/dialog.js";
import { IconButton } from "../parts/icon.js";
import { Lineage } from "../parts/lineage.js";
import { FileTable } from "./files.js";
import { Markdown } from "../lib/markdown.js";
import { projectPath, setQuery } from "../state.js";

export function ArtifactsPage({ data, rest, query }) {
  const { where } = data;
  const [round, setRound] = useState(0);
  const { value: collections, error } = useAnswer(() => get("/api/artifacts", where), `${where.entity}/${where.project} ${round}`);
  if (error) return html`<div class="empty"><p class="error">${error.message}</p></div>`;
  if (!collections) return html`<div class="empty" aria-busy="true" />`;
  const [name, version] = rest;
  const chosen = collections.find((each) => each.name === name);
  return html`<div class="split"><nav class="sidebar is-free" aria-label="Collections"><${Collections} ...${{ where, collections, name, query }} /></nav>
    <div class="content">${chosen ? html`<${Version} key=${`${name} ${version}`} where=${where} collection=${chosen} version=${version ?? chosen.versions[0]?.version} query=${query} onChanged=${() => setRound((before) => before + 1)} />` : html`<div class="empty"><h2>${collections.length ? plural(collections.length, "collection") : "No artifacts"}</h2><p>${collections.length ? "Choose one to see its versions." : "Files that runs log with run.log_artifact are kept here, version by version."}</p></div>`}</div></div>`;
}

function Collections({ where, collections, name }) {
  const [search, setSearch] = useState("");
  const found = collections.filter((each) => `${each.type} ${each.name}`.toLowerCase().includes(search.toLowerCase()));
  const types = [...new Set(found.map((each) => each.type))].sort((a, b) => (a === "run_table") - (b === "run_table") || compareNames(a ?? "", b ?? ""));
  return html`<input type="search" class="search-field wide" data-hotkey="/" placeholder="Search artifacts" aria-label="Search artifacts" value=${search} onInput=${(event) => setSearch(event.target.value)} />
    <div class="scroll">${types.map((type) => html`<section key=${type}><h2>${type}</h2><ul class="nav-list">${found.filter((each) => each.type === type).map((each) => html`<li key=${each.name}><a href=${projectPath(where, "artifacts", each.name)} aria-current=${each.name === name ? "page" : undefined}><span>${each.name}${each.is_link && html` <small>links</small>`}</span><small>${each.versions[0]?.version}</small></a></li>`)}</ul></section>`)}</div>`;
}

function Version({ where, collection, version, query, onChanged }) {
  const question = { ...where, name: collection.name, version };
  const { value: found, error } = useAnswer(() => get("/api/artifact", question), JSON.stringify(question));
  const against = query.get("against");
  const other = useAnswer(() => (against ? get("/api/artifact", { ...question, version: against }) : Promise.resolve(null)), `${version} ${against}`);
  if (error) return html`<div class="empty"><p class="error">${error.message}</p></div>`;
  const path = (each) => projectPath(where, "artifacts", collection.name, each);
  return html`<div class="artifact"><div class="page-head"><h1>${collection.name}</h1></div>
    <ul class="versions" aria-label="Versions">${collection.versions.map((each) => html`<li key=${each.version}><a class="version" href=${path(each.version)} aria-current=${each.version === version || each.aliases.includes(version) ? "page" : undefined}><b>${each.version}</b><span>${each.aliases.map((alias) => html`<span class="tag" key=${alias}>${alias}</span>`)}</span><small>${formatBytes(each.size)}, ${formatAgo(each.created_at)}</small></a></li>`)}</ul>
    ${found ? html`<div class="columns">
      <section class="box"><h2>Version ${found.version}</h2><dl class="facts"><dt>Aliases</dt><dd><${Aliases} collection=${collection} version=${{ ...where, name: collection.name, version: found.version }} onChanged=${onChanged} /></dd><dt>Made</dt><dd>${formatTime(found.created_at)}</dd><dt>Made by</dt><dd>${found.made_by ? html`<${RunLink} run=${found.made_by} />` : "nobody known"}</dd><dt>Used by</dt><dd>${found.used_by.length ? found.used_by.map((run, i) => html`${i > 0 && ", "}<${RunLink} run=${run} />`) : "nobody"}</dd><dt>Size</dt><dd>${formatBytes(found.size)}</dd><dt>Digest</dt><dd><code>${found.digest}</code></dd>
        ${Object.entries(found.metadata).map(([key, value]) => html`<dt>${key}</dt><dd>${formatValue(value)}</dd>`)}</dl>${found.description && html`<${Markdown} text=${found.description} />`}</section></div>
    <section class="box"><h2>Lineage</h2><${Lineage} question=${question} /></section>
    <section class="box"><h2>Files<span class="count">${found.files.length}</span><span class="spacer" />
      ${collection.versions.length > 1 && html`<label class="field">Compare with <select onChange=${(event) => setQuery({ against: event.target.value })}><option value="">nothing</option>${collection.versions.filter((each) => each.version !== found.version).map((each) => html`<option key=${each.version} value=${each.version} selected=${each.version === against}>${each.version}</option>`)}</select></label>`}</h2>
      ${against && other.value ? html`<${Difference} before=${other.value} after=${found} />` : html`<${FileTable} files=${found.files} />`}</section>` : html`<div class="empty" aria-busy="true" />`}
  </div>`;
}

// The newest version is the latest; every other alias is people's own.
function Aliases({ collection, version, onChanged }) {
  const [isNaming, setNaming] = useState(false);
  const names = collection.versions.find((each) => each.version === version.version)?.aliases ?? [];
  return html`${names.map((alias) => html`<span class="tag" key=${alias}>${alias}${alias !== "latest" && html`<button type="button" class="tag-remove" aria-label=${`Take the alias ${alias} away`} onClick=${() => changeAlias(version, alias, false, onChanged)}>×</button>`}</span>`)}
    <${IconButton} icon="plus" label="Add an alias" onClick=${() => setNaming(true)} />
    ${isNaming && html`<${Prompt} title=${`Alias of ${version.name}:${version.version}`} label="Alias" hint="A version that has it already loses it." action="Add" onClose=${() => setNaming(false)} onDone=${(text) => text.trim() && changeAlias(version, text.trim(), true, onChanged)} />`}`;
}

const RunLink = ({ run }) => (run.project ? html`<a class="link" href=${projectPath(run, "runs", run.name)}>${run.display_name}</a>` : html`${run.display_name} (in the trash)`);

function Difference({ before, after }) {
  const { added, removed, changed, same } = diffFiles(before.files, after.files);
  const lines = [...added.map((file) => ["added", file]), ...changed.map((file) => ["changed", file]), ...removed.map((file) => ["removed", file])];
  const sizes = (what, file) => (what === "changed" ? `${formatBytes(file.was.size)} → ${formatBytes(file.size)}` : formatBytes(file.size));
  return html`<p class="hint">From ${before.version} to ${after.version}: ${added.length} added, ${changed.length} changed, ${removed.length} removed, ${same} the same.</p>
    <table class="plain"><tbody>${lines.map(([what, file]) => html`<tr key=${file.name}><td><span class=${`diff is-${what}`}>${what}</span></td><td>${file.name}</td><td class="number">${sizes(what, file)}</td></tr>`)}</tbody></table>`;
}
