// A chart that a stranger described, drawn in a frame that can reach nothing. It has a few seconds: a chart
// that takes longer, then or later, is stopped, and one that hangs leaves the page as it was.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { chartFrameAddress } from "../api.js";
import { themeColours } from "../charts/frame.js";
import { useVisible } from "../charts/use_lines.js";
import { bytesOf, colourAt, PALETTE } from "../lib/colours.js";
import { IconButton } from "../parts/icon.js";
import { failed } from "../parts/toast.js";
import { isDark } from "../state.js";

const LIMIT_S = 10;
const LOAD_S = 60; // The libraries are large, and a busy machine is slow to read them.
const ASK_S = 5;
const MOST_ROUNDS = 3;
const [LOWEST, HIGHEST] = [200, 1000];
const within = (height) => Math.min(HIGHEST, Math.max(LOWEST, Number(height) || 0));

// Charts are begun one after another: browsers may run all frames in one process, and one that hangs
// must not be taken for its neighbours.
let line = Promise.resolve();
const inTurn = (work) => { const own = line.then(work); line = own.catch(() => {}); return own; };

const hex = (colour) => `#${Array.from(bytesOf(colour).slice(0, 3), (each) => each.toString(16).padStart(2, "0")).join("")}`;

function themeOf() {
  const plain = Object.fromEntries(Object.entries(themeColours()).map(([name, colour]) => [name, hex(colour)]));
  return { ...plain, isDark: isDark(), colours: PALETTE.map((place) => hex(colourAt(place, isDark()))) };
}

// `kind` is "vega" or "plotly"; `chart` what its frame draws; `height` in pixels, until it says how high it is.
export function Framed({ kind, chart, title, height }) {
  const box = useRef();
  const isNear = useVisible(box);
  const [wasNear, setNear] = useState(false);
  const [round, setRound] = useState(0);
  useEffect(() => { if (isNear) setNear(true); }, [isNear]);
  return html`<div ref=${box}>${wasNear ? html`<${Frame} key=${`${round} ${isDark()}`} ...${{ kind, chart, title, height: within(height), round }} onAgain=${() => setRound(round + 1)} />` : html`<div class="framed" style=${{ height: `${within(height)}px` }} />`}</div>`;
}

function Frame({ kind, chart, title, height: given, round, onAgain }) {
  const frame = useRef();
  const [state, setState] = useState({ phase: "waiting", height: given });
  useEffect(() => hold(frame, chart, setState, round < MOST_ROUNDS), []);
  // One that was drawn and is silent now was taken along by another: it is drawn anew.
  useEffect(() => { if (state.phase === "lost") onAgain(); }, [state.phase]);
  const { phase, text, height, notes = [] } = state;
  if (phase === "stopped") return html`<div class="framed-note" role="alert"><p>${title} was stopped: it did not answer within ${LIMIT_S} seconds.</p><button type="button" class="button" onClick=${onAgain}>Try again</button></div>`;
  if (phase === "failed") return html`<p class="error" role="alert">${title} cannot be drawn: ${text}</p>`;
  return html`<div class="framed" style=${{ minHeight: `${height}px` }}>
    <div class="framed-tools">${phase === "drawn" && html`<${IconButton} icon="download" label=${`Download ${title} as PNG`} onClick=${() => frame.current?.contentWindow.postMessage({ kind: "picture" }, "*")} />`}</div>
    ${phase !== "waiting" && html`<iframe ref=${frame} sandbox="allow-scripts" referrerpolicy="no-referrer" title=${`${title}, a chart as logged`} src=${chartFrameAddress(kind)} style=${{ height: `${height}px` }} />`}
    ${notes.map((note) => html`<p class="hint" key=${note}>${note}</p>`)}</div>`;
}

// Gives a frame its chart and watches over it; returns how to let go.
function hold(frame, chart, setState, mayReturn) {
  let owedSince = null; // when it was given something to do or asked, until it answers
  let limit = LOAD_S;
  let settle = () => {};
  let isDrawn = false;
  let timer;
  const say = (message) => frame.current?.contentWindow?.postMessage(message, "*");
  const end = (state) => { clearInterval(timer); setState((before) => ({ ...before, ...state })); settle(); };
  const answers = {
    ready: () => { limit = LIMIT_S; owedSince = performance.now(); say({ kind: "draw", chart, theme: themeOf() }); },
    drawn: ({ height, notes }) => {
      isDrawn = true;
      setState((before) => ({ ...before, phase: "drawn", height: Math.max(before.height, within(height)), notes: notes.slice(0, 3).map(String) }));
      settle();
    },
    failed: ({ text }) => (isDrawn ? failed(new Error(String(text))) : end({ phase: "failed", text: String(text) })),
    picture: ({ address }) => save(address),
    alive: () => {},
  };
  const onMessage = ({ source, data }) => {
    if (!frame.current || source !== frame.current.contentWindow || !Object.hasOwn(answers, data?.kind)) return;
    owedSince = null;
    answers[data.kind](data);
  };
  // Browsers slow clocks of hidden pages down: what counts is how long an answer is owed.
  const watch = () => {
    if (owedSince === null) { owedSince = performance.now(); say({ kind: "ask" }); }
    else if (performance.now() - owedSince > limit * 1000) end({ phase: isDrawn && mayReturn ? "lost" : "stopped" });
  };
  addEventListener("message", onMessage);
  let isGone = false;
  inTurn(() => new Promise((resolve) => {
    if (isGone) { resolve(); return; }
    settle = resolve;
    owedSince = performance.now();
    timer = setInterval(watch, ASK_S * 1000);
    setState((before) => ({ ...before, phase: "drawing" }));
  }));
  return () => { isGone = true; removeEventListener("message", onMessage); clearInterval(timer); settle(); };
}

function save(address) {
  if (!/^data:image\/png;base64,/.test(address)) return;
  const link = document.createElement("a");
  link.href = address;
  link.download = "chart.png";
  link.click();
}
