// One cursor for all charts that share an x axis: pointing at a step in one shows it in the others.
const listeners = new Set();
let current = { axis: null, x: null, source: null };

export function point(axis, x, source) {
  current = { axis, x, source };
  listeners.forEach((listener) => listener(current));
}

export function onPoint(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
