// Line charts for every metric, grouped by prefix, with the runs beside them.
import { html, useMemo, useState } from "../lib/html.js";
import { metricsOf, stepMetric } from "../lib/columns.js";
import { ChartPanel } from "../parts/chart_panel.js";
import { ChartTools } from "../parts/chart_tools.js";
import { RunsList } from "../parts/runs_list.js";
import { Dialog } from "../parts/dialog.js";
import { Icon } from "../parts/icon.js";
import { setQuery } from "../state.js";

export function ChartsPage({ data, view, query }) {
  const [highlighted, setHighlighted] = useState(null);
  const metrics = useMemo(() => metricsOf(view.kept), [view.kept]);
  return html`<div class="split">
    <${RunsList} data=${data} view=${view} query=${query} highlighted=${highlighted} onHighlight=${setHighlighted} />
    <div class="content"><${ChartTools} query=${query} metrics=${metrics} />
      <${Sections} where=${data.where} data=${data} series=${view.series} metrics=${metrics} query=${query} highlighted=${highlighted} /></div>
  </div>`;
}

// Machines are measured by the clock, everything else by steps.
function chartView(query, stream) {
  return {
    x: query.get("x") || (stream ? "_runtime" : undefined), low: query.number("low"), high: query.number("high"),
    logX: query.has("logx"), logY: query.has("logy"), smoothing: query.number("smooth", 0),
  };
}

function matcher(text) {
  if (!text) return () => true;
  try { const pattern = new RegExp(text, "i"); return (metric) => pattern.test(metric); }
  catch { return (metric) => metric.toLowerCase().includes(text.toLowerCase()); }
}

export function Sections({ where, data, series, metrics, query, highlighted, stream }) {
  const base = useMemo(() => chartView(query, stream), [query.entries.toString(), stream]);
  const shown = metrics.filter(matcher(query.get("metrics")));
  const pins = query.all("pin").filter((metric) => metrics.includes(metric));
  const closed = new Set(query.all("closed"));
  const expanded = query.get("panel");
  const views = useMemo(() => viewsByMetric(base, metrics, data), [base, metrics, data.runs]);
  const seriesOf = useMemo(() => seriesByMetric(series, metrics, data, stream), [series, metrics, data.byName, stream]);
  if (!metrics.length) return html`<${NoMetrics} data=${data} />`;
  const panel = (metric, isPinned, isExpanded) => html`<${ChartPanel} key=${metric} where=${where} metric=${metric} series=${seriesOf.get(metric)} view=${views.get(metric)} news=${data.news} highlighted=${highlighted}
    query=${query} stream=${stream} isPinned=${isPinned} isExpanded=${isExpanded} onExpand=${() => setQuery({ panel: metric })} />`;
  const sections = sectionsOf(shown.filter((metric) => !pins.includes(metric)), stream);
  return html`<div class="sections">
    ${pins.length > 0 && html`<${Section} name="Pinned" count=${pins.length} closed=${closed}>${pins.map((metric) => panel(metric, true))}<//>`}
    ${[...sections].map(([name, list]) => html`<${Section} key=${name} name=${name} count=${list.length} closed=${closed}>${closed.has(name) ? null : list.map((metric) => panel(metric, false))}<//>`)}
    ${!shown.length && html`<p class="hint">No metric matches “${query.get("metrics")}”.</p>`}
    ${expanded && metrics.includes(expanded) && html`<${Dialog} wide title=${expanded} onClose=${() => setQuery({ panel: null })}>${panel(expanded, pins.includes(expanded), true)}<//>`}
  </div>`;
}

// Which x axis a metric has: the one chosen, else the one its run defined for it.
function viewsByMetric(base, metrics, data) {
  const found = new Map();
  for (const metric of metrics) {
    const run = data.runs.find((each) => stepMetric(each, metric));
    const x = base.x ?? (run && stepMetric(run, metric));
    const isOther = !base.x && x;
    found.set(metric, isOther ? { ...base, x, low: undefined, high: undefined } : base);
  }
  return found;
}

// Only runs that have a metric are asked for it.
function seriesByMetric(series, metrics, data, stream) {
  if (stream) return new Map(metrics.map((metric) => [metric, series]));
  const has = new Map(series.flatMap((each) => each.runs).map((name) => [name, new Set(metricsOf([data.byName.get(name)].filter(Boolean)))]));
  return new Map(metrics.map((metric) => [metric, series
    .map((each) => ({ ...each, runs: each.runs.filter((name) => has.get(name)?.has(metric)) }))
    .filter((each) => each.runs.length)]));
}

function sectionsOf(metrics, stream) {
  const found = new Map();
  for (const metric of metrics) {
    const plain = stream ? metric.replace(/^system\./, "") : metric;
    const cut = plain.indexOf(stream ? "." : "/");
    const name = cut > 0 ? plain.slice(0, cut) : stream ? "system" : "Charts";
    found.set(name, [...(found.get(name) ?? []), metric]);
  }
  return found;
}

function Section({ name, count, closed, children }) {
  const isClosed = closed.has(name);
  const toggle = () => setQuery({ closed: isClosed ? [...closed].filter((each) => each !== name) : [...closed, name] }, { replace: true });
  return html`<section class="section"><h2><button type="button" class="section-head" aria-expanded=${String(!isClosed)} onClick=${toggle}><${Icon} name=${isClosed ? "right" : "down"} size="14" />${name}<span class="count">${count}</span></button></h2>
    ${!isClosed && html`<div class="panels">${children}</div>`}</section>`;
}

function NoMetrics({ data }) {
  return html`<div class="empty"><h2>${data.runs.length ? "Nothing to draw yet" : "No runs yet"}</h2><p>Charts appear here as soon as a run logs a number, with <code>run.log({"loss": 0.5})</code>.</p></div>`;
}

