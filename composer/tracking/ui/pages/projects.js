// Every project, last used first.
import { html, useState } from "../lib/html.js";
import { get, prefix } from "../api.js";
import { useAnswer } from "../data.js";
import { pathTo } from "../state.js";
import { formatAgo, plural } from "../lib/format.js";

export function ProjectsPage({ entity }) {
  const { value: all, error } = useAnswer(() => get("/api/projects"), "projects");
  const [search, setSearch] = useState("");
  if (error) return html`<div class="empty"><p class="error" role="alert">${error.message}</p></div>`;
  if (!all) return html`<div class="empty" aria-busy="true" />`;
  const own = all.filter((each) => !entity || each.entity === entity);
  if (!own.length) return html`<${Welcome} />`;
  const shown = own.filter((each) => `${each.entity}/${each.name} ${each.description ?? ""}`.toLowerCase().includes(search.toLowerCase()));
  const isShared = new Set(own.map((each) => each.entity)).size > 1;
  return html`<div class="content narrow">
    <div class="page-head"><h1>Projects</h1><span class="spacer" />${own.length > 6 && html`<input type="search" data-hotkey="/" class="search-field" placeholder="Search projects" aria-label="Search projects" value=${search} onInput=${(event) => setSearch(event.target.value)} />`}</div>
    <ul class="cards">${shown.map((each) => html`<li key=${`${each.entity}/${each.name}`}><a class="card" href=${pathTo(each.entity, each.name)}>
      <b>${each.name}</b>${each.description && html`<span class="card-text">${each.description}</span>`}
      <small>${isShared ? `${each.entity}, ` : ""}${plural(each.num_runs, "run")}${each.last_run_at ? `, last ${formatAgo(each.last_run_at)}` : ""}</small></a></li>`)}</ul>
    ${!shown.length && html`<p class="hint">No project is called “${search}”.</p>`}
  </div>`;
}

function Welcome() {
  const address = location.origin + prefix;
  return html`<div class="empty"><h1>Log your first run</h1>
    <p>Point the <code>wandb</code> client at this server; scripts need no change. The key was printed when the server started.</p>
    <pre class="code">${`export WANDB_BASE_URL=${address}\nexport WANDB_API_KEY=<the key>\n\nimport wandb\nwith wandb.init(project="first") as run:\n    for step in range(100):\n        run.log({"loss": 1 / (step + 1)})`}</pre>
    <p class="hint">This page shows it as soon as it is there.</p></div>`;
}
