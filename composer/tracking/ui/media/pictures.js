// Pictures with their masks and boxes.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { fileAddress, readFile } from "../api.js";
import { boxesOf, picturesOf } from "../lib/media.js";
import { bytesOf, colourAt, withAlpha } from "../lib/colours.js";
import { Dialog } from "../parts/dialog.js";

const MOST = 60;
const MASK_OPACITY = 0.45;

export function Pictures({ where, value }) {
  const [opened, setOpened] = useState(null);
  const pictures = picturesOf(value);
  return html`<div class="pictures">${pictures.slice(0, MOST).map((picture) => html`<${Picture} key=${picture.path} where=${where} picture=${picture} onOpen=${() => setOpened(picture)} />`)}
    ${pictures.length > MOST && html`<p class="hint">and ${pictures.length - MOST} more</p>`}
    ${opened && html`<${Dialog} wide title=${opened.caption || "Picture"} onClose=${() => setOpened(null)}><div class="picture-large"><${Picture} where=${where} picture=${opened} /></div></${Dialog}>`}</div>`;
}

export function Picture({ where, picture, onOpen, small }) {
  const overlay = useRef();
  const image = useRef();
  const [isReady, setReady] = useState(false);
  const [isPlain, setPlain] = useState(false);
  const hasMore = Object.keys(picture.masks ?? {}).length + Object.keys(picture.boxes ?? {}).length > 0;
  useEffect(() => {
    if (!isReady || !hasMore || !overlay.current) return undefined;
    let isCurrent = true;
    draw(overlay.current, image.current, where, picture, () => isCurrent).catch(() => {});
    return () => { isCurrent = false; };
  }, [isReady, picture, isPlain]);
  return html`<figure class=${small ? "picture is-small" : "picture"}>
    <div class="picture-frame"><img ref=${image} src=${fileAddress(where, picture.path)} alt=${picture.caption ?? ""} loading="lazy" decoding="async" onLoad=${() => setReady(true)} onClick=${onOpen} />
      ${hasMore && !isPlain && html`<canvas ref=${overlay} class="picture-over" />`}</div>
    ${(picture.caption || (hasMore && !small)) && html`<figcaption>${picture.caption}${hasMore && !small && html` <button type="button" class="link" aria-pressed=${String(!isPlain)} onClick=${() => setPlain(!isPlain)}>${isPlain ? "Show marks" : "Hide marks"}</button>`}</figcaption>`}
  </figure>`;
}

async function draw(canvas, image, where, picture, isCurrent) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const scale = Math.max(1, Math.min(4, 600 / Math.max(width, height)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (const mask of Object.values(picture.masks)) {
    const painted = await paintMask(fileAddress(where, mask.path));
    if (!isCurrent()) return;
    context.drawImage(painted, 0, 0, canvas.width, canvas.height);
  }
  for (const each of Object.values(picture.boxes)) {
    const file = await readFile(where, each.path);
    if (!isCurrent()) return;
    boxesOf(file, { width, height }).forEach((box) => drawBox(context, box, canvas));
  }
}

// Each class of a mask in a colour of its own; class 0 is what lies behind.
async function paintMask(address) {
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
    if (!colours.has(id)) colours.set(id, id === 0 ? [0, 0, 0, 0] : bytesOf(withAlpha(colourAt(id - 1, true), MASK_OPACITY)));
    pixels.data.set(colours.get(id), i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function drawBox(context, box, { width, height }) {
  const colour = colourAt(box.id, true);
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
