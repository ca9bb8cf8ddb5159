// Pictures with their masks and boxes, and a legend of their classes in which each can be shown or not.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { fileAddress, readFile } from "../api.js";
import { boxesOf, isShownAtFirst, picturesOf } from "../lib/media.js";
import { bytesOf, colourAt, withAlpha } from "../lib/colours.js";
import { Dialog } from "../parts/dialog.js";
import { Dot } from "../parts/swatch.js";
import { setQuery } from "../state.js";

const MOST = 60;
const MASK_OPACITY = 0.45;

const classColour = (number) => colourAt(Math.max(0, number), true);

// `groups` are what `classesOf` found. Which classes are turned from how they are at first stands in the address.
export function Pictures({ where, value, name, groups = [], query }) {
  const [opened, setOpened] = useState(null);
  const pictures = picturesOf(value);
  const turned = query.all(`classes ${name}`);
  const shows = (group, number) => isShownAtFirst(group, number) !== turned.includes(`${group} ${number}`);
  const turn = (id) => setQuery({ [`classes ${name}`]: turned.includes(id) ? turned.filter((each) => each !== id) : [...turned, id] }, { replace: true });
  const shared = { where, shows, marks: turned.join() };
  return html`<div class="pictures">${pictures.slice(0, MOST).map((picture) => html`<${Picture} key=${picture.path} ...${shared} picture=${picture} onOpen=${() => setOpened(picture)} />`)}
    ${pictures.length > MOST && html`<p class="hint">and ${pictures.length - MOST} more</p>`}
    ${opened && html`<${Dialog} wide title=${opened.caption || "Picture"} onClose=${() => setOpened(null)}><div class="picture-large"><${Picture} ...${shared} picture=${opened} /></div></${Dialog}>`}</div>
    ${groups.map((group) => html`<${Classes} key=${group.id} group=${group} shows=${shows} onTurn=${turn} />`)}`;
}

function Classes({ group, shows, onTurn }) {
  return html`<div class="classes" role="group" aria-label=${`Classes of ${group.id}`}><span class="soft">${group.name}</span>${group.classes.map(([number, label]) => html`<button type="button" key=${number} class="class-toggle" aria-pressed=${String(shows(group.id, number))} onClick=${() => onTurn(`${group.id} ${number}`)}><${Dot} colour=${classColour(number)} hollow=${!shows(group.id, number)} />${label}</button>`)}</div>`;
}

// `shows(group, number)` says which classes are drawn; `marks` changes when that does.
export function Picture({ where, picture, onOpen, small, shows = isShownAtFirst, marks }) {
  const overlay = useRef();
  const image = useRef();
  const [isReady, setReady] = useState(false);
  const [isPlain, setPlain] = useState(false);
  const hasMore = Object.keys(picture.masks ?? {}).length + Object.keys(picture.boxes ?? {}).length > 0;
  useEffect(() => {
    if (!isReady || !hasMore || !overlay.current) return undefined;
    let isCurrent = true;
    draw(overlay.current, image.current, { where, picture, shows }, () => isCurrent).catch(() => {});
    return () => { isCurrent = false; };
  }, [isReady, picture, isPlain, marks]);
  return html`<figure class=${small ? "picture is-small" : "picture"}>
    <div class="picture-frame"><img ref=${image} src=${fileAddress(where, picture.path)} alt=${picture.caption ?? ""} loading="lazy" decoding="async" onLoad=${() => setReady(true)} onClick=${onOpen} />
      ${hasMore && !isPlain && html`<canvas ref=${overlay} class="picture-over" />`}</div>
    ${(picture.caption || (hasMore && !small)) && html`<figcaption>${picture.caption}${hasMore && !small && html` <button type="button" class="link" aria-pressed=${String(!isPlain)} onClick=${() => setPlain(!isPlain)}>${isPlain ? "Show marks" : "Hide marks"}</button>`}</figcaption>`}
  </figure>`;
}

async function draw(canvas, image, { where, picture, shows }, isCurrent) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const scale = Math.max(1, Math.min(4, 600 / Math.max(width, height)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (const [name, mask] of Object.entries(picture.masks)) {
    const painted = await paintMask(fileAddress(where, mask.path), (number) => shows(`mask ${name}`, number));
    if (!isCurrent()) return;
    context.drawImage(painted, 0, 0, canvas.width, canvas.height);
  }
  for (const [name, each] of Object.entries(picture.boxes)) {
    const file = await readFile(where, each.path);
    if (!isCurrent()) return;
    boxesOf(file, { width, height }).filter((box) => shows(`box ${name}`, box.id)).forEach((box) => drawBox(context, box, canvas));
  }
}

// Each class of a mask in a colour of its own.
async function paintMask(address, isShown) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Map();
  for (let i = 0; i < pixels.data.length; i += 4) {
    const id = pixels.data[i];
    if (!colours.has(id)) colours.set(id, isShown(id) ? bytesOf(withAlpha(classColour(id), MASK_OPACITY)) : [0, 0, 0, 0]);
    pixels.data.set(colours.get(id), i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function drawBox(context, box, { width, height }) {
  const colour = classColour(box.id);
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(box.x * width, box.y * height, box.width * width, box.height * height);
  if (!box.label) return;
  context.font = "12px system-ui, sans-serif";
  const y = Math.max(14, box.y * height);
  context.fillStyle = colour;
  context.fillRect(box.x * width - 1, y - 14, context.measureText(box.label).width + 8, 15);
  context.fillStyle = "#111";
  context.fillText(box.label, box.x * width + 3, y - 3);
}
