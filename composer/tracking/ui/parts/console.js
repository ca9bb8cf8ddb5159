// A run's console: any number of lines, with colours, search and following.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { get } from "../api.js";
import { VirtualRows } from "./virtual.js";
import { FilterBox } from "./filter_box.js";
import { parseAnsi, plainText } from "../lib/ansi.js";
import { download } from "../lib/csv.js";
import { formatNumber } from "../lib/format.js";
import { Icon } from "./icon.js";

const ROW = 19;
const PART = 1000;

export function Console({ where, run, query }) {
  const search = query.get("find");
  const [lines, setLines] = useState(new Map());
  const [total, setTotal] = useState(run.log_lines ?? 0);
  const [hits, setHits] = useState(null);
  const [follows, setFollows] = useState(run.state === "running");
  const asked = useRef(new Set());
  const busy = useRef(false);

  const load = async (start) => {
    const found = await get("/api/run/logs", { ...where, start, limit: PART });
    setTotal(found.total);
    setLines((before) => { const after = new Map(before); found.lines.forEach((line) => after.set(line.number, line)); return after; });
  };
  const want = (first, last) => {
    for (let part = Math.floor(first / PART); part <= Math.floor(Math.max(first, last - 1) / PART); part += 1) {
      if (!asked.current.has(part)) { asked.current.add(part); load(part * PART).catch(() => asked.current.delete(part)); }
    }
  };
  useEffect(() => {
    if (!total && !run.log_lines) return;
    // The last part grows while the run goes on.
    const last = Math.floor(Math.max(0, (run.log_lines ?? 0) - 1) / PART);
    const from = Math.floor(Math.max(0, total - 1) / PART);
    if (busy.current) return;
    busy.current = true;
    Promise.all([...new Set([from, last])].map((part) => { asked.current.add(part); return load(part * PART); })).catch(() => {}).finally(() => { busy.current = false; });
  }, [run.log_lines]);
  useEffect(() => {
    if (!search) { setHits(null); return undefined; }
    let isCurrent = true;
    get("/api/run/logs", { ...where, start: 0, limit: 10_000, search }).then((found) => { if (isCurrent) setHits(found.lines); }, () => {});
    return () => { isCurrent = false; };
  }, [search, run.log_lines]);

  const shown = hits ? hits.length : total;
  const lineAt = (i) => (hits ? hits[i] : lines.get(i));
  const onScrolled = (element) => {
    if (!hits) want(Math.floor(element.scrollTop / ROW), Math.min(total, Math.ceil((element.scrollTop + element.clientHeight) / ROW)));
  };
  const render = (i) => {
    const line = lineAt(i);
    return html`<div role="row" aria-rowindex=${i + 2} key=${i} class=${line?.level === "error" ? "console-row is-error" : "console-row"} style=${{ height: `${ROW}px` }}>
      <span role="cell" class="console-number">${line ? line.number + 1 : i + 1}</span><span role="cell" class="console-text">${line ? parseAnsi(line.line).map((piece) => html`<span class=${piece.className}>${piece.text}</span>`) : ""}</span></div>`;
  };
  const save = async () => {
    const texts = [];
    for (let start = 0; start < total; start += 10_000) texts.push(...(await get("/api/run/logs", { ...where, start, limit: 10_000 })).lines.map((line) => plainText(line.line)));
    download(`${where.run}.log`, texts.join("\n"), "text/plain");
  };
  if (!total && !run.log_lines) return html`<div class="empty"><h2>No output</h2><p>What the process prints appears here.</p></div>`;
  return html`<div class="content fill">
    <div class="toolbar"><${FilterBox} query=${query} name="find" label="Search the console" placeholder="Search the console" />
      <span class="list-count">${hits ? `${formatNumber(hits.length)} of ${formatNumber(total)} lines` : `${formatNumber(total)} lines`}</span><span class="spacer" />
      <button type="button" class="button toggle" aria-pressed=${String(follows)} onClick=${() => setFollows(!follows)}>Follow</button>
      <button type="button" class="button" onClick=${save}><${Icon} name="download" />Text</button></div>
    <${VirtualRows} count=${shown} height=${ROW} render=${render} label="Console" columns="2" className="console" onScrolled=${onScrolled} scrollTo=${follows ? shown : undefined} />
  </div>`;
}
