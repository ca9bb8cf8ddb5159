// The client's ready-made custom charts (wandb.plot.*): which columns of their table mean what. Their Vega
// specifications are not run.
const PRESETS = {
  "wandb/line/v0": { kind: "lines", x: "x", y: "y", by: "stroke" },
  "wandb/lineseries/v0": { kind: "lines", x: "step", y: "lineVal", by: "lineKey" },
  "wandb/area-under-curve/v0": { kind: "lines", x: "x", y: "y", by: "class" },
  "wandb/scatter/v0": { kind: "points", x: "x", y: "y" },
  "wandb/bar/v0": { kind: "bars", label: "label", y: "value" },
  "wandb/histogram/v0": { kind: "histogram", y: "value" },
  "wandb/confusion_matrix/v1": { kind: "matrix", x: "Predicted", y: "Actual", value: "nPredictions" },
};

const nameOf = (key) => key.replace(/^Custom Chart Tables\//, "").replace(/_table$/, "");

// How a run asked for a table to be drawn: the client's own words, or null.
export function presetName(run, key) {
  const all = run.config?._wandb?.value?.visualize ?? {};
  const name = nameOf(key);
  return name !== key && Object.hasOwn(all, name) ? all[name]?.panel_config ?? null : null;
}

// The ready-made chart that a run defined for a table's key, or null.
export function presetOf(run, key) {
  const given = presetName(run, key);
  const preset = given && Object.hasOwn(PRESETS, given.panelDefId) ? PRESETS[given.panelDefId] : null;
  if (!preset) return null;
  const fields = given.fieldSettings ?? {};
  const column = (role) => (preset[role] ? String(fields[preset[role]] ?? preset[role]) : undefined);
  return { kind: preset.kind, title: String(given.stringSettings?.title || nameOf(key)), x: column("x"), y: column("y"), by: fields[preset.by] ? column("by") : undefined, label: column("label"), value: column("value") };
}

// A table's rows as what its chart draws.
export function presetData({ columns, rows }, preset) {
  const place = (name) => columns.indexOf(name);
  const values = (name) => rows.map((row) => row[place(name)]);
  if (preset.kind === "bars") return values(preset.label).map((label, i) => ({ label: String(label), value: Number(values(preset.y)[i]) }));
  if (preset.kind === "histogram") return binned(values(preset.y).map(Number).filter(Number.isFinite));
  if (preset.kind === "matrix") return matrix(values(preset.x).map(String), values(preset.y).map(String), values(preset.value).map(Number));
  const by = preset.by ? values(preset.by) : rows.map(() => "");
  const found = new Map();
  rows.forEach((row, i) => {
    const name = String(by[i] ?? "");
    if (!found.has(name)) found.set(name, []);
    found.get(name).push([Number(row[place(preset.x)]), Number(row[place(preset.y)])]);
  });
  return [...found].map(([name, points]) => ({ name, points: points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)) }));
}

const MOST_BINS = 30;

function binned(values) {
  if (!values.length) return [];
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const count = low === high ? 1 : Math.min(MOST_BINS, Math.ceil(Math.sqrt(values.length)) + 1);
  const size = (high - low) / count || 1;
  const bins = Array.from({ length: count }, (_, i) => ({ from: low + i * size, to: low + (i + 1) * size, value: 0 }));
  for (const value of values) bins[Math.min(count - 1, Math.floor((value - low) / size))].value += 1;
  return bins;
}

function matrix(xs, ys, counts) {
  const names = [...new Set([...ys, ...xs])];
  const found = new Map(xs.map((x, i) => [JSON.stringify([ys[i], x]), counts[i]]));
  return { names, at: (y, x) => found.get(JSON.stringify([y, x])) ?? 0 };
}
