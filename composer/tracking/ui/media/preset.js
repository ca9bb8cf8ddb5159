// The client's ready-made custom charts, drawn from their tables.
import { html, useMemo } from "../lib/html.js";
import { Canvas } from "../charts/canvas.js";
import { Bars } from "../charts/bars.js";
import { Points, rangeOf } from "../charts/points.js";
import { drawAxes, frame } from "../charts/frame.js";
import { drawLines } from "../charts/draw_lines.js";
import { colourAt, withAlpha } from "../lib/colours.js";
import { presetData } from "../lib/presets.js";
import { formatNumber } from "../lib/format.js";
import { isDark } from "../state.js";
import { Dot } from "../parts/swatch.js";

export function Preset({ table, preset, colour }) {
  const data = useMemo(() => presetData(table, preset), [table, preset.kind, preset.x, preset.y]);
  const Kind = { lines: Lines, points: Scatter, bars: BarList, histogram: Histogram, matrix: Matrix }[preset.kind];
  return html`<figure class="preset"><figcaption class="panel-title">${preset.title}</figcaption><${Kind} data=${data} preset=${preset} colour=${colour} /></figure>`;
}

const colourOf = (i, series, colour) => (series.length === 1 ? colour : colourAt(i, isDark()));

function axes(series, preset) {
  const all = series.flatMap((each) => each.points);
  const [xs, ys] = [rangeOf(all.map(([x]) => x)), rangeOf(all.map(([, y]) => y))];
  return [{ low: xs[0], high: xs[1], label: preset.x }, { low: ys[0], high: ys[1], label: preset.y }];
}

function Lines({ data, preset, colour }) {
  const [x, y] = axes(data, preset);
  const items = data.map(({ points }, i) => {
    const sorted = [...points].sort((a, b) => a[0] - b[0]);
    const ys = Float64Array.from(sorted, (point) => point[1]);
    return { colour: colourOf(i, data, colour), line: { size: ys.length, isExact: true, x: Float64Array.from(sorted, (point) => point[0]), y: ys, low: ys, high: ys, odd: [] } };
  });
  const draw = (context, width, height, colours) => {
    const made = frame(context, width, height, x, y);
    drawAxes(context, made, colours);
    drawLines(context, made, items);
  };
  return html`<${Canvas} draw=${draw} deps=${[data, colour]} label=${`${preset.title}: ${data.length} lines`} />
    ${data.length > 1 && html`<p class="legend">${data.map(({ name }, i) => html`<span key=${name}><${Dot} colour=${items[i].colour} /> ${name}</span>`)}</p>`}`;
}

function Scatter({ data, preset, colour }) {
  const [x, y] = axes(data, preset);
  const points = useMemo(() => data.flatMap(({ points: list }) => list.map(([px, py], i) => ({ id: String(i), label: preset.title, colour, x: px, y: py }))), [data, colour]);
  return html`<${Points} points=${points} x=${x} y=${y} label=${`${preset.title}: ${points.length} points`} describePoint=${(point) => [`${preset.x}: ${formatNumber(point.x)}`, `${preset.y}: ${formatNumber(point.y)}`]} />`;
}

function BarList({ data, preset, colour }) {
  const bars = useMemo(() => data.map((bar, i) => ({ ...bar, id: String(i), colour, half: 0 })), [data, colour]);
  return html`<${Bars} bars=${bars} label=${preset.title} highlighted=${null} />`;
}

function Histogram({ data, preset, colour }) {
  const draw = (context, width, height, colours) => {
    if (!data.length) return;
    const made = frame(context, width, height, { low: data[0].from, high: data[data.length - 1].to, label: preset.y }, { low: 0, high: Math.max(...data.map((bin) => bin.value)) * 1.05 });
    drawAxes(context, made, colours);
    context.fillStyle = colour;
    for (const bin of data) context.fillRect(made.x.at(bin.from) + 0.5, made.y.at(bin.value), Math.max(1, made.x.at(bin.to) - made.x.at(bin.from) - 1), made.y.at(0) - made.y.at(bin.value));
  };
  return html`<${Canvas} draw=${draw} deps=${[data, colour]} label=${`${preset.title}: ${data.length} bins`} />`;
}

function Matrix({ data: { names, at }, preset, colour }) {
  const most = Math.max(1, ...names.flatMap((y) => names.map((x) => at(y, x))));
  return html`<div class="scroll"><table class="matrix"><caption>${preset.y} down, ${preset.x} across</caption><thead><tr><td />${names.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
    <tbody>${names.map((y) => html`<tr key=${y}><th scope="row">${y}</th>${names.map((x) => html`<td key=${x} style=${{ background: withAlpha(colour, (0.75 * at(y, x)) / most) }}>${formatNumber(at(y, x))}</td>`)}</tr>`)}</tbody></table></div>`;
}
