// A window over the page; the browser keeps the focus inside and closes it on Escape.
import { html, useEffect, useRef } from "../lib/html.js";
import { IconButton } from "./icon.js";

export function Dialog({ title, onClose, children, wide, actions }) {
  const dialog = useRef();
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current.showModal();
    return () => opener?.focus?.();
  }, []);
  const onClick = (event) => { if (event.target === dialog.current) onClose(); };
  return html`<dialog ref=${dialog} class=${wide ? "dialog wide" : "dialog"} aria-label=${title} onClick=${onClick} onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <div class="dialog-body"><header class="dialog-head"><h2>${title}</h2><span class="spacer" />${actions}<${IconButton} icon="close" label="Close" onClick=${onClose} /></header>${children}</div>
  </dialog>`;
}

// Asks for one text; Enter gives it.
export function Prompt({ title, label, value = "", multiline, onDone, onClose, action = "Save", hint }) {
  const field = useRef();
  const submit = (event) => { event.preventDefault(); onDone(field.current.value); onClose(); };
  useEffect(() => { field.current.focus(); field.current.select(); }, []);
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form class="prompt" onSubmit=${submit}>
      <label>${label}${multiline ? html`<textarea ref=${field} rows="6" defaultValue=${value}>${value}</textarea>` : html`<input ref=${field} defaultValue=${value} value=${value} />`}</label>
      ${hint && html`<p class="hint">${hint}</p>`}
      <div class="actions"><button type="button" class="button" onClick=${onClose}>Cancel</button><button class="button primary">${action}</button></div>
    </form>
  </${Dialog}>`;
}
