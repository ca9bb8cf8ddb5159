// Custom charts of one's own: a specification with places for a table's columns and for texts, as
// "${field:x}" and "${string:title}".
import { presetName } from "./presets.js";

const PLACE = /\$\{(field|string):([^}]*)\}/g;

// The custom chart that a run defined for a table's key: {name, fields, strings}, or null.
export function customOf(run, key) {
  const given = presetName(run, key);
  const name = given?.panelDefId;
  if (typeof name !== "string" || !name.includes("/") || name.startsWith("wandb/")) return null;
  return { name, fields: given.fieldSettings ?? {}, strings: given.stringSettings ?? {} };
}

// A specification with its places filled.
export function fillPlaces(spec, { fields, strings }) {
  const columnOf = (role) => String(Object.hasOwn(fields, role) ? fields[role] : role);
  const fill = (text) => {
    // Alone, it is a path to a value, in which dots and brackets would mean more than themselves.
    const whole = /^\$\{field:([^}]*)\}$/.exec(text);
    if (whole) return columnOf(whole[1]).replace(/[.[\]\\"']/g, "\\$&");
    return text.replace(PLACE, (_, kind, role) => (kind === "field" ? columnOf(role) : String(Object.hasOwn(strings, role) ? strings[role] : "")));
  };
  const walk = (value) => {
    if (typeof value === "string") return fill(value);
    if (Array.isArray(value)) return value.map(walk);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, walk(each)]));
    return value;
  };
  return walk(spec);
}

// A table's rows as objects, each with the name of its run.
export function namedRows({ columns, rows, label }) {
  return rows.map((row) => ({ name: label, ...Object.fromEntries(columns.map((column, i) => [column, row[i]])) }));
}

// The figure in a page that Plotly's Python package wrote: the arguments of its last call, read as JSON.
export function figureInPage(text) {
  const start = text.lastIndexOf("Plotly.newPlot(");
  if (start < 0) return null;
  const data = jsonFrom(text, text.indexOf("[", start));
  const layout = data && jsonFrom(text, text.indexOf("{", data.end));
  return data && Array.isArray(data.value) ? { data: data.value, layout: layout?.value ?? {} } : null;
}

// The JSON value that begins at a bracket: {value, end}; null if there is none.
function jsonFrom(text, start) {
  let depth = 0;
  let isText = false;
  for (let i = start; i >= 0 && i < text.length; i += 1) {
    const sign = text[i];
    if (isText) { if (sign === "\\") i += 1; else if (sign === '"') isText = false; }
    else if (sign === '"') isText = true;
    else if (sign === "[" || sign === "{") depth += 1;
    else if (sign === "]" || sign === "}") {
      depth -= 1;
      if (depth === 0) {
        try { return { value: JSON.parse(text.slice(start, i + 1)), end: i + 1 }; } catch { return null; }
      }
    }
  }
  return null;
}
