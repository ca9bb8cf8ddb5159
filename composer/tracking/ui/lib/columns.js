// What can be said of a run, by column: "name", "config.lr", "summary.loss" and so on.
const PLAIN = {
  name: (run) => run.display_name ?? run.name,
  id: (run) => run.name,
  state: (run) => run.state,
  user: (run) => run.user,
  group: (run) => run.group,
  job_type: (run) => run.job_type,
  tags: (run) => run.tags,
  notes: (run) => run.notes,
  created: (run) => run.created_at,
  runtime: (run) => runtimeOf(run),
  steps: (run) => run.history_lines,
};
const PLAIN_COLUMNS = Object.keys(PLAIN);
const SUMMARIES = ["min", "max", "mean", "best", "last"];
const flat = new WeakMap();

export function runtimeOf(run) {
  const seconds = run.summary?._wandb?.runtime ?? run.summary?._runtime;
  return typeof seconds === "number" ? seconds : undefined;
}

// Numbers that JSON lacks come as text.
export function asNumber(value) {
  if (typeof value === "number") return value;
  if (value === "NaN") return NaN;
  if (value === "Infinity") return Infinity;
  if (value === "-Infinity") return -Infinity;
  return undefined;
}

function spread(into, prefix, values) {
  for (const [key, value] of Object.entries(values ?? {})) {
    const name = `${prefix}.${key}`;
    const isObject = value && typeof value === "object" && !Array.isArray(value) && !("_type" in value);
    if (isObject && Object.keys(value).length) spread(into, name, value);
    else into.set(name, asNumber(value) ?? value);
  }
}

// Config and summary of a run as one map from column to value; made once per run.
export function valuesOf(run) {
  let found = flat.get(run);
  if (!found) {
    found = new Map();
    for (const [key, wrapped] of Object.entries(run.config ?? {})) {
      if (key === "_wandb") continue;
      const value = wrapped && typeof wrapped === "object" && "value" in wrapped ? wrapped.value : wrapped;
      spread(found, "config", { [key]: value });
    }
    for (const [key, value] of Object.entries(run.summary ?? {})) {
      if (!key.startsWith("_")) spread(found, "summary", { [key]: value });
    }
    flat.set(run, found);
  }
  return found;
}

export function valueOf(run, column) {
  if (Object.hasOwn(PLAIN, column)) return PLAIN[column](run);
  const values = valuesOf(run);
  if (values.has(column)) return values.get(column);
  // A summary kept as {"min": 0.1} answers to the metric's own name.
  for (const each of SUMMARIES) if (values.has(`${column}.${each}`)) return values.get(`${column}.${each}`);
  return undefined;
}

// A name as people type it, such as "lr", as the column meant.
function resolve(runs, name) {
  if (Object.hasOwn(PLAIN, name)) return name;
  for (const column of [name, `config.${name}`, `summary.${name}`]) {
    if (runs.some((run) => valueOf(run, column) !== undefined)) return column;
  }
  return undefined;
}

// Runs as what `parseFilter` looks through.
export const filterSource = (runs) => ({
  resolve: (name) => resolve(runs, name), value: valueOf,
  texts: (run) => [run.display_name, run.name, run.group, run.notes, ...(run.tags ?? [])],
});

export function allColumns(runs) {
  const found = new Set();
  for (const run of runs) for (const column of valuesOf(run).keys()) found.add(column);
  return [...PLAIN_COLUMNS, ...[...found].sort(compareNames)];
}

const COLLATOR = new Intl.Collator("en", { numeric: true });
export const compareNames = (a, b) => COLLATOR.compare(a, b);
export const titleOf = (column) => column.replace(/^(config|summary)\./, "");

// Metrics that can be drawn over steps: what the summaries hold as numbers.
export function metricsOf(runs) {
  const found = new Set();
  for (const run of runs) {
    for (const [column, value] of valuesOf(run)) {
      if (column.startsWith("summary.") && typeof value === "number") found.add(metricName(run, column.slice(8)));
    }
  }
  return [...found].sort(compareNames);
}

function metricName(run, path) {
  const dot = path.lastIndexOf(".");
  return dot > 0 && SUMMARIES.includes(path.slice(dot + 1)) && path.slice(0, dot) in run.summary ? path.slice(0, dot) : path;
}

// Keys that hold pictures, sounds, tables and the like, with their kind.
export function mediaOf(runs) {
  const found = new Map();
  for (const run of runs) {
    for (const [key, value] of valuesOf(run)) {
      if (key.startsWith("summary.") && value?._type) found.set(key.slice(8), value._type);
    }
  }
  return new Map([...found].sort(([a], [b]) => compareNames(a, b)));
}

// The metric that `define_metric` named as the x axis of a key, if any.
export function stepMetric(run, key) {
  const metrics = run.config?._wandb?.value?.m ?? [];
  const named = metrics.find((each) => each["1"] === key) ?? metrics.find((each) => each["2"] && matches(each["2"], key));
  const step = named?.["5"] ? metrics[named["5"] - 1]?.["1"] : undefined;
  return typeof step === "string" ? step.replaceAll("\\.", ".") : undefined;
}

const matches = (pattern, key) => typeof pattern === "string" && pattern.endsWith("*") && key.startsWith(pattern.slice(0, -1).replaceAll("\\.", "."));

export function isNumeric(runs, column) {
  return runs.some((run) => typeof valueOf(run, column) === "number");
}

// Columns of config whose values differ, which is what one wants to see first.
export function varying(runs, limit = Infinity) {
  const first = new Map();
  const found = new Set();
  for (const run of runs) {
    for (const [column, value] of valuesOf(run)) {
      if (!column.startsWith("config.") || found.has(column)) continue;
      const text = JSON.stringify(value);
      if (!first.has(column)) first.set(column, text);
      else if (first.get(column) !== text) found.add(column);
    }
  }
  return [...found].sort(compareNames).slice(0, limit);
}
