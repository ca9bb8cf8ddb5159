// One colour per run, the same everywhere and for ever: it follows from the run's place in its project,
// which never changes. Neighbours in time get hues far apart; a view may give a run another one.
const HUES = [255, 45, 150, 345, 195, 85, 300, 225, 120];
const TURN = 137.508;

export const PALETTE = HUES.map((_, place) => place);

function hueOf(place) {
  return place < HUES.length ? HUES[place] : (HUES[place % HUES.length] + TURN * Math.floor(place / HUES.length)) % 360;
}

// `place` counts from 0. The two themes need different lightness for the same contrast.
export function colourAt(place, isDark) {
  const round = Math.floor(place / HUES.length) % 3;
  const lightness = (isDark ? 0.74 : 0.58) + [0, 0.07, -0.08][round];
  return `oklch(${lightness.toFixed(2)} 0.15 ${hueOf(place).toFixed(1)})`;
}

export function colourOf(run, isDark, chosen = {}) {
  return colourAt(chosen[run.name] ?? Math.max(0, (run.ordinal ?? run.id) - 1), isDark);
}

export const withAlpha = (colour, alpha) => colour.replace(")", ` / ${alpha})`);

// A colour as four bytes, whatever way it is written.
export function bytesOf(colour) {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}
