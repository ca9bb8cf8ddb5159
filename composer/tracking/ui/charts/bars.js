// Bars side by side down the page, so that names can be read.
import { html } from "../lib/html.js";
import { Canvas } from "./canvas.js";
import { line } from "./frame.js";
import { withAlpha } from "../lib/colours.js";
import { formatNumber } from "../lib/format.js";
import { linear, ticks, tickText } from "../lib/scale.js";

const ROW = 26;
const MOST = 200;
const NAMES = 190;

// `bars` are {id, label, colour, value, half}.
export function Bars({ bars, label, highlighted }) {
  const shown = bars.slice(0, MOST);
  const draw = (context, width, height, colours) => {
    const ends = shown.flatMap((bar) => [bar.value, bar.value + (bar.half || 0), bar.value - (bar.half || 0)]);
    const names = Math.min(NAMES, width * 0.4);
    const x = linear(Math.min(0, ...ends), Math.max(0, ...ends), names, width - 70);
    const marks = ticks(x.low, x.high, Math.max(2, (width - names) / 110));
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    tickText("number", marks).forEach((text, i) => {
      context.strokeStyle = colours.grid;
      line(context, x.at(marks[i]), 4, x.at(marks[i]), height - 18);
      context.fillStyle = colours.soft;
      context.fillText(text, x.at(marks[i]), height - 4);
    });
    context.textBaseline = "middle";
    shown.forEach((bar, i) => {
      const y = 8 + i * ROW;
      const isFaint = highlighted !== null && highlighted !== bar.id;
      context.fillStyle = isFaint ? withAlpha(bar.colour, 0.35) : bar.colour;
      context.fillRect(Math.min(x.at(0), x.at(bar.value)), y, Math.abs(x.at(bar.value) - x.at(0)), ROW - 10);
      if (bar.half > 0) {
        context.strokeStyle = colours.ink;
        line(context, x.at(bar.value - bar.half), y + 8, x.at(bar.value + bar.half), y + 8);
      }
      context.fillStyle = colours.ink;
      context.textAlign = "right";
      context.fillText(bar.label, names - 8, y + 8, names - 12);
      context.textAlign = "left";
      context.fillText(formatNumber(bar.value), Math.max(x.at(bar.value), x.at(bar.value + (bar.half || 0)), x.at(0)) + 6, y + 8);
    });
  };
  const height = 8 + shown.length * ROW + 22;
  return html`<div style=${{ height: `${height}px` }} class="bars"><${Canvas} draw=${draw} deps=${[shown, highlighted]} label=${`${label}: ${shown.map((bar) => `${bar.label} ${formatNumber(bar.value)}`).join(", ").slice(0, 2000)}`} /></div>
    ${bars.length > MOST && html`<p class="hint">The first ${MOST} of ${bars.length} are shown.</p>`}`;
}
