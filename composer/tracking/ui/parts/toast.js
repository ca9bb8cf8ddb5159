// Short messages at the foot of the page, with Undo where something was changed.
import { html, useEffect, useState } from "../lib/html.js";

const LASTS_MS = 9000;
let tell = () => {};
let last = null;

export function toast(text, undo) {
  last = undo ? { text, undo } : last;
  tell({ text, undo, at: Date.now() });
}

export const failed = (error) => toast(error.message ?? String(error));

// Takes back the last change, once.
export async function undoLast() {
  const done = last;
  last = null;
  if (!done) { toast("Nothing to undo."); return; }
  try { await done.undo(); toast("Undone."); } catch (error) { failed(error); }
}

export function Toasts() {
  const [shown, setShown] = useState(null);
  useEffect(() => { tell = setShown; return () => { tell = () => {}; }; }, []);
  useEffect(() => {
    if (!shown) return undefined;
    const timer = setTimeout(() => setShown(null), LASTS_MS);
    return () => clearTimeout(timer);
  }, [shown]);
  return html`<div class="toasts" role="status" aria-live="polite">${shown && html`<div class="toast"><span>${shown.text}</span>
    ${shown.undo && html`<button type="button" class="link" onClick=${() => { setShown(null); undoLast(); }}>Undo</button>`}</div>`}</div>`;
}
