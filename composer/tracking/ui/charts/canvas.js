// A canvas that draws itself whenever its box, what it is given, or the theme changes.
import { html, useLayoutEffect, useRef } from "../lib/html.js";
import { prepare, themeColours } from "./frame.js";
import { useSize } from "./use_lines.js";

// `draw(context, width, height, colours)` must depend on `deps` alone.
export function Canvas({ draw, deps, label, children, className = "", ...events }) {
  const box = useRef();
  const canvas = useRef();
  const { width, height } = useSize(box);
  useLayoutEffect(() => {
    if (!width || !height) return;
    draw(prepare(canvas.current).context, width, height, themeColours());
  }, [width, height, document.documentElement.dataset.theme, ...deps]);
  return html`<div class=${`plot ${className}`} ref=${box}><canvas ref=${canvas} role="img" aria-label=${label} ...${events} />${children}</div>`;
}
