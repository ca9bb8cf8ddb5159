// Axes: where values lie in pixels, and which round values get a tick.
import { formatDuration, formatNumber } from "./format.js";

export function linear(low, high, from, to) {
  const slope = (to - from) / (high - low || 1);
  return { low, high, kind: "linear", at: (value) => from + (value - low) * slope, value: (pixel) => low + (pixel - from) / slope };
}

// Values that are not positive have no place; they are put outside, so that lines break there.
export function logarithmic(low, high, from, to) {
  const base = Math.log(low);
  const slope = (to - from) / (Math.log(high) - base || 1);
  return {
    low, high, kind: "log",
    at: (value) => (value > 0 ? from + (Math.log(value) - base) * slope : NaN),
    value: (pixel) => Math.exp(base + (pixel - from) / slope),
  };
}

// About `count` round numbers between two values.
export function ticks(low, high, count, steps = [1, 2, 2.5, 5, 10]) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = (steps.find((each) => each * power >= raw * 0.999) ?? 10) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

export function logTicks(low, high, count) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const every = Math.max(1, Math.ceil((last - first) / Math.max(1, count)));
  const found = [];
  for (let power = first; power <= last; power += every) {
    for (const digit of every === 1 && last - first <= count / 2 ? [1, 2, 5] : [1]) {
      const value = Number((digit * 10 ** power).toPrecision(12));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found.length > 1 ? found : ticks(low, high, count);
}

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000];

export function timeTicks(low, high, count, offset = 0) {
  const raw = (high - low) / Math.max(1, count);
  if (raw < 1) return ticks(low, high, count);
  const step = TIME_STEPS.find((each) => each >= raw) ?? Math.ceil(raw / 2592000) * 2592000;
  const found = [];
  for (let value = Math.ceil((low - offset) / step) * step + offset; value <= high; value += step) found.push(value);
  return found;
}

// How ticks of an axis are written. `kind` is "number", "duration" (seconds) or "time" (since 1970).
export function tickText(kind, values) {
  if (kind === "duration") return values.map((value) => (value === 0 ? "0" : formatDuration(value)));
  if (kind === "time") return values.map(clock);
  const step = values.length > 1 ? Math.abs(values[1] - values[0]) : 0;
  return values.map((value) => short(value, step));
}

function short(value, step) {
  const size = Math.abs(value);
  if (size >= 1e9 || (size !== 0 && size < 1e-4)) return formatNumber(value, 3);
  if (size >= 1e6) return `${formatNumber(value / 1e6, 4)}M`;
  if (size >= 1e4) return `${formatNumber(value / 1e3, 4)}k`;
  return formatNumber(value, step && size ? Math.max(2, Math.ceil(Math.log10(size / step)) + 2) : 4);
}

function clock(seconds) {
  const date = new Date(seconds * 1000);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
  if (isMidnight) return date.toLocaleDateString(undefined, { month: "short", day: "numeric" });
  const parts = { hour: "2-digit", minute: "2-digit" };
  if (date.getSeconds()) parts.second = "2-digit";
  return date.toLocaleTimeString(undefined, parts);
}

// A range with a little air around it, which a single value gets too.
export function padded(low, high, isLog, share = 0.05) {
  if (isLog) {
    const [a, b] = low === high ? [low / 2, high * 2] : [low, high];
    const air = (b / a) ** share;
    return [a / air, b * air];
  }
  if (low === high) return low === 0 ? [-1, 1] : [low - Math.abs(low) * 0.1, high + Math.abs(high) * 0.1];
  const air = (high - low) * share;
  return [low - air, high + air];
}
