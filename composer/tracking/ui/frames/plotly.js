// Draws figures of Plotly with its strict bundle, which makes no functions of text.
import "../vendor/plotly.js";
import { open } from "./door.js";

const { Plotly } = globalThis;
const SETTINGS = { responsive: true, displaylogo: false, showSendToCloud: false, showEditInChartStudio: false, plotlyServerURL: "", topojsonURL: "", modeBarButtonsToRemove: ["toImage", "sendDataToCloud"] };

open(async (element, { data, layout }, theme) => {
  await Plotly.newPlot(element, list(data), dressed(layout ?? {}, theme), SETTINGS);
  return { height: 0, notes: [], picture: () => Plotly.toImage(element, { format: "png", scale: 2 }) };
});

const list = (data) => (Array.isArray(data) ? data : []);

// The figure's own colours stay; what its template says for white paper gives way in the dark.
function dressed({ width, ...layout }, { ink, grid, paper, colours, isDark }) {
  const template = layout.template?.layout ?? {};
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid };
  const ours = { paper_bgcolor: paper, plot_bgcolor: paper, font: { ...template.font, color: ink }, xaxis: { ...template.xaxis, ...axis }, yaxis: { ...template.yaxis, ...axis } };
  const scene = Object.fromEntries(["xaxis", "yaxis", "zaxis"].map((name) => [name, { ...template.scene?.[name], ...axis, backgroundcolor: paper }]));
  const plain = { colorway: colours, ...template, paper_bgcolor: paper };
  return {
    margin: { l: 56, r: 16, t: layout.title ? 44 : 16, b: 44 }, ...layout, autosize: true,
    template: { ...layout.template, layout: isDark ? { ...plain, ...ours, scene: { ...template.scene, ...scene } } : plain },
  };
}
