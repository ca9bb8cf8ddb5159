// Fetches what a line chart draws: everything when the question changes, and while runs go on only the
// lines of runs that have news, no faster than the machine answers.
import { get } from "../api.js";
import { useEffect, useRef, useState } from "../lib/html.js";
import { sorted, toLine } from "../lib/lines.js";

// How often a chart follows a running run: the more charts are on the screen, the less often each.
const FASTEST_LIVE_MS = 2000;
const EACH_CHART_MS = 300;
const RUNS_AT_ONCE = 100;
let numVisible = 0;

// `ask` is {where, key, x, names, low, high, points, stream}; `news` maps run names to how many lines they
// have. Returns {lines: Map of run name to line, isLoading, error}.
export function useLines(ask, news, isVisible) {
  const [state, setState] = useState({ lines: new Map(), isLoading: true, error: null, question: "" });
  const seen = useRef(new Map());
  const busy = useRef({ until: 0, timer: undefined });
  const question = JSON.stringify(ask);

  const fetchLines = async (names, signal) => {
    const { where, key, x, low, high, points, stream } = ask;
    const start = performance.now();
    const counts = names.map((name) => [name, news.get(name)]);
    const parts = Array.from({ length: Math.ceil(names.length / RUNS_AT_ONCE) }, (_, i) => names.slice(i * RUNS_AT_ONCE, (i + 1) * RUNS_AT_ONCE));
    const answers = await Promise.all(parts.map((part) => get("/api/chart", { ...where, key, x: x ?? null, runs: part.join(","), points, low, high, stream }, { signal })));
    counts.forEach(([name, count]) => seen.current.set(name, count));
    busy.current.until = performance.now() + Math.max(FASTEST_LIVE_MS, EACH_CHART_MS * numVisible, 8 * (performance.now() - start));
    return new Map(answers.flatMap((answer) => Object.entries(answer.lines)).map(([name, answer]) => [name, sorted(toLine(answer))]));
  };

  useEffect(() => {
    if (!isVisible) return undefined;
    const abort = new AbortController();
    setState((before) => ({ ...before, isLoading: true }));
    fetchLines(ask.names, abort.signal).then(
      (lines) => setState({ lines, isLoading: false, error: null, question }),
      (error) => { if (error.name !== "AbortError") setState((before) => ({ ...before, isLoading: false, error })); },
    );
    return () => abort.abort();
  }, [question, isVisible]);

  useEffect(() => {
    if (!isVisible) return undefined;
    numVisible += 1;
    return () => { numVisible -= 1; };
  }, [isVisible]);

  const changed = state.question === question ? ask.names.filter((name) => seen.current.has(name) && seen.current.get(name) !== news.get(name)) : [];
  const signature = changed.map((name) => `${name}:${news.get(name)}`).join();
  useEffect(() => {
    if (!isVisible || !signature || document.hidden) return undefined;
    const timer = setTimeout(() => {
      fetchLines(changed).then((lines) => setState((before) => (before.question === question ? { ...before, lines: new Map([...before.lines, ...lines]) } : before)), () => {});
    }, Math.max(0, busy.current.until - performance.now()));
    return () => clearTimeout(timer);
  }, [signature, isVisible, question]);

  return state;
}

// Whether an element is on or near the screen.
export function useVisible(ref) {
  const [isVisible, setVisible] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => setVisible(entries[entries.length - 1].isIntersecting), { rootMargin: "150px" });
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return isVisible;
}

// The size of an element, as it changes.
export function useSize(ref) {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      setSize((before) => (before.width === width && before.height === height ? before : { width, height }));
    });
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return size;
}
