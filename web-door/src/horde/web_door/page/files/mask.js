// A picture to begin with, and a mask that is drawn over it: white is painted anew.
import { $ } from "./words.js";

const picture = $("mask-picture");
const mask = $("mask");
let file = null; // The picture as it was chosen.
let chosen = 0; // Grows with every picture that is chosen.
let drawn = false;
let strokes = 0; // Grows with every change: what was sent is known again by it, without comparing pixels.
let at = null; // Where the brush is, in the picture's pixels.

const pen = mask.getContext("2d");

export const source = () => file;
export const sourceVersion = () => (file ? chosen : 0);
export const maskVersion = () => (drawn ? strokes : 0);

/** The mask as a PNG of the picture's size; null where nothing is drawn. */
export async function maskBlob() {
  if (!drawn) return null;
  const flat = new OffscreenCanvas(mask.width, mask.height);
  const into = flat.getContext("2d");
  into.fillStyle = "black";
  into.fillRect(0, 0, flat.width, flat.height);
  into.drawImage(mask, 0, 0);
  // What is drawn at all is drawn wholly: no worker guesses what half of white means.
  const pixels = into.getImageData(0, 0, flat.width, flat.height);
  for (let index = 0; index < pixels.data.length; index += 4) pixels.data.fill(pixels.data[index] > 127 ? 255 : 0, index, index + 3);
  into.putImageData(pixels, 0, 0);
  return flat.convertToBlob({ type: "image/png" });
}

export async function setSource(blob) {
  file = blob;
  chosen += 1;
  $("mask-box").hidden = !blob;
  if (blob) {
    const bitmap = await createImageBitmap(blob);
    for (const canvas of [picture, mask]) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    picture.getContext("2d").drawImage(bitmap, 0, 0);
    at = { x: bitmap.width / 2, y: bitmap.height / 2 };
    $("brush").value = Math.max(4, Math.round(Math.min(bitmap.width, bitmap.height) / 8));
  } else {
    $("source").value = "";
  }
  clear();
}

function clear() {
  pen.clearRect(0, 0, mask.width, mask.height);
  drawn = false;
  mask.setAttribute("aria-label", "Mask: nothing is drawn");
}

function stroke(to) {
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = "white";
  pen.lineWidth = Number($("brush").value);
  pen.beginPath();
  pen.moveTo(at.x, at.y);
  pen.lineTo(to.x + 0.01, to.y);
  pen.stroke();
  at = to;
  drawn = true;
  strokes += 1;
  mask.setAttribute("aria-label", "Mask: a part is to be painted anew");
}

function place(event) {
  const box = mask.getBoundingClientRect();
  return { x: ((event.clientX - box.left) * mask.width) / box.width, y: ((event.clientY - box.top) * mask.height) / box.height };
}

export function beginMask(changed) {
  $("source").addEventListener("change", async () => {
    await setSource($("source").files[0] ?? null);
    changed();
  });
  $("source-clear").addEventListener("click", async () => {
    await setSource(null);
    changed();
  });
  $("mask-clear").addEventListener("click", clear);
  mask.addEventListener("pointerdown", (event) => {
    mask.setPointerCapture(event.pointerId);
    at = place(event);
    stroke(at);
  });
  mask.addEventListener("pointermove", (event) => {
    if (event.buttons) stroke(place(event));
  });
  mask.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    const stride = Math.max(1, Number($("brush").value) / 2);
    const [x, y] = way ?? [0, 0];
    const to = { x: Math.min(mask.width, Math.max(0, at.x + x * stride)), y: Math.min(mask.height, Math.max(0, at.y + y * stride)) };
    if (event.key === " " || event.shiftKey) stroke(to);
    else at = to;
    mask.setAttribute("aria-label", `Mask: the brush is at ${Math.round(at.x)}, ${Math.round(at.y)}; ${drawn ? "a part is to be painted anew" : "nothing is drawn"}`);
  });
}
