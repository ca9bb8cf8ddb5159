// What every chart stands in: a canvas as sharp as the screen, axes with ticks, and the theme's colours.
import { linear, logarithmic, logTicks, ticks, tickText, timeTicks } from "../lib/scale.js";

const FONT = "11px system-ui, sans-serif";
const EDGE = { left: 12, right: 12, top: 8, bottom: 22 };

export function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: named("ink"), soft: named("ink-soft"), faint: named("ink-faint"), grid: named("grid"), paper: named("paper"), accent: named("accent"), bad: named("bad") };
}

// Sizes a canvas to its box; returns its context in units of CSS pixels, and the box.
export function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// `x` and `y` are {low, high, isLog, kind, label}. Returns scales and the box that data may fill.
export function frame(context, width, height, x, y) {
  context.font = FONT;
  const yMarks = marks(y, Math.max(2, Math.floor(height / 36)));
  const widest = Math.max(...yMarks.texts.map((text) => context.measureText(text).width), 10);
  const box = { left: Math.ceil(EDGE.left + widest), right: width - EDGE.right, top: EDGE.top, bottom: height - EDGE.bottom - (x.label ? 14 : 0) };
  const xMarks = marks(x, Math.max(2, Math.floor((box.right - box.left) / 76)));
  const scale = (axis, from, to) => (axis.isLog ? logarithmic : linear)(axis.low, axis.high, from, to);
  return { box, xMarks, yMarks, xAxis: x, yAxis: y, x: scale(x, box.left, box.right), y: scale(y, box.bottom, box.top) };
}

function marks({ low, high, isLog, kind = "number" }, count) {
  const timed = kind === "time" || kind === "duration";
  const offset = kind === "time" ? new Date(low * 1000).getTimezoneOffset() * 60 : 0;
  const values = isLog ? logTicks(low, high, count) : timed ? timeTicks(low, high, count, offset) : ticks(low, high, count);
  return { values, texts: tickText(kind, values) };
}

export function drawAxes(context, found, colours) {
  const { box, x, y } = found;
  context.font = FONT;
  context.lineWidth = 1;
  context.strokeStyle = colours.grid;
  context.fillStyle = colours.soft;
  context.textAlign = "right";
  context.textBaseline = "middle";
  found.yMarks.values.forEach((value, i) => {
    const at = Math.round(y.at(value)) + 0.5;
    if (!(at >= box.top - 1 && at <= box.bottom + 1)) return;
    line(context, box.left, at, box.right, at);
    context.fillText(found.yMarks.texts[i], box.left - 6, at);
  });
  context.textAlign = "center";
  context.textBaseline = "top";
  let taken = -Infinity;
  found.xMarks.values.forEach((value, i) => {
    const at = x.at(value);
    const half = context.measureText(found.xMarks.texts[i]).width / 2;
    if (!(at >= box.left - 1 && at <= box.right + 1) || at - half < taken + 8) return;
    taken = at + half;
    const end = Math.min(at, box.right + 10 - half);
    context.fillText(found.xMarks.texts[i], end, box.bottom + 6);
  });
  context.strokeStyle = colours.faint;
  line(context, box.left, box.bottom + 0.5, box.right, box.bottom + 0.5);
  if (found.xAxis.label) {
    context.fillStyle = colours.soft;
    context.textAlign = "right";
    context.fillText(found.xAxis.label, box.right, box.bottom + 20);
  }
  if (found.yAxis.label) {
    context.textAlign = "left";
    context.textBaseline = "top";
    context.fillText(found.yAxis.label, box.left + 4, box.top);
  }
}

export function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

export function clip(context, { left, right, top, bottom }, draw) {
  context.save();
  context.beginPath();
  context.rect(left, top - 4, right - left, bottom - top + 5);
  context.clip();
  draw();
  context.restore();
}
