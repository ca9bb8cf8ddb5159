// Draws Vega and Vega-Lite specifications. Expressions are walked, never compiled; nothing is loaded and
// nothing leads anywhere; and no clock may keep a chart busy that nobody touches.
import "../vendor/vega.js";
import "../vendor/vega-lite.js";
import { expressionInterpreter } from "../vendor/vega-interpreter.js";
import { open } from "./door.js";

const { vega, vegaLite } = globalThis;
const PICTURE = /^data:image\/(png|jpeg|gif|webp);/;
const NO_CLOCKS = { timer: false };

open(async (element, { spec, rows }, theme) => {
  const notes = new Set();
  const parsed = vega.parse(compiled(spec, rows, theme), null, { ast: true });
  const view = new vega.View(parsed, { expr: expressionInterpreter, renderer: "canvas", container: element, hover: true, loader: closed(notes), logger: quiet(notes) });
  await view.runAsync();
  addEventListener("resize", () => view.resize().runAsync());
  return { height: element.scrollHeight, notes: [...notes], picture: () => view.toImageURL("png", 2) };
});

function compiled(spec, rows, theme) {
  const isLite = !Array.isArray(spec.marks) || String(spec.$schema).includes("vega-lite");
  const config = vega.mergeConfig(configOf(theme), spec.config ?? {});
  const full = isLite ? vegaLite.compile(sized({ ...spec, config, data: filled(spec.data) }), { logger: quiet(new Set()) }).spec : { ...spec, config };
  for (const data of full.data ?? []) if (isOurs(data)) data.values = rows;
  return { ...full, config: { ...full.config, events: NO_CLOCKS } };
}

// The table's rows go where the specification names no data of its own.
const filled = (data) => (data && (data.values || data.url || data.sequence || data.sphere || data.graticule) ? data : { name: "wandb" });
const GENERATORS = ["sequence", "graticule"];
const isOurs = ({ source, values, url, transform = [] }) => !source && !values && !url && !transform.some((each) => GENERATORS.includes(each.type));

// Charts of one view fill their frame.
function sized(spec) {
  const isSingle = spec.mark || spec.layer;
  return isSingle ? { autosize: { type: "fit", contains: "padding" }, ...spec, width: spec.width ?? "container", height: spec.height ?? "container" } : spec;
}

const refused = (notes, text) => { notes.add(text); return Promise.reject(new Error(text)); };

function closed(notes) {
  const load = () => refused(notes, "It asks for data at an address; charts load nothing.");
  const sanitize = (address, options) => (options?.context !== "href" && PICTURE.test(address) ? Promise.resolve({ href: address }) : refused(notes, "It names an address; charts lead nowhere."));
  return { load, sanitize, http: load, file: load };
}

function quiet(notes) {
  const note = (...words) => { notes.add(words.map(String).join(" ").slice(0, 300)); return logger; };
  const nothing = () => logger;
  const logger = { level: () => logger, error: note, warn: note, info: nothing, debug: nothing };
  return logger;
}

function configOf({ ink, soft, grid, paper, accent, colours, isDark }) {
  const text = { labelColor: soft, titleColor: ink, labelFont: "system-ui", titleFont: "system-ui", titleFontWeight: 500 };
  return {
    background: paper, font: "system-ui", title: { color: ink, subtitleColor: soft }, style: { "guide-label": { fill: soft }, "guide-title": { fill: ink } },
    view: { stroke: "transparent" }, axis: { ...text, gridColor: grid, domainColor: soft, tickColor: soft }, legend: text, header: text,
    mark: { color: accent }, text: { fill: ink }, rule: { color: soft }, range: { category: colours, heatmap: { scheme: isDark ? "viridis" : "blues" } },
  };
}
