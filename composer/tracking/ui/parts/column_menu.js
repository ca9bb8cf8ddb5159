// Choosing columns, with a search over all there are.
import { html, useState } from "../lib/html.js";
import { Menu, MenuItem } from "./menu.js";
import { titleOf } from "../lib/columns.js";

const MOST = 200;

export function ColumnMenu({ icon, text, label, all, chosen, onChange, single }) {
  return html`<${Menu} icon=${icon} text=${text} label=${label} badge=${!single && chosen.length ? chosen.length : null}>
    ${(close) => html`<${Choices} all=${all} chosen=${chosen} onChange=${(columns) => { onChange(columns); if (single) close(); }} single=${single} />`}
  <//>`;
}

function Choices({ all, chosen, onChange, single }) {
  const [search, setSearch] = useState("");
  const wanted = search.toLowerCase();
  const found = all.filter((column) => column.toLowerCase().includes(wanted));
  const toggle = (column) => {
    if (single) onChange(chosen.includes(column) ? [] : [column]);
    else onChange(chosen.includes(column) ? chosen.filter((each) => each !== column) : [...chosen, column]);
  };
  return html`<div class="choices">
    <input type="search" value=${search} placeholder="Search" aria-label="Search columns" onInput=${(event) => setSearch(event.target.value)} autofocus />
    ${chosen.length > 0 && html`<button type="button" class="link" onClick=${() => onChange([])}>${single ? "None" : "Reset"}</button>`}
    <div class="choices-list">${found.slice(0, MOST).map((column) => html`<${MenuItem} key=${column} checked=${chosen.includes(column)} onClick=${() => toggle(column)}>
      ${titleOf(column)}${column.includes(".") && html` <small>${column.split(".")[0]}</small>`}
    <//>`)}${!found.length && html`<p class="hint">Nothing of that name.</p>`}</div>
  </div>`;
}
