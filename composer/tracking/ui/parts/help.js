// What keys and the filter field can do.
import { html } from "../lib/html.js";
import { Dialog } from "./dialog.js";

const KEYS = [
  ["/", "to the filter"], ["[  ]", "tab before, tab after"], ["Ctrl Z", "take back the last change"], ["?", "this help"],
  ["←  →", "in a chart: read values"], ["+  −  0", "in a chart: zoom, show all"], ["Shift ←  →", "in a chart: move"], ["Esc", "close"],
];
const FILTERS = [
  ["resnet", "the word in name, tags or notes"], ["lr >= 0.01", "a config or summary value"], ["state = running", "or finished, failed, crashed"],
  ["name ~ base", "contains"], ["tags has best", "a tag"], ["optimizer in (sgd, adam)", "one of these"], ["(a or b) and not c", "put together"],
];

export const Help = ({ onClose }) => html`<${Dialog} title="Help" onClose=${onClose}>
  <div class="help-columns"><div><h3>Keys</h3><dl class="keys">${KEYS.map(([key, text]) => html`<dt><kbd>${key}</kbd></dt><dd>${text}</dd>`)}</dl></div>
  <div><h3>Filters</h3><dl class="keys">${FILTERS.map(([key, text]) => html`<dt><code>${key}</code></dt><dd>${text}</dd>`)}</dl></div></div>
  <p class="hint">In charts drag to zoom, drag with Shift to move, double-click to show everything. The address holds all you see: copy it to share the view.</p>
<//>`;
