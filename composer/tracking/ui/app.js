// Shows what the address names.
import { Component, html, render, useEffect, useState } from "./lib/html.js";
import { get, post, prefix } from "./api.js";
import { applyTheme, go, isDark, pathTo, setTheme, useAddress } from "./state.js";
import { IconButton } from "./parts/icon.js";
import { Toasts, undoLast } from "./parts/toast.js";
import { later } from "./parts/later.js";
import { LoginPage } from "./pages/login.js";
import { ProjectPage } from "./pages/project.js";
import { ProjectsPage } from "./pages/projects.js";

function App() {
  const { parts, query } = useAddress();
  const [session, setSession] = useState(undefined);
  const [isHelp, setHelp] = useState(false);
  const login = () => get("/api/session").then(setSession, (error) => setSession(error.status === 401 ? null : { user: "", error }));
  useEffect(() => { login(); }, []);
  useHotkeys(() => setHelp(true));
  useEffect(() => { document.title = [...parts.slice(1, 2), ...parts.slice(3, 4), "Composer"].join(" · "); });
  const mustLogIn = session === null || parts[0] === "authorize";
  return html`<${Header} parts=${parts} session=${session} onHelp=${() => setHelp(true)} onLogout=${async () => { await post("/api/logout", {}); setSession(null); }} />
    <main id="main" tabindex="-1"><${Guard} key=${[...parts.slice(0, 2), parts[2] === "runs" && parts[3]].join("/")}>${mustLogIn ? html`<${LoginPage} onDone=${() => { login(); if (parts[0] === "authorize") go(`${prefix}/`, { replace: true }); }} />` : html`<${Page} parts=${parts} query=${query} />`}<//></main>
    <${Toasts} />${isHelp && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

const RunPage = later(() => import("./pages/run.js"), "RunPage");
const Help = later(() => import("./parts/help.js"), "Help");

function Page({ parts, query }) {
  const [entity, project, tab, name, part] = parts;
  if (!project) return html`<${ProjectsPage} entity=${entity} />`;
  const where = { entity, project };
  if (tab === "runs" && name) return html`<${RunPage} key=${name} where=${where} name=${name} tab=${part ?? ""} query=${query} />`;
  return html`<${ProjectPage} key=${`${entity}/${project}`} where=${where} tab=${tab ?? ""} rest=${parts.slice(3)} query=${query} />`;
}

function Header({ parts, session, onHelp, onLogout }) {
  const [entity, project, tab, name] = parts;
  return html`<header class="top"><a class="brand" href=${`${prefix}/`} aria-label="Composer: all projects"><${Mark} /><span>Composer</span></a>
    <nav class="crumbs" aria-label="Where you are">${project && html`<a href=${pathTo(entity)}>${entity}</a><a href=${pathTo(entity, project)}>${project}</a>`}${tab === "runs" && name && html`<span>${name}</span>`}</nav>
    <span class="spacer" />
    <button type="button" class="icon-button help" title="Help (?)" aria-label="Help" onClick=${onHelp}>?</button>
    <${IconButton} icon=${isDark() ? "sun" : "moon"} label=${isDark() ? "Light theme" : "Dark theme"} onClick=${() => setTheme(isDark() ? "light" : "dark")} />
    ${session?.user && html`<button type="button" class="user" title=${`${session.user}: log out`} aria-label=${`Logged in as ${session.user}; log out`} onClick=${onLogout}>${session.user.slice(0, 1).toUpperCase()}</button>`}</header>`;
}

const Mark = () => html`<svg width="22" height="22" viewBox="0 0 24 24" aria-hidden="true" class="mark"><path d="M3 20C7 20 7 9 11 9s3 6 5 6 3-11 5-11" /></svg>`;

// A page that fails must not take the others with it.
class Guard extends Component {
  constructor() { super(); this.state = { error: null }; }
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { console.error(error); }
  render({ children }, { error }) {
    return error ? html`<div class="empty"><h2>This page failed</h2><p class="error" role="alert">${String(error.message ?? error)}</p></div>` : children;
  }
}

function useHotkeys(onHelp) {
  useEffect(() => {
    const onKey = (event) => {
      const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
      if (isTyping || event.altKey) return;
      if (event.ctrlKey || event.metaKey) { if (event.key === "z") { event.preventDefault(); undoLast(); } return; }
      const field = document.querySelector(`[data-hotkey="${CSS.escape(event.key)}"]`);
      if (field) { event.preventDefault(); field.focus(); }
      else if (event.key === "?") onHelp();
      else if (event.key === "[" || event.key === "]") turnTab(event.key === "]" ? 1 : -1);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function turnTab(by) {
  const tabs = [...document.querySelectorAll(".tabs a")];
  const at = tabs.findIndex((tab) => tab.getAttribute("aria-current") === "page");
  tabs[(at + by + tabs.length) % tabs.length]?.click();
}

applyTheme();
render(html`<${App} />`, document.getElementById("app"));
