// What the address makes of a project's runs: which pass the filter, in what order and groups, which are
// drawn, and in which colours.
import { colourAt, colourOf } from "./lib/colours.js";
import { filterSource, titleOf } from "./lib/columns.js";
import { parseFilter } from "./lib/filter.js";
import { groupNumber, groupRuns, sortBy, sortRuns } from "./lib/rows.js";
import { isDark } from "./state.js";

const MOST_DRAWN = 20;

export function chosenColours(query) {
  return Object.fromEntries(query.all("colour").map((text) => [text.slice(0, text.lastIndexOf(":")), Number(text.slice(text.lastIndexOf(":") + 1))]));
}

let memory = {};

export function viewOf(data, query) {
  const key = `${query.entries} ${isDark()}`;
  if (memory.runs === data.runs && memory.key === key) return memory.view;
  const view = makeView(data.runs, query);
  memory = { runs: data.runs, key, view };
  return view;
}

function makeView(runs, query) {
  let error = null;
  let kept = runs;
  try {
    const keep = parseFilter(query.get("filter"), filterSource(runs));
    kept = runs.filter(keep);
  } catch (problem) { error = problem.message; }
  const order = query.get("sort", "-created");
  const ordered = order === "-created" ? kept : sortRuns(kept, order);
  const by = query.all("group");
  const groups = by.length ? sortGroups(groupRuns(ordered, by), order) : null;
  const hidden = new Set(query.all("hide"));
  const added = new Set(query.all("show"));
  const most = query.number("most", MOST_DRAWN);
  const colours = chosenColours(query);
  const all = groups ? groups.map((group) => groupSeries(group, by, colours)) : ordered.map((run) => runSeries(run, colours));
  const open = all.filter((each) => !hidden.has(each.id));
  const series = open.filter((each, place) => place < most || added.has(each.id));
  return { runs, kept, ordered, groups, by, series, all, drawn: new Set(series.map((each) => each.id)), order, error };
}

function sortGroups(groups, order) {
  return order === "-created" ? groups : sortBy(groups, order, groupNumber);
}

function runSeries(run, colours) {
  return { id: run.name, label: run.display_name ?? run.name, colour: colourOf(run, isDark(), colours), runs: [run.name], run };
}

function groupSeries(group, by, colours) {
  const first = group.runs.reduce((a, b) => (a.id < b.id ? a : b));
  const label = by.length === 1 ? `${titleOf(by[0])}: ${group.label}` : group.label;
  const colour = colours[group.key] === undefined ? colourOf(first, isDark(), colours) : colourAt(colours[group.key], isDark());
  return { id: group.key, label: group.runs.length > 1 ? `${label} (${group.runs.length})` : label, colour, runs: group.runs.map((run) => run.name), group };
}

// What to change in the address so that a run or group is drawn, or no longer.
export function toggleDrawn(query, view, id) {
  const hide = new Set(query.all("hide"));
  const show = new Set(query.all("show"));
  if (view.drawn.has(id)) { hide.add(id); show.delete(id); } else { hide.delete(id); show.add(id); }
  return { hide: [...hide], show: [...show] };
}
