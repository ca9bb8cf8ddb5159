// Charts as files.
import { download, toCsv } from "../lib/csv.js";
import { themeColours } from "./frame.js";

const LEGEND_ROW = 18;
const HEAD = 30;

// The picture on the screen with its title and a legend.
export function downloadPng(title, { canvas, items }) {
  const ratio = canvas.width / canvas.clientWidth;
  const shown = items.slice(0, 30);
  const width = canvas.clientWidth;
  const height = HEAD + canvas.clientHeight + shown.length * LEGEND_ROW + 10;
  const page = document.createElement("canvas");
  page.width = width * ratio;
  page.height = height * ratio;
  const context = page.getContext("2d");
  const colours = themeColours();
  context.scale(ratio, ratio);
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, width, height);
  context.fillStyle = colours.ink;
  context.font = "600 14px system-ui, sans-serif";
  context.fillText(title, 12, 20);
  context.drawImage(canvas, 0, HEAD, width, canvas.clientHeight);
  context.font = "12px system-ui, sans-serif";
  shown.forEach((item, i) => {
    const y = HEAD + canvas.clientHeight + (i + 0.5) * LEGEND_ROW;
    context.fillStyle = item.colour;
    context.fillRect(12, y - 2, 14, 4);
    context.fillStyle = colours.ink;
    context.fillText(item.label, 32, y + 4, width - 44);
  });
  page.toBlob((blob) => download(`${title}.png`, blob));
}

export function downloadCsv(title, { items, view }) {
  const rows = items.flatMap(({ label, line }) => Array.from(line.x, (x, i) => [label, x, line.y[i], line.low[i], line.high[i]]));
  download(`${title}.csv`, toCsv(["run", (view.x ?? "_step").replace(/^_/, ""), "value", "low", "high"], rows));
}
