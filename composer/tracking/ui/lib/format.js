// Numbers, times and sizes as people read them.
const MINUS = "\u2212";

export function formatNumber(value, digits = 4) {
  if (typeof value !== "number") return String(value ?? "");
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : `${MINUS}∞`;
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return group(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-3)) {
    const [mantissa, power] = value.toExponential(digits - 1).split("e");
    return `${Number(mantissa)}e${Number(power)}`.replaceAll("-", MINUS);
  }
  return group(Number(value.toPrecision(Math.max(digits, Math.ceil(Math.log10(size + 1))))));
}

function group(value) {
  const [whole, rest] = String(value).split(".");
  const grouped = whole.length > 5 ? whole.replace(/\B(?=(\d{3})+$)/g, "\u202f") : whole;
  return (rest ? `${grouped}.${rest}` : grouped).replace("-", MINUS);
}

// Any value of a config or summary, short.
export function formatValue(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return formatNumber(value);
  if (typeof value === "boolean") return value ? "true" : "false";
  if (Array.isArray(value)) return value.length ? value.map(formatValue).join(", ") : "[]";
  if (typeof value === "object") return value._type ? `[${value._type}]` : JSON.stringify(value);
  return String(value);
}

export function formatDuration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const sign = seconds < 0 ? MINUS : "";
  const s = Math.abs(seconds);
  if (s < 60) return `${sign}${s < 10 ? Number(s.toPrecision(2)) : Math.round(s)}s`;
  const parts = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "m"], [Math.floor(s) % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  return sign + parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => count + unit).join(" ");
}

export function formatBytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = Number(bytes) || 0;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function formatTime(text) {
  const date = typeof text === "number" ? new Date(text * 1000) : new Date(text);
  if (Number.isNaN(date.getTime())) return "";
  return date.toLocaleString(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
}

export function formatAgo(text, now = Date.now()) {
  const seconds = (now - new Date(text).getTime()) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (seconds < 45) return "just now";
  const steps = [[60, "min"], [3600, "h"], [86400, "d"], [604800, "wk"], [2629800, "mo"], [31557600, "yr"]];
  const [size, unit] = steps.filter(([each]) => seconds >= each * 0.75).pop();
  return `${Math.max(1, Math.round(seconds / size))} ${unit} ago`;
}

export const plural = (count, word) => `${formatNumber(count)} ${word}${count === 1 ? "" : "s"}`;
