// The colour of a run or group: a dot that opens the palette.
import { html } from "../lib/html.js";
import { colourAt, PALETTE } from "../lib/colours.js";
import { isDark, setQuery } from "../state.js";
import { chosenColours } from "../view.js";

function choose(query, id, place) {
  const colours = chosenColours(query);
  if (place === null) delete colours[id]; else colours[id] = place;
  setQuery({ colour: Object.entries(colours).map(([key, value]) => `${key}:${value}`) });
}

export function Palette({ query, id, onDone }) {
  return html`<div class="palette" role="group" aria-label="Colour">
    ${PALETTE.map((place) => html`<button type="button" class="palette-dot" style=${{ background: colourAt(place, isDark()) }} aria-label=${`Colour ${place + 1}`} onClick=${() => { choose(query, id, place); onDone?.(); }} />`)}
    <button type="button" class="link" onClick=${() => { choose(query, id, null); onDone?.(); }}>Its own</button>
  </div>`;
}

export const Dot = ({ colour, hollow }) => html`<i class=${hollow ? "dot hollow" : "dot"} style=${hollow ? { borderColor: colour } : { background: colour }} />`;
