// Console lines with ANSI colours as pieces of text with class names. Everything else a terminal would
// obey (moving about, titles, links) is dropped.
const ESCAPE = /\u001b(?:\[([0-?]*)[ -/]*([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

// Returns [{text, className}].
export function parseAnsi(line) {
  if (!line.includes("\u001b")) return [{ text: line.replace(CONTROL, ""), className: "" }];
  const found = [];
  let style = {};
  let at = 0;
  const add = (text) => { if (text) found.push({ text: text.replace(CONTROL, ""), className: classOf(style) }); };
  for (const match of line.matchAll(ESCAPE)) {
    add(line.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[2] === "m") style = change(style, match[1]);
  }
  add(line.slice(at));
  return found;
}

function change(style, text) {
  const codes = text.split(";").map(Number);
  let found = { ...style };
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i];
    if (code === 0) found = {};
    else if (code === 1) found.bold = true;
    else if (code === 2) found.dim = true;
    else if (code === 3) found.italic = true;
    else if (code === 4) found.underline = true;
    else if (code === 22) found = { ...found, bold: false, dim: false };
    else if (code >= 30 && code <= 37) found.colour = NAMES[code - 30];
    else if (code >= 90 && code <= 97) found.colour = NAMES[code - 90];
    else if (code === 39) found.colour = undefined;
    else if (code === 38 || code === 48) {
      const colour = codes[i + 1] === 5 ? NAMES[codes[i + 2] % 8] : undefined;
      if (code === 38) found.colour = colour;
      i += codes[i + 1] === 5 ? 2 : 4;
    }
  }
  return found;
}

const classOf = ({ colour, bold, dim, italic, underline }) =>
  [colour && `ansi-${colour}`, bold && "ansi-bold", dim && "ansi-dim", italic && "ansi-italic", underline && "ansi-underline"].filter(Boolean).join(" ");

export const plainText = (line) => line.replace(ESCAPE, "").replace(CONTROL, "");
