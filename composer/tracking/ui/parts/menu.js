// A button that opens a small panel beside it. The browser closes it on Escape or a click elsewhere.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { Icon } from "./icon.js";

const GAP = 4;

export function Menu({ icon, text, label, children, className = "", badge }) {
  const button = useRef();
  const panel = useRef();
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    const onToggle = (event) => setOpen(event.newState === "open");
    panel.current.addEventListener("toggle", onToggle);
    return () => panel.current?.removeEventListener("toggle", onToggle);
  }, []);
  useEffect(() => { if (isOpen) place(button.current, panel.current); });
  const toggle = () => { if (isOpen) panel.current.hidePopover(); else { panel.current.showPopover(); place(button.current, panel.current); } };
  const close = () => panel.current?.hidePopover();
  return html`<span class=${`menu ${className}`}>
    <button type="button" ref=${button} class=${text ? "button" : "icon-button"} aria-haspopup="dialog" aria-expanded=${String(isOpen)} aria-label=${label} title=${label} onClick=${toggle}>
      ${icon && html`<${Icon} name=${icon} />`}${text}${badge ? html`<span class="badge">${badge}</span>` : null}
    </button>
    <div ref=${panel} popover="auto" class="popover" role="dialog" aria-label=${label}>${isOpen && (typeof children === "function" ? children(close) : children)}</div>
  </span>`;
}

function place(button, panel) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
  const below = at.bottom + GAP;
  const top = below + height > innerHeight - 8 && at.top > height + GAP ? at.top - height - GAP : below;
  panel.style.left = `${left}px`;
  panel.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
}

export const MenuItem = ({ icon, onClick, children, checked, danger }) => html`<button type="button" class=${`menu-item ${danger ? "danger" : ""}`} onClick=${onClick} aria-pressed=${checked === undefined ? undefined : String(Boolean(checked))}>
  ${checked !== undefined ? html`<span class="menu-check">${checked ? html`<${Icon} name="check" size="14" />` : null}</span>` : icon && html`<${Icon} name=${icon} />`}<span>${children}</span>
</button>`;
