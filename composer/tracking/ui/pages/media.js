// Pictures, sounds, tables and whatever else was logged besides numbers.
import { html, useMemo, useState } from "../lib/html.js";
import { mediaOf } from "../lib/columns.js";
import { RunsList } from "../parts/runs_list.js";
import { MediaPanel } from "../media/panel.js";
import { colourOf } from "../lib/colours.js";
import { isDark } from "../state.js";
import { chosenColours } from "../view.js";

const MOST_RUNS = 6;

export function MediaPage({ data, view, query }) {
  const [highlighted, setHighlighted] = useState(null);
  const chosen = chosenColours(query);
  const series = view.series.flatMap((each) => (each.run ? [each] : each.group.runs.map((run) => ({ id: run.name, label: run.display_name, colour: colourOf(run, isDark(), chosen), run })))).slice(0, MOST_RUNS);
  return html`<div class="split"><${RunsList} data=${data} view=${view} query=${query} highlighted=${highlighted} onHighlight=${setHighlighted} />
    <div class="content"><${Media} where=${data.where} series=${series} query=${query} />${view.drawn.size > MOST_RUNS && html`<p class="hint">The first ${MOST_RUNS} of the drawn runs are shown.</p>`}</div></div>`;
}

export function Media({ where, series, query }) {
  const kinds = useMemo(() => mediaOf(series.map((each) => each.run)), [series.map((each) => each.run.updated_at + each.id).join()]);
  if (!kinds.size) return html`<div class="empty"><h2>No media</h2><p>Pictures, sounds, films, tables, HTML, histograms and point clouds that runs log are shown here.</p></div>`;
  return html`<div class="media-list">${[...kinds].map(([name, kind]) => html`<${MediaPanel} key=${name} where=${where} name=${name} kind=${kind} series=${series} query=${query} />`)}</div>`;
}
