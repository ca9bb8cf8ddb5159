// Zooming and panning along x. Drag picks a range, Shift and drag or the wheel sideways moves it, Ctrl and
// wheel zooms, a double click shows everything. On the keyboard: arrows move the cursor, with Shift the
// range; + and - zoom, 0 shows everything.
const KEYS = { ArrowLeft: -1, ArrowRight: 1 };

// `chart` has scale(), box(), point(x or null), select(from, to or null), view(low, high), reset(), step(n).
export function gestures(element, chart) {
  let drag = null;
  const at = (event) => event.clientX - element.getBoundingClientRect().left;

  const down = (event) => {
    if (event.button || event.pointerType === "touch" || !chart.scale()) return;
    element.setPointerCapture(event.pointerId);
    const scale = chart.scale();
    drag = { from: at(event), isPan: event.shiftKey, low: scale.low, high: scale.high, scale };
  };
  const move = (event) => {
    const scale = chart.scale();
    if (!scale) return;
    if (!drag) { chart.point(scale.value(at(event))); return; }
    if (drag.isPan) {
      const shift = (pixel) => drag.scale.value(drag.scale.at(pixel) - (at(event) - drag.from));
      chart.view(shift(drag.low), shift(drag.high));
    } else chart.select(drag.from, at(event));
  };
  const up = (event) => {
    if (!drag) return;
    const end = at(event);
    const { box, scale, from, isPan } = { box: chart.box(), ...drag };
    drag = null;
    chart.select(null);
    if (isPan || Math.abs(end - from) < 4) return;
    const [a, b] = [Math.max(box.left, Math.min(from, end)), Math.min(box.right, Math.max(from, end))];
    if (b > a) chart.view(scale.value(a), scale.value(b));
  };
  const zoom = (factor, pixel) => {
    const scale = chart.scale();
    if (!scale) return;
    const box = chart.box();
    const center = pixel ?? (box.left + box.right) / 2;
    const moved = (edge) => scale.value(center + (edge - center) * factor);
    chart.view(moved(box.left), moved(box.right));
  };
  const pan = (pixels) => {
    const scale = chart.scale();
    const box = chart.box();
    if (scale) chart.view(scale.value(box.left + pixels), scale.value(box.right + pixels));
  };
  const wheel = (event) => {
    if (event.ctrlKey || event.metaKey) { event.preventDefault(); zoom(1.0015 ** event.deltaY, at(event)); }
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) { event.preventDefault(); pan(event.deltaX); }
  };
  const key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS && event.shiftKey) pan(KEYS[event.key] * 60);
    else if (event.key in KEYS) chart.step(KEYS[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(0.7);
    else if (event.key === "-") zoom(1 / 0.7);
    else if (event.key === "0") chart.reset();
    else return;
    event.preventDefault();
  };
  const handlers = {
    pointerdown: down, pointermove: move, pointerup: up, keydown: key, wheel,
    pointercancel: () => { drag = null; chart.select(null); },
    pointerleave: () => { if (!drag) chart.point(null); },
    dblclick: () => chart.reset(), blur: () => chart.point(null),
  };
  for (const [name, handler] of Object.entries(handlers)) element.addEventListener(name, handler, { passive: false });
  return () => { for (const [name, handler] of Object.entries(handlers)) element.removeEventListener(name, handler); };
}
