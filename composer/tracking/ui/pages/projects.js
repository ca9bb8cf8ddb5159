// Every project, last used first.
import { get, prefix } from "../api.js";
import { element, link } from "../lib/dom.js";

export async function projectsPage(main, entity) {
  const all = await get("/api/projects");
  const shown = all.filter((each) => !entity || each.entity === entity);
  const rows = shown.map((each) => {
    const path = `${prefix}/${encodeURIComponent(each.entity)}/${encodeURIComponent(each.name)}`;
    return element("tr", {},
      element("td", {}, link(path, each.name)), element("td", {}, each.entity),
      element("td", {}, String(each.num_runs)), element("td", {}, each.last_run_at ?? ""));
  });
  const head = element("tr", {}, ...["Project", "Entity", "Runs", "Last run"].map((text) => element("th", {}, text)));
  main.replaceChildren(element("h1", {}, "Projects"), shown.length
    ? element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))
    : element("p", { class: "hint" }, "No project yet. Set WANDB_BASE_URL and WANDB_API_KEY as the server printed them, and log a run."));
  return () => {};
}
