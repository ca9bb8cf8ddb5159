// The only place that talks to the server.
export const prefix = document.documentElement.dataset.prefix ?? "";

const reach = (path, options) => fetch(prefix + path, { credentials: "same-origin", ...options });

async function ask(path, options) {
  const answer = await reach(path, options);
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error(value.error ?? `The server answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return value;
}

export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return new URLSearchParams(kept.map(([key, value]) => [key, String(value)])).toString();
}

export const get = (path, values = {}, options = {}) => ask(`${path}?${query(values)}`, options);

// Sends JSON as text.
export const send = (path, body) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });

export const post = (path, body) => send(path, JSON.stringify(body));

export const fileAddress = (where, path) => `${prefix}/api/run/file?${query({ ...where, path })}`;
export const chartFrameAddress = (kind) => `${prefix}/api/frame/${kind}`;
export const frameAddress = (where, path) => `${prefix}/api/run/frame?${query({ ...where, path })}`;

// Calls `onNews` with what was stored in a project and `onState` with whether the line is up; returns how to stop.
export function listen(values, onNews, onState = () => {}) {
  const source = new EventSource(`${prefix}/api/stream?${query(values)}`);
  source.onmessage = (event) => onNews(JSON.parse(event.data));
  source.onopen = () => onState(true);
  source.onerror = () => onState(false);
  return () => source.close();
}

// A JSON file of a run.
export const readFile = (where, path) => get("/api/run/file", { ...where, path });

// A text file of a run.
export async function readText(where, path) {
  const answer = await reach(`/api/run/file?${query({ ...where, path })}`);
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  return answer.text();
}
