// Quality over cost, run by run, with where each passes the target.
import { html, useMemo, useRef } from "../lib/html.js";
import { Canvas } from "./canvas.js";
import { clip, drawAxes, frame, line } from "./frame.js";
import { drawLines } from "./draw_lines.js";
import { drawTarget, dragTarget } from "./target_line.js";
import { extent } from "../lib/lines.js";
import { meanLine } from "../lib/replicates.js";
import { padded } from "../lib/scale.js";

// More than these would hide the means.
const MOST_REPLICATES = 12;
const LABELS = { _runtime: "time since the start", _step: "steps" };

export function CostCurves({ rows, target, onTarget, quality, cost, unit, write, highlighted, isLogX, isLogY }) {
  const made = useRef();
  const drag = useRef(false);
  const items = useMemo(() => rows.map((row) => ({ ...row, line: row.lines.length > 1 ? meanLine(row.lines, row.lines.length / 2) : row.lines[0], replicates: row.lines.length > 1 && row.lines.length <= MOST_REPLICATES ? row.lines : [] })), [rows]);
  const found = useMemo(() => extent(rows.flatMap((row) => row.lines), -Infinity, Infinity, isLogX, isLogY), [rows, isLogX, isLogY]);
  if (!found) return null;
  const [y0, y1] = padded(Math.min(found.y0, target), Math.max(found.y1, target), isLogY);
  const draw = (context, width, height, colours) => {
    made.current = frame(context, width, height, { low: found.x0, high: found.x1, isLog: isLogX, kind: unit, label: LABELS[cost] ?? cost }, { low: y0, high: y1, isLog: isLogY });
    drawAxes(context, made.current, colours);
    const isOther = (item) => highlighted !== null && highlighted !== item.id && rows.some((row) => row.id === highlighted);
    drawLines(context, made.current, items.flatMap((item) => item.replicates.map((each) => ({ line: each, colour: item.colour, isFaint: true }))));
    drawLines(context, made.current, items.map((item) => ({ ...item, isFaint: isOther(item), isStrong: item.id === highlighted })));
    clip(context, made.current.box, () => {
      drawTarget(context, made.current, colours, target);
      for (const row of rows) drawCrossing(context, made.current, row, target, colours);
    });
  };
  const events = dragTarget(() => made.current, target, onTarget, drag);
  const label = `${quality} over cost. Target ${target}: ${rows.map((row) => `${row.label} ${row.reached ? write(row.toTarget.mean) : "not reached"}`).join(", ")}. Up and down arrows move the target.`;
  return html`<${Canvas} className="tall" draw=${draw} label=${label} deps=${[items, found, target, highlighted, isLogX, isLogY]} ...${events} />`;
}

function drawCrossing(context, { box, x, y }, { toTarget, reached, colour }, target, colours) {
  if (!reached) return;
  const [px, py] = [x.at(toTarget.mean), y.at(target)];
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.setLineDash([2, 3]);
  line(context, px, py, px, box.bottom);
  context.setLineDash([]);
  context.fillStyle = colour;
  context.strokeStyle = colours.paper;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(px, py, 5, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
}
