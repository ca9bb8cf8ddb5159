// Runs that were deleted, for as long as they can be brought back.
import { html, useState } from "../lib/html.js";
import { get, post } from "../api.js";
import { useAnswer } from "../data.js";
import { Dialog } from "./dialog.js";
import { failed, toast } from "./toast.js";
import { formatAgo } from "../lib/format.js";

export function Trash({ data, onClose }) {
  const [count, setCount] = useState(0);
  const { value: runs, error } = useAnswer(() => get("/api/runs/trash", data.where), count);
  const restore = async (run) => {
    try {
      await post("/api/runs/restore", { ...data.where, runs: [run.name] });
      await data.load();
      setCount(count + 1);
      toast(`${run.display_name} is back.`);
    } catch (problem) { failed(problem); }
  };
  return html`<${Dialog} title="Trash" onClose=${onClose}>
    <p class="hint">Deleted runs stay here for seven days.</p>
    ${error && html`<p class="error">${error.message}</p>`}
    ${runs && !runs.length && html`<p>The trash is empty.</p>`}
    <ul class="plain-list">${(runs ?? []).map((run) => html`<li key=${run.name}><span>${run.display_name}</span><small>${formatAgo(run.trashed_at)}</small><span class="spacer" /><button type="button" class="button" onClick=${() => restore(run)}>Restore</button></li>`)}</ul>
  </${Dialog}>`;
}
