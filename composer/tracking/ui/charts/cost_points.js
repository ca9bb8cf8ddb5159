// What was reached for how much, with the front that nobody beats in both.
import { html, useMemo, useRef } from "../lib/html.js";
import { Points, rangeOf } from "./points.js";
import { drawTarget, dragTarget } from "./target_line.js";
import { paretoFront } from "../lib/cost.js";
import { formatNumber } from "../lib/format.js";
import { go, projectPath } from "../state.js";

export function CostPoints({ rows, target, onTarget, isHigh, quality, cost, unit, write, isLogX, isLogY, where }) {
  const made = useRef();
  const drag = useRef(false);
  const { points, front } = useMemo(() => {
    const means = rows.map((row) => ({ id: row.id, label: row.label, colour: row.colour, x: row.cost.mean, y: row.quality.mean, dx: row.cost.sd, dy: row.quality.sd, row }));
    const each = rows.filter((row) => row.outcomes.length > 1).flatMap((row) => row.outcomes.map((found, i) => ({ id: `${row.id} ${i}`, label: row.label, colour: row.colour, x: found.cost, y: found.quality, small: true })));
    return { points: [...each, ...means], front: paretoFront(means, isHigh) };
  }, [rows, isHigh]);
  const xs = rangeOf(points.flatMap((point) => [point.x, point.x + (point.dx || 0), point.x - (point.dx || 0)]), isLogX);
  const ys = rangeOf([target, ...points.flatMap((point) => [point.y, point.y + (point.dy || 0), point.y - (point.dy || 0)])], isLogY);
  const under = (context, { box, x, y }, colours) => {
    if (!front.length) return;
    context.strokeStyle = colours.ink;
    context.globalAlpha = 0.45;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x.at(front[0].x), box.bottom);
    front.forEach((point, i) => {
      if (i) context.lineTo(x.at(point.x), y.at(front[i - 1].y));
      context.lineTo(x.at(point.x), y.at(point.y));
    });
    context.lineTo(box.right, y.at(front[front.length - 1].y));
    context.stroke();
    context.globalAlpha = 1;
  };
  const over = (context, found, colours) => {
    for (const point of front) {
      context.strokeStyle = colours.ink;
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(found.x.at(point.x), found.y.at(point.y), 9, 0, 2 * Math.PI);
      context.stroke();
    }
    drawTarget(context, found, colours, target);
  };
  const best = new Set(front.map((point) => point.id));
  const describePoint = (point) => [`${quality}: ${formatNumber(point.y)}${point.dy > 0 ? ` ± ${formatNumber(point.dy, 2)}` : ""}`, `cost: ${write(point.x)}`, ...(best.has(point.id) ? ["on the Pareto front"] : [])];
  return html`<${Points} className="tall" points=${points} x=${{ low: xs[0], high: xs[1], isLog: isLogX, kind: unit, label: cost === "_runtime" ? "time until then" : cost === "_step" ? "steps" : cost }} y=${{ low: ys[0], high: ys[1], isLog: isLogY }}
    under=${under} over=${over} deps=${[target, front]} describePoint=${describePoint} onFrame=${(found) => { made.current = found; }} events=${dragTarget(() => made.current, target, onTarget, drag)}
    label=${`${quality} against ${cost}. On the Pareto front: ${front.map((point) => point.label).join(", ")}.`} onPick=${(point) => where && point.row?.run && !drag.current && go(projectPath(where, "runs", point.row.run.name))} />`;
}
