// A part whose script is fetched when it is first shown.
import { html, useEffect, useState } from "../lib/html.js";

export function later(load, name) {
  let Loaded = null;
  return function Later(props) {
    const [, setCount] = useState(0);
    const [error, setError] = useState(null);
    useEffect(() => {
      // Another use may have loaded it since this one was first drawn.
      if (Loaded) setCount(1); else load().then((module) => { Loaded = module[name]; setCount(1); }, setError);
    }, []);
    if (error) return html`<div class="empty"><p class="error" role="alert">${error.message}</p></div>`;
    return Loaded ? html`<${Loaded} ...${props} />` : html`<div class="empty" aria-busy="true" />`;
  };
}
