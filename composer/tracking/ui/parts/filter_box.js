// The one field that both searches and filters.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { Icon } from "./icon.js";
import { setQuery } from "../state.js";

const SETTLED_MS = 200;

export function FilterBox({ query, error, name = "filter", placeholder = "Search, or lr >= 0.1 and state = finished", label = "Filter runs" }) {
  const kept = query.get(name);
  const [text, setText] = useState(kept);
  const timer = useRef();
  useEffect(() => setText(kept), [kept]);
  const change = (event) => {
    const value = event.target.value;
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setQuery({ [name]: value }, { replace: true }), SETTLED_MS);
  };
  return html`<div class=${error ? "search bad" : "search"}><${Icon} name="search" />
    <input type="search" class="search-input" data-hotkey=${name === "filter" ? "/" : undefined} value=${text} onInput=${change} placeholder=${placeholder} aria-label=${label} aria-invalid=${String(Boolean(error))} spellcheck="false" autocomplete="off" />
    ${error && html`<p class="search-error" role="alert">${error}</p>`}</div>`;
}
