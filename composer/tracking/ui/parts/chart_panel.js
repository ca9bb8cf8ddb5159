// One metric's chart with its title and what can be done with it.
import { html, useMemo, useRef, useState } from "../lib/html.js";
import { LineChart } from "../charts/line_chart.js";
import { downloadCsv, downloadPng } from "../charts/export.js";
import { Menu, MenuItem } from "./menu.js";
import { Dialog } from "./dialog.js";
import { IconButton } from "./icon.js";
import { Dot } from "./swatch.js";
import { setQuery } from "../state.js";
import { describe } from "../lib/statistics.js";
import { formatNumber } from "../lib/format.js";

// `view` is the charts' common {x, low, high, logX, logY, smoothing}.
export function ChartPanel({ where, metric, series, view, news, highlighted, query, stream, isPinned, onExpand, isExpanded }) {
  const drawn = useRef(null);
  const [isTable, setTable] = useState(false);
  const onDrawn = (what) => { drawn.current = what; };
  const logs = query.all("log");
  const isLog = view.logY || logs.includes(metric);
  const own = useMemo(() => ({ ...view, logY: isLog }), [view, isLog]);
  const onRange = useMemo(() => (low, high) => setQuery({ low, high }), []);
  const pins = query.all("pin");
  const title = stream === "events" ? metric.replace(/^system\./, "") : metric;
  return html`<figure class=${isExpanded ? "panel is-expanded" : "panel"}>
    <figcaption class="panel-head"><span class="panel-title" title=${metric}>${isExpanded ? "" : title}</span><span class="spacer" />
      ${!isExpanded && onExpand && html`<${IconButton} icon="expand" label=${`Enlarge ${title}`} onClick=${onExpand} />`}
      <${Menu} icon="dots" label=${`Options of ${title}`}>${(close) => html`
        ${!stream && html`<${MenuItem} checked=${pins.includes(metric)} onClick=${() => { close(); setQuery({ pin: isPinned ? pins.filter((each) => each !== metric) : [...pins, metric] }); }}>Pinned to the top<//>`}
        <${MenuItem} checked=${isLog} onClick=${() => { close(); setQuery({ log: logs.includes(metric) ? logs.filter((each) => each !== metric) : [...logs, metric] }); }}>Logarithmic<//>
        <${MenuItem} icon="columns" onClick=${() => { close(); setTable(true); }}>Show as a table<//>
        <${MenuItem} icon="download" onClick=${() => { close(); if (drawn.current) downloadPng(title, drawn.current); }}>Download PNG<//>
        <${MenuItem} icon="download" onClick=${() => { close(); if (drawn.current) downloadCsv(title, drawn.current); }}>Download CSV<//>`}<//>
    </figcaption>
    <${LineChart} where=${where} chartKey=${metric} title=${title} series=${series} view=${own} news=${news} highlighted=${highlighted} stream=${stream} onRange=${onRange} onDrawn=${onDrawn} />
    ${isTable && drawn.current && html`<${Numbers} title=${title} items=${drawn.current.items} onClose=${() => setTable(false)} />`}
  </figure>`;
}

function Numbers({ title, items, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose}><${Legend} items=${items} /></${Dialog}>`;
}

// What each line came to; the same for eyes and for screen readers.
function Legend({ items }) {
  return html`<div class="scroll"><table class="plain"><thead><tr><th>Run</th><th>Last</th><th>Lowest</th><th>Highest</th><th>Mean</th><th>Points</th><th>Not finite</th></tr></thead>
    <tbody>${items.map(({ id, label, colour, line }) => {
      const all = describe(Array.from(line.y));
      const last = Array.from(line.y).findLast(Number.isFinite);
      return html`<tr key=${id}><td><${Dot} colour=${colour} /> ${label}</td><td>${formatNumber(last, 5)}</td><td>${formatNumber(Math.min(...Array.from(line.low).filter(Number.isFinite)), 5)}</td>
        <td>${formatNumber(Math.max(...Array.from(line.high).filter(Number.isFinite)), 5)}</td><td>${formatNumber(all.mean, 5)}</td><td>${line.size}</td><td>${line.odd.reduce((sum, odd) => sum + odd.count, 0) || ""}</td></tr>`;
    })}</tbody></table></div>`;
}
