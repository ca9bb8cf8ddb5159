// A project's runs as the server has them, kept up to date while someone looks.
import { get, listen } from "./api.js";
import { useEffect, useState } from "./lib/html.js";

const LIMIT = 10_000;
const GATHER_MS = 1500;
const LINGER_MS = 3000;

class ProjectData {
  constructor(where) {
    this.where = where;
    this.runs = [];
    this.total = 0;
    this.byName = new Map();
    this.isLoaded = false;
    this.isLive = true;
    this.error = null;
    this.news = new Map(); // how many lines a run had when charts were last told
    this.waiting = new Set();
    this.listeners = new Set();
    this.users = 0;
  }

  open() {
    this.users += 1;
    clearTimeout(this.closing);
    if (this.stop) return;
    this.load();
    this.stop = listen(this.where, (notice) => this.hear(notice), (isLive) => {
      const wasLost = isLive && !this.isLive;
      this.isLive = isLive;
      if (wasLost) this.load(); else this.tell();
    });
  }

  close() {
    this.users -= 1;
    // Pages follow one another; what one has loaded the next may want.
    if (this.users === 0) this.closing = setTimeout(() => { this.stop(); known.delete(keyOf(this.where)); }, LINGER_MS);
  }

  async load() {
    try {
      const found = await get("/api/runs", { ...this.where, limit: LIMIT });
      this.total = found.total;
      this.put(found.runs, true);
      this.isLoaded = true;
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.tell();
  }

  put(runs, isAll = false) {
    if (isAll) this.byName.clear();
    for (const run of runs) this.byName.set(run.name, run);
    this.runs = [...this.byName.values()].sort((a, b) => b.id - a.id);
    for (const run of runs) this.news.set(run.name, run.history_lines + run.event_lines);
  }

  // Many notices become one question about all the runs they name.
  hear(notice) {
    if (notice.state === "deleted") {
      const gone = this.runs.find((run) => run.id === notice.id);
      if (gone) { this.byName.delete(gone.name); this.runs = this.runs.filter((run) => run !== gone); this.total -= 1; this.tell(); }
      return;
    }
    this.waiting.add(notice.run);
    if (!this.timer) this.timer = setTimeout(() => this.refresh(), document.hidden ? 10 * GATHER_MS : GATHER_MS);
  }

  async refresh() {
    const names = [...this.waiting];
    this.waiting.clear();
    try {
      const found = await get("/api/runs", { ...this.where, limit: LIMIT, filters: JSON.stringify({ name: { $in: names } }) });
      this.put(found.runs);
      this.total = Math.max(this.total, this.runs.length);
      this.tell();
    } catch { names.forEach((name) => this.waiting.add(name)); }
    this.timer = undefined;
  }

  // Shows a change before the server has confirmed it.
  change(names, changes) {
    this.put(names.map((name) => ({ ...this.byName.get(name), ...changes })));
    this.tell();
  }

  tell() { this.listeners.forEach((listener) => listener()); }
}

const known = new Map();
const keyOf = ({ entity, project }) => JSON.stringify([entity, project]);

function projectData(where) {
  const key = keyOf(where);
  if (!known.has(key)) known.set(key, new ProjectData({ entity: where.entity, project: where.project }));
  return known.get(key);
}

export function useProject(where) {
  const [, redraw] = useState(0);
  const data = projectData(where);
  useEffect(() => {
    const listener = () => redraw((count) => count + 1);
    data.listeners.add(listener);
    data.open();
    return () => { data.listeners.delete(listener); data.close(); };
  }, [data]);
  return data;
}

// Asks once and again whenever `key` changes; older answers are forgotten.
export function useAnswer(ask, key) {
  const [found, setFound] = useState({ value: undefined, error: null, isLoading: true });
  useEffect(() => {
    let isCurrent = true;
    setFound((before) => ({ ...before, isLoading: true }));
    ask().then(
      (value) => { if (isCurrent) setFound({ value, error: null, isLoading: false }); },
      (error) => { if (isCurrent) setFound({ value: undefined, error, isLoading: false }); },
    );
    return () => { isCurrent = false; };
  }, [key]);
  return found;
}
