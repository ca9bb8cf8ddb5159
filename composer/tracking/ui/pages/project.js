// A project: its tabs, and the runs they all speak of.
import { html } from "../lib/html.js";
import { later } from "../parts/later.js";
import { useProject } from "../data.js";
import { projectPath } from "../state.js";
import { viewOf } from "../view.js";
import { ChartsPage } from "./charts.js";
import { RunsPage } from "./runs.js";
import { Views } from "../parts/views.js";

// The first two are there at once, the others come when they are wanted.
const TABS = [
  ["", "Charts", ChartsPage],
  ["table", "Runs", RunsPage],
  ["cost", "Cost", later(() => import("./cost.js"), "CostPage")],
  ["ablation", "Ablation", later(() => import("./ablation.js"), "AblationPage")],
  ["explore", "Explore", later(() => import("./explore.js"), "ExplorePage")],
  ["compare", "Compare", later(() => import("./compare.js"), "ComparePage")],
  ["media", "Media", later(() => import("./media.js"), "MediaPage")],
  ["artifacts", "Artifacts", later(() => import("./artifacts.js"), "ArtifactsPage")],
];

export function ProjectPage({ where, tab, rest, query }) {
  const data = useProject(where);
  const view = viewOf(data, query);
  const [, , Page] = TABS.find(([name]) => name === tab) ?? TABS[0];
  const search = location.search;
  return html`<div class="page"><h1 class="unseen">${where.project}</h1>
    <nav class="tabs" aria-label="Parts of the project">
      ${TABS.map(([name, title]) => html`<a key=${name} href=${`${projectPath(where, ...(name ? [name] : []))}${search}`} aria-current=${name === (tab ?? "") ? "page" : undefined}>${title}</a>`)}
      <span class="spacer" />
      ${!data.isLive && !data.error && html`<span class="offline" role="status">No connection; trying again</span>`}
      <${Views} where=${where} />
    </nav>
    ${data.error ? html`<div class="empty"><p class="error" role="alert">${data.error.message}</p></div>` : data.isLoaded ? html`<${Page} data=${data} view=${view} rest=${rest} query=${query} />` : html`<div class="empty" aria-busy="true" />`}
  </div>`;
}
