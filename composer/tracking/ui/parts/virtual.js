// Long lists: only the rows on the screen exist.
import { html, useEffect, useRef, useState } from "../lib/html.js";

const MARGIN = 8;

// `render(index)` gives a row of `height` pixels; `head` stays at the top.
export function VirtualRows({ count, height, render, head, label, columns, className = "", onScrolled, scrollTo }) {
  const box = useRef();
  const [span, setSpan] = useState([0, 40]);
  useEffect(() => {
    const element = box.current;
    const measure = () => {
      const first = Math.max(0, Math.floor(element.scrollTop / height) - MARGIN);
      const last = Math.ceil((element.scrollTop + element.clientHeight) / height) + MARGIN;
      setSpan((before) => (before[0] === first && before[1] === last ? before : [first, last]));
      onScrolled?.(element);
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    measure();
    return () => { observer.disconnect(); element.removeEventListener("scroll", measure); };
  }, [height, count]);
  useEffect(() => { if (scrollTo !== undefined) box.current.scrollTop = scrollTo * height; }, [scrollTo, count]);
  const [first, last] = [span[0], Math.min(count, span[1])];
  const rows = [];
  for (let i = first; i < last; i += 1) rows.push(render(i));
  return html`<div class=${`virtual ${className}`} ref=${box} role="table" aria-label=${label} aria-rowcount=${count + 1} aria-colcount=${columns} tabindex="0">
    ${head}
    <div role="rowgroup" class="virtual-body" style=${{ height: `${count * height}px` }}>
      <div style=${{ transform: `translateY(${first * height}px)` }} class="virtual-window">${rows}</div>
    </div>
  </div>`;
}
