// Views that people keep: names for addresses, stored on the server with the project.
import { html, useState } from "../lib/html.js";
import { get, post } from "../api.js";
import { useAnswer } from "../data.js";
import { Menu, MenuItem } from "./menu.js";
import { IconButton } from "./icon.js";
import { Prompt } from "./dialog.js";
import { failed, toast } from "./toast.js";
import { go, projectPath } from "../state.js";

export function Views({ where }) {
  const [count, setCount] = useState(0);
  const [isNaming, setNaming] = useState(false);
  const { value: views } = useAnswer(() => get("/api/views", where), `${where.entity}/${where.project} ${count}`);
  const base = projectPath(where);
  const change = async (path, body, text, undo) => {
    try {
      await post(path, { ...where, ...body });
      setCount((before) => before + 1);
      toast(text, undo && (async () => { await undo(); setCount((before) => before + 1); }));
    } catch (error) { failed(error); }
  };
  const save = (name) => {
    const old = views?.find((view) => view.name === name);
    const undo = () => (old ? post("/api/views", { ...where, name, query: old.query }) : post("/api/views/delete", { ...where, name }));
    return change("/api/views", { name, query: (location.pathname + location.search).slice(base.length) }, `View “${name}” saved.`, undo);
  };
  const remove = (view) => change("/api/views/delete", { name: view.name }, `View “${view.name}” deleted.`, () => post("/api/views", { ...where, name: view.name, query: view.query }));
  return html`<${Menu} icon="bookmark" text="Views" label="Saved views">${(close) => html`
      ${(views ?? []).map((view) => html`<div class="menu-line" key=${view.name}><${MenuItem} onClick=${() => { close(); go(base + view.query); }}>${view.name}<//>
        <${IconButton} icon="trash" label=${`Delete the view ${view.name}`} onClick=${() => remove(view)} /></div>`)}
      ${views && !views.length && html`<p class="hint">Filters, columns, colours, pinned charts: all that the address holds can be kept under a name.</p>`}
      <${MenuItem} icon="plus" onClick=${() => { close(); setNaming(true); }}>Save this view…<//>
      <${MenuItem} icon="undo" onClick=${() => { close(); go(base); }}>Start afresh<//>`}<//>
    ${isNaming && html`<${Prompt} title="Save this view" label="Name" onClose=${() => setNaming(false)} onDone=${(name) => name.trim() && save(name.trim())} />`}`;
}
