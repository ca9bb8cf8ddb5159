// Histograms over steps: a column per step, darker where more values were.
import { html, useMemo } from "../lib/html.js";
import { Canvas } from "../charts/canvas.js";
import { drawAxes, frame } from "../charts/frame.js";
import { withAlpha } from "../lib/colours.js";
import { histogramOf } from "../lib/media.js";

export function Heat({ values, colour, label }) {
  const columns = useMemo(() => values.map(({ step, value }) => ({ step, ...histogramOf(value) })).filter((each) => each.counts.length), [values]);
  const draw = (context, width, height, colours) => {
    if (!columns.length) return;
    const edges = columns.flatMap((column) => [column.edges[0], column.edges[column.edges.length - 1]]);
    const steps = columns.map((column) => column.step);
    const gap = columns.length > 1 ? (steps[steps.length - 1] - steps[0]) / (columns.length - 1) : 1;
    const found = frame(context, width, height, { low: steps[0] - gap / 2, high: steps[steps.length - 1] + gap / 2 }, { low: Math.min(...edges), high: Math.max(...edges) });
    drawAxes(context, found, colours);
    columns.forEach((column, i) => {
      const most = Math.max(...column.counts) || 1;
      const left = found.x.at(i ? (steps[i - 1] + column.step) / 2 : column.step - gap / 2);
      const right = found.x.at(i + 1 < columns.length ? (column.step + steps[i + 1]) / 2 : column.step + gap / 2);
      column.counts.forEach((count, bin) => {
        if (!count) return;
        context.fillStyle = withAlpha(colour, (0.08 + 0.92 * (count / most)).toFixed(3));
        const [bottom, top] = [found.y.at(column.edges[bin]), found.y.at(column.edges[bin + 1])];
        context.fillRect(left, top, Math.max(1, right - left + 0.5), Math.max(1, bottom - top + 0.5));
      });
    });
  };
  return html`<${Canvas} draw=${draw} deps=${[columns, colour]} label=${`${label}: histograms at ${columns.length} steps.`} />`;
}
