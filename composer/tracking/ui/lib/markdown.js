// The small part of Markdown that notes need, as elements and never as HTML text: headings, lists, code,
// quotes, bold, italics, links to the web. Anything else stays as it was written.
import { html } from "./html.js";

const INLINE = /(`[^`\n]+`)|\*\*([^*\n]+)\*\*|(?<![\w*])[*_]([^*_\n]+)[*_](?![\w*])|\[([^\]\n]{1,300})\]\(([^()\s]{1,2000})\)|(https?:\/\/[^\s<>()]{3,2000})/g;

export function Markdown({ text }) {
  return html`<div class="markdown">${blocks(String(text).slice(0, 200_000).split(/\r?\n/))}</div>`;
}

function blocks(lines) {
  const found = [];
  let i = 0;
  const until = (test) => { const start = i; while (i < lines.length && !test(lines[i])) i += 1; return lines.slice(start, i); };
  while (i < lines.length) {
    const line = lines[i];
    const heading = /^(#{1,4})\s+(.*)/.exec(line);
    if (!line.trim()) i += 1;
    else if (line.startsWith("```")) { i += 1; const code = until((each) => each.startsWith("```")); i += 1; found.push(html`<pre class="code">${code.join("\n")}</pre>`); }
    else if (heading) { i += 1; found.push(html`<p class=${`heading-${heading[1].length}`}>${inline(heading[2])}</p>`); }
    else if (/^>\s?/.test(line)) found.push(html`<blockquote>${blocks(until((each) => !/^>/.test(each)).map((each) => each.replace(/^>\s?/, "")))}</blockquote>`);
    else if (/^\s*[-*+]\s/.test(line)) found.push(html`<ul>${until((each) => !/^\s*[-*+]\s/.test(each)).map((each) => html`<li>${inline(each.replace(/^\s*[-*+]\s/, ""))}</li>`)}</ul>`);
    else if (/^\s*\d+[.)]\s/.test(line)) found.push(html`<ol>${until((each) => !/^\s*\d+[.)]\s/.test(each)).map((each) => html`<li>${inline(each.replace(/^\s*\d+[.)]\s/, ""))}</li>`)}</ol>`);
    else found.push(html`<p>${inline(until((each) => !each.trim() || /^(#{1,4}\s|>|```|\s*[-*+]\s|\s*\d+[.)]\s)/.test(each)).join("\n"))}</p>`);
  }
  return found;
}

function inline(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    found.push(text.slice(at, match.index));
    at = match.index + match[0].length;
    const [, code, bold, italic, label, target, bare] = match;
    if (code) found.push(html`<code>${code.slice(1, -1)}</code>`);
    else if (bold) found.push(html`<b>${bold}</b>`);
    else if (italic) found.push(html`<i>${italic}</i>`);
    else found.push(link(label ?? bare, target ?? bare, match[0]));
  }
  found.push(text.slice(at));
  return found;
}

// Only addresses of the web: no scripts, no data.
function link(label, target, written) {
  return /^https?:\/\//i.test(target) ? html`<a href=${target} target="_blank" rel="noopener noreferrer nofollow">${label}</a>` : written;
}
