// Sorting and grouping of runs for tables and charts.
import { compareNames, valueOf } from "./columns.js";
import { describe } from "./statistics.js";
import { formatValue } from "./format.js";

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return a - b;
  }
  return compareNames(formatValue(a), formatValue(b));
}

const isMissing = (value) => value === undefined || value === null || value === "" || (typeof value === "number" && Number.isNaN(value));

// `order` is a column, with "-" in front for falling. What is missing comes last either way.
export function sortBy(items, order, value) {
  const falls = order.startsWith("-");
  const column = falls ? order.slice(1) : order;
  const keyed = items.map((item) => [value(item, column), item]);
  keyed.sort(([a], [b]) => isMissing(a) - isMissing(b) || (isMissing(a) ? 0 : falls ? compare(b, a) : compare(a, b)));
  return keyed.map(([, item]) => item);
}

export const sortRuns = (runs, order) => sortBy(runs, order, valueOf);

// Runs that agree in all of some columns; `key` names the group in addresses and colours.
export function groupRuns(runs, columns) {
  const groups = new Map();
  for (const run of runs) {
    const values = columns.map((column) => valueOf(run, column));
    const key = JSON.stringify(values);
    if (!groups.has(key)) groups.set(key, { key, values, label: values.map((value) => formatValue(value) || "none").join(" · "), runs: [] });
    groups.get(key).runs.push(run);
  }
  return [...groups.values()];
}

// What a group has in a column: a mean with its spread for numbers, else the value all agree on.
export function groupValue(group, column) {
  const values = group.runs.map((run) => valueOf(run, column)).filter((value) => value !== undefined && value !== null);
  if (values.some((value) => typeof value === "number")) return describe(values);
  const texts = new Set(values.map((value) => JSON.stringify(value)));
  return texts.size === 1 ? values[0] : texts.size ? `${texts.size} values` : undefined;
}

export const groupNumber = (group, column) => {
  const found = groupValue(group, column);
  return found && typeof found === "object" && "mean" in found ? found.mean : found;
};
