// Logged tables: sorting, filtering, and two of them joined by a column.
import { sortBy } from "./rows.js";
import { parseFilter } from "./filter.js";
import { formatValue } from "./format.js";

// A table file as {columns, rows}: rows are arrays.
export function readTable(file) {
  return { columns: (file.columns ?? []).map(String), rows: Array.isArray(file.data) ? file.data.filter(Array.isArray) : [] };
}

// Rows that pass a filter, in an order; each keeps its number.
export function selectRows({ columns, rows }, filter, order) {
  const place = new Map(columns.map((column, i) => [column, i]));
  const source = {
    resolve: (name) => (place.has(name) ? name : columns.find((column) => column.toLowerCase() === name.toLowerCase())),
    value: (row, column) => row.cells[place.get(column)],
    texts: (row) => row.cells.map((cell) => (cell && typeof cell === "object" ? cell.caption : cell)),
  };
  const keep = parseFilter(filter, source);
  const kept = rows.map((cells, number) => ({ cells, number })).filter(keep);
  return order ? sortBy(kept, order, source.value) : kept;
}

// Two tables side by side, matched by the values of a column. Rows of one alone keep the other side empty.
export function joinTables(first, second, by, names) {
  const sides = [first, second];
  const others = [...new Set([...first.columns, ...second.columns])].filter((column) => column !== by);
  const columns = [by, ...others.flatMap((column) => names.map((name) => `${column} (${name})`))];
  const found = new Map();
  sides.forEach((table, side) => {
    const key = table.columns.indexOf(by);
    table.rows.forEach((row) => {
      const text = formatValue(row[key]);
      if (!found.has(text)) found.set(text, { key: row[key], sides: [null, null] });
      found.get(text).sides[side] ??= row;
    });
  });
  const rows = [...found.values()].map((each) => [each.key, ...others.flatMap((column) => sides.map((table, side) => each.sides[side]?.[table.columns.indexOf(column)]))]);
  return { columns, rows, pairs: others.length };
}

// Whether the two sides of any pair of columns differ; files are compared by content.
export function rowDiffers(cells) {
  for (let i = 1; i < cells.length; i += 2) if (cellText(cells[i]) !== cellText(cells[i + 1])) return true;
  return false;
}

export const cellText = (cell) => (cell && typeof cell === "object" ? cell.sha256 ?? JSON.stringify(cell) : formatValue(cell));
