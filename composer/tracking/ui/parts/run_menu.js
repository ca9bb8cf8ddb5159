// What can be done with a run, in one menu.
import { html, useState } from "../lib/html.js";
import { addTags, editRuns, stopRuns, trashRuns } from "../actions.js";
import { Menu, MenuItem } from "./menu.js";
import { Prompt } from "./dialog.js";
import { Palette } from "./swatch.js";

export function RunMenu({ data, run, query }) {
  const [asked, setAsked] = useState(null);
  const close = () => setAsked(null);
  const names = [run.name];
  return html`<${Menu} icon="dots" label=${`Actions for ${run.display_name}`} className="row-menu">${(shut) => html`
      <${Palette} query=${query} id=${run.name} onDone=${shut} />
      <${MenuItem} icon="edit" onClick=${() => { shut(); setAsked("name"); }}>Rename…<//>
      <${MenuItem} icon="edit" onClick=${() => { shut(); setAsked("notes"); }}>Notes…<//>
      <${MenuItem} icon="tag" onClick=${() => { shut(); setAsked("tags"); }}>Tags…<//>
      ${run.state === "running" && html`<${MenuItem} icon="stop" onClick=${() => { shut(); stopRuns(data, names); }}>Stop the process<//>`}
      <${MenuItem} icon="trash" danger onClick=${() => { shut(); trashRuns(data, names); }}>Delete<//>
    `}<//>
    ${asked === "name" && html`<${Prompt} title="Rename run" label="Name" value=${run.display_name} onClose=${close} onDone=${(text) => text.trim() && editRuns(data, names, { display_name: text.trim() }, "Renamed.")} />`}
    ${asked === "notes" && html`<${Prompt} title="Notes" label="Notes" hint="Markdown works." multiline value=${run.notes ?? ""} onClose=${close} onDone=${(text) => editRuns(data, names, { notes: text }, "Notes saved.")} />`}
    ${asked === "tags" && html`<${TagPrompt} data=${data} names=${names} onClose=${close} />`}`;
}

// Tags of one run are edited whole; of several, one is added.
export function TagPrompt({ data, names, onClose }) {
  const run = names.length === 1 ? data.byName.get(names[0]) : null;
  const done = (text) => {
    const tags = [...new Set(text.split(",").map((tag) => tag.trim()).filter(Boolean))].sort();
    if (run) editRuns(data, names, { tags }, "Tags saved.");
    else if (tags.length) addTags(data, names, tags);
  };
  return html`<${Prompt} title="Tags" label=${run ? "Tags, separated by commas" : "Add tags, separated by commas"} value=${run ? run.tags.join(", ") : ""} onClose=${onClose} onDone=${done} />`;
}
