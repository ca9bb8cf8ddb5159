// What is shown is written in the address, all of it: the path names the page, the query how it looks.
// So every view can be kept, shared, and left with the browser's own Back.
import { prefix } from "./api.js";
import { useEffect, useState } from "./lib/html.js";

const listeners = new Set();
const tell = () => listeners.forEach((listener) => listener());

export function parts() {
  return location.pathname.slice(prefix.length).split("/").filter(Boolean).map(decodeURIComponent);
}

export const pathTo = (...names) => `${prefix}/${names.map(encodeURIComponent).join("/")}`;
export const projectPath = ({ entity, project }, ...rest) => pathTo(entity, project, ...rest);

export function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  tell();
}

// Changes the query. A list becomes one entry per member; null, "" and [] take the entry away.
export function setQuery(changes, { replace = false } = {}) {
  const found = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    found.delete(name);
    const values = Array.isArray(value) ? value : [value];
    for (const each of values) if (each !== null && each !== undefined && each !== "") found.append(name, each);
  }
  const text = found.toString();
  go(`${location.pathname}${text ? `?${text}` : ""}`, { replace });
}

class Query {
  constructor(search) { this.entries = new URLSearchParams(search); }
  get(name, otherwise = "") { return this.entries.get(name) ?? otherwise; }
  all(name) { return this.entries.getAll(name); }
  has(name) { return this.entries.has(name); }
  number(name, otherwise) {
    const text = this.entries.get(name);
    const value = text === null || text === "" ? NaN : Number(text);
    return Number.isNaN(value) ? otherwise : value;
  }
}

export function useAddress() {
  const now = () => `${location.pathname}${location.search} ${document.documentElement.dataset.theme}`;
  const [address, setAddress] = useState(now);
  useEffect(() => {
    const listener = () => setAddress(now());
    listeners.add(listener);
    addEventListener("popstate", listener);
    return () => { listeners.delete(listener); removeEventListener("popstate", listener); };
  }, []);
  return { address, parts: parts(), query: new Query(location.search) };
}

// Links inside the dashboard change the page without loading it anew.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || link.origin !== location.origin || link.hasAttribute("download") || link.target) return;
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.href);
});

// The theme is the reader's, not the view's: it stays out of the address.
function currentTheme() {
  const kept = localStorage.getItem("theme");
  return kept === "light" || kept === "dark" ? kept : "auto";
}
export function isDark() {
  const theme = currentTheme();
  return theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
}
export function applyTheme() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  tell();
}
export function setTheme(theme) {
  localStorage.setItem("theme", theme);
  applyTheme();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
