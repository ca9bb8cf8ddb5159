// Small pictures, drawn as strokes in the colour of the text around them.
import { html } from "../lib/html.js";

const PATHS = {
  dots: "M5 12h.01M12 12h.01M19 12h.01",
  expand: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  close: "M6 6l12 12M18 6L6 18",
  down: "M6 9l6 6 6-6",
  right: "M9 6l6 6-6 6",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z",
  download: "M12 4v11M7 11l5 5 5-5M4 20h16",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  tag: "M3 12V4h8l10 10-8 8zM7.5 8h.01",
  edit: "M4 20h4L19 9l-4-4L4 16z",
  columns: "M4 4h16v16H4zM10 4v16M15 4v16",
  group: "M4 5h10M4 12h16M4 19h7",
  plus: "M12 5v14M5 12h14",
  check: "M5 13l5 5L20 7",
  stop: "M7 7h10v10H7z",
  bookmark: "M6 3h12v18l-6-4-6 4z",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M13 4v6M7 14v6",
  undo: "M8 5L4 9l4 4M4 9h10a6 6 0 0 1 0 12h-3",
};

export const Icon = ({ name, size = 16 }) => html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;

export const IconButton = ({ icon, label, ...rest }) => html`<button type="button" class="icon-button" title=${label} aria-label=${label} ...${rest}><${Icon} name=${icon} /></button>`;
