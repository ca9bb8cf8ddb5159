// A project's runs and their charts; with a run named, only that one, with its console and files.
import { get, listen, post, prefix } from "../api.js";
import { element, link } from "../lib/dom.js";
import { colourOf } from "../lib/colours.js";
import { format } from "../lib/scale.js";
import { lineChart } from "../charts/line.js";

const MOST_CHARTS = 60;
const MOST_RUNS = 20;

export async function projectPage(main, entity, project, only) {
  const where = { entity, project };
  const zoom = {};
  const table = element("div");
  const charts = element("div", { class: "charts" });
  const rest = element("div");
  main.replaceChildren(element("h1", {}, only ? `${project} / ${only}` : project), table, charts, rest);
  let shown = [];
  const refresh = async () => {
    const found = await get("/api/runs", { ...where, filters: only ? JSON.stringify({ name: only }) : undefined, limit: 200 });
    shown = found.runs;
    table.replaceChildren(runsTable(where, shown, refresh));
    await showCharts(charts, where, shown.slice(0, MOST_RUNS), zoom);
    if (only && shown.length) rest.replaceChildren(...(await details({ ...where, run: only })));
  };
  await refresh();
  let waiting = false;
  const stop = listen(where, async () => {
    if (waiting) return;
    waiting = true;
    await new Promise((done) => { setTimeout(done, 1000); });
    await refresh().catch(() => {});
    waiting = false;
  });
  return stop;
}

function runsTable(where, runs, refresh) {
  const titles = ["Run", "State", "User", "Rows", "Started", ""];
  const rows = runs.map((run) => {
    const path = `${prefix}/${encodeURIComponent(where.entity)}/${encodeURIComponent(where.project)}/runs/${encodeURIComponent(run.name)}`;
    const swatch = element("span", { class: "swatch" });
    swatch.style.backgroundColor = colourOf(run.name);
    const stop = run.state === "running"
      ? element("button", { click: async () => { await post("/api/run/stop", { ...where, run: run.name }); await refresh(); } }, "Stop")
      : null;
    return element("tr", {},
      element("td", {}, swatch, link(path, run.display_name ?? run.name)), element("td", { class: run.state }, run.state),
      element("td", {}, run.user ?? ""), element("td", {}, String(run.history_lines)), element("td", {}, run.created_at),
      element("td", {}, stop));
  });
  const head = element("tr", {}, ...titles.map((text) => element("th", {}, text)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

async function showCharts(place, where, runs, zoom) {
  const keys = new Set();
  for (const run of runs) {
    for (const [key, value] of Object.entries(run.summary)) {
      const isNumber = typeof value === "number" || value === "NaN" || value === "Infinity" || value === "-Infinity";
      if (isNumber && !key.startsWith("_")) keys.add(key);
      // A summary set by define_metric, such as {"min": 0.1}.
      else if (value && typeof value === "object" && ["min", "max", "mean", "best", "last"].some((each) => each in value)) keys.add(key);
    }
  }
  const names = runs.map((run) => run.name).join(",");
  const figures = await Promise.all([...keys].sort().slice(0, MOST_CHARTS).map(async (key) => {
    const range = zoom[key] ?? {};
    const found = await get("/api/chart", { ...where, runs: names, key, points: 450, ...range });
    const lines = Object.fromEntries(Object.entries(found.lines).filter(([, line]) => (line.x ?? line.x0).length));
    return lineChart(key, lines, (low, high) => {
      zoom[key] = { low, high };
      showCharts(place, where, runs, zoom);
    });
  }));
  place.replaceChildren(...figures);
}

async function details(where) {
  const [logs, files, run] = await Promise.all([get("/api/run/logs", where), get("/api/run/files", where), get("/api/run", where)]);
  const items = files.map((file) => element("li", {},
    element("a", { href: file.url, "data-outside": "1", rel: "noopener" }, file.name), ` ${format(file.size)} bytes`));
  const alerts = run.alerts.map((alert) => element("li", {}, `${alert.at} ${alert.severity}: ${alert.title} ${alert.text}`));
  return [
    element("h2", {}, "Config"), element("pre", {}, JSON.stringify(run.config, null, 2)),
    element("h2", {}, "Alerts"), element("ul", {}, ...alerts),
    element("h2", {}, "Console"), element("pre", { class: "console" }, logs.lines.map((line) => line.line).join("\n")),
    element("h2", {}, "Files"), element("ul", {}, ...items),
  ];
}
