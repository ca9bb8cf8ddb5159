// Asks for a key.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { post } from "../api.js";

export function LoginPage({ onDone }) {
  const field = useRef();
  const [error, setError] = useState("");
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    try { await post("/api/login", { key: field.current.value.trim() }); onDone(); } catch (problem) { setError(problem.message); }
  };
  return html`<div class="empty"><h1>Log in</h1><form class="prompt" onSubmit=${submit}>
    <label>API key<input ref=${field} type="password" name="key" autocomplete="current-password" required /></label>
    ${error && html`<p class="error" role="alert">${error}</p>`}
    <div class="actions"><button class="button primary">Log in</button></div></form>
    <p class="hint">The server printed the first key when it started; an administrator gives out others.</p></div>`;
}
