"use strict";

/* The game in the page's hands. `live.js` gives frames to `frame` and orders to `say`. */
const layer = name => find(`[data-layer="${name}"]`).checked;
const order = (what, more = {}) => say({ do: what, ...more });
let now = null,
  strokes = null,
  trail = [];

function frame(message) {
  if (message.runs !== runs.length) {
    reload();
    return;
  }
  if (now && message.step < now.step) trail = [];
  now = message.kind === undefined && now ? { ...now, ...message } : message;
  if (now.pair && (!trail.length || trail.at(-1)[2] !== now.step)) trail.push([...now.pair, now.step]);
  if (trail.length > 2000) trail = trail.filter((_, i) => i % 2 === 0);
  find("#turn").value = (now.step ?? 0).toLocaleString("en");
  find("#mode").value = { play: "playing", pause: "paused", slow: "in slow motion" } [now.mode] ?? now.mode;
  find("#note").value = now.note ?? "";
  for (const item of document.querySelectorAll("#algorithm li")) item.classList.toggle("lit", item.dataset.half === now.half && now.mode !== "play" && now.step > 0);
  fields();
  paint();
}

/* The plane: D as colours, points, arrows, and the sheet of noise as G folds it. */
const colours = () => ({ real: colour("--c3"), fake: colour("--c2"), sheet: colour("--c5"), soft: colour("--soft"), text: colour("--text") });

function surface(canvas, bytes, side) {
  const small = new OffscreenCanvas(side, side),
    pen = small.getContext("2d"),
    pixels = pen.createImageData(side, side);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches,
    middle = dark ? 30 : 250;
  for (let i = 0; i < bytes.length; i++) {
    const x = Math.floor(i / side),
      y = side - 1 - i % side,
      at = 4 * (y * side + x);
    const share = bytes[i] / 127.5 - 1,
      strength = Math.abs(share) * 0.65,
      full = share > 0 ? [0, 128, 92] : [213, 94, 0];
    for (let c = 0; c < 3; c++) pixels.data[at + c] = middle + (full[c] - middle) * strength;
    pixels.data[at + 3] = 255;
  }
  pen.putImageData(pixels, 0, 0);
  const ink = canvas.getContext("2d");
  ink.imageSmoothingEnabled = true;
  ink.drawImage(small, 0, 0, canvas.width, canvas.height);
}

const at = (canvas, flat, i) => [flat[2 * i] / 1000 * canvas.width, canvas.height - flat[2 * i + 1] / 1000 * canvas.height];

function dots(canvas, flat, style) {
  const ink = canvas.getContext("2d");
  ink.fillStyle = style;
  for (let i = 0; i < flat.length / 2; i++) {
    const [x, y] = at(canvas, flat, i);
    ink.fillRect(x - 2, y - 2, 4, 4);
  }
}

function lines(canvas, flat, count, style) {
  const ink = canvas.getContext("2d");
  ink.strokeStyle = style;
  ink.lineWidth = 1;
  ink.beginPath();
  for (let i = 0; i < flat.length / 2; i++) {
    const [x, y] = at(canvas, flat, i);
    if (i % count) ink.lineTo(x, y);
    else ink.moveTo(x, y);
  }
  ink.stroke();
}

function plane() {
  const style = colours(),
    canvas = find("#plane"),
    best = find("#best"),
    side = Math.round(Math.sqrt(now.surface.length));
  for (const one of [canvas, best]) one.getContext("2d").clearRect(0, 0, one.width, one.height);
  if (layer("surface")) surface(canvas, now.surface, side);
  if (now.best?.length) surface(best, now.best, side);
  for (const one of now.best?.length ? [canvas, best] : [canvas]) {
    if (layer("real")) dots(one, now.real, style.real);
    if (layer("fake")) dots(one, now.fake, style.fake);
  }
  if (layer("sheet")) lines(canvas, now.sheet, now.along, style.sheet);
  if (layer("arrows")) lines(canvas, now.arrows, 2, style.text);
}

/* Points on the line: the densities and D over x, as in Figure 1 of the paper. */
function line() {
  const style = colours(),
    canvas = find("#plane"),
    ink = canvas.getContext("2d"),
    n = now.surface.length;
  ink.clearRect(0, 0, canvas.width, canvas.height);
  const top = Math.max(...now.p_data ?? [1], ...now.p_g ?? [1]);
  const curve = (values, scale, stroke) => {
    ink.strokeStyle = stroke;
    ink.lineWidth = 3;
    ink.beginPath();
    values.forEach((value, i) => ink[i ? "lineTo" : "moveTo"](i / (n - 1) * canvas.width, canvas.height * (0.96 - 0.9 * value / scale)));
    ink.stroke();
  };
  if (layer("surface")) curve(now.surface, 255, colour("--c1"));
  if (now.best?.length) curve(now.best, 255, style.soft);
  if (now.p_data && layer("real")) curve(now.p_data, top, style.real);
  if (now.p_g && layer("fake")) curve(now.p_g, top, style.fake);
}

function images() {
  const canvas = find("#plane"),
    picture = new Image();
  picture.onload = () => {
    const ink = canvas.getContext("2d");
    ink.imageSmoothingEnabled = picture.width > canvas.width;
    ink.drawImage(picture, 0, 0, canvas.width, canvas.height);
  };
  picture.src = now.image;
}

const CAPTIONS = {
  plane: "Green: D takes a place for real; orange: for generated. Real points are green, generated ones orange.",
  line: "Green: p_data; orange: p_g, estimated; blue: D; grey: the best D.",
  images: "What G makes of a fixed grid of noise.",
};

function paint() {
  if (!now?.kind || strokes) return;
  find("#plane-caption").textContent = (CAPTIONS[now.kind] ?? "Vectors are not looked at one by one.") + (now.centred ? " This D only compares: it is centred between what it says of real and of generated points." : "");
  find("#best-panel").hidden = now.kind !== "plane" || !now.best?.length;
  find("#jsd").value = number(now.jsd);
  if (now.kind === "plane") plane();
  else if (now.kind === "line") line();
  else if (now.kind === "images") images();
  pair();
}

function pair() {
  const canvas = find("#pair"),
    ink = canvas.getContext("2d"),
    size = canvas.width,
    style = colours();
  ink.clearRect(0, 0, size, size);
  ink.strokeStyle = style.soft;
  ink.setLineDash([2, 4]);
  ink.strokeRect(0.5, 0.5, size - 1, size - 1);
  ink.beginPath();
  ink.moveTo(size / 2, 0);
  ink.lineTo(size / 2, size);
  ink.moveTo(0, size / 2);
  ink.lineTo(size, size / 2);
  ink.stroke();
  ink.setLineDash([]);
  ink.strokeStyle = colour("--c1");
  ink.beginPath();
  trail.forEach(([real, fake], i) => ink[i ? "lineTo" : "moveTo"](real * size, size - fake * size));
  ink.stroke();
  const last = trail.at(-1);
  if (last) {
    ink.fillStyle = style.text;
    ink.beginPath();
    ink.arc(last[0] * size, size - last[1] * size, 5, 0, 7);
    ink.fill();
  }
}

/* Orders */

const form = find("#change");

function fields() {
  const paths = (now.fields ?? []).map(field => field.path),
    select = form.elements.path;
  if (JSON.stringify([...select.options].map(option => option.value)) !== JSON.stringify(paths)) {
    const before = select.value;
    select.replaceChildren(...paths.map(path => element("option", path)));
    select.value = paths.includes(before) ? before : paths.find(path => path.startsWith("g_optimizer") && path.endsWith("lr")) ?? paths[0];
    value();
  }
  const steps = now.steps ?? [],
    kept = form.elements.step;
  if (kept.options.length !== steps.length || kept.options[kept.options.length - 1]?.value !== String(steps.at(-1))) kept.replaceChildren(...steps.map(step => element("option", String(step))));
}

function value() {
  const field = (now.fields ?? []).find(one => one.path === form.elements.path.value);
  form.elements.value.value = field ? String(field.value) : "";
  find("#choices").replaceChildren(...(field?.choices ?? []).map(choice => element("option", choice)));
}

function read(text) {
  if (text === "true" || text === "false") return text === "true";
  return text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

form.elements.path.addEventListener("change", value);
form.addEventListener("submit", event => {
  event.preventDefault();
  const wanted = {
    [form.elements.path.value]: read(form.elements.value.value)
  };
  if (event.submitter?.name === "fork") order("fork", { step: Number(form.elements.step.value), fields: wanted });
  else order("change", { fields: wanted });
});
find("#break").addEventListener("submit", event => {
  event.preventDefault();
  order("change", { fields: JSON.parse(event.target.elements.how.value) });
});
find("#begin").addEventListener("submit", event => {
  event.preventDefault();
  order("begin", { recipe: event.target.elements.recipe.value });
});
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => order(button.dataset.do));
for (const box of document.querySelectorAll("[data-layer]")) box.addEventListener("change", paint);

/* Drawing data: strokes on the plane become points, about each of which a few more lie. */
const board = find("#plane"),
  drawing = find("#draw");

drawing.addEventListener("click", () => {
  if (!strokes) {
    strokes = [];
    drawing.textContent = "Play with these points";
    drawing.setAttribute("aria-pressed", "true");
    board.getContext("2d").clearRect(0, 0, board.width, board.height);
    find("#plane-caption").textContent = "Draw with the pointer: each stroke becomes data.";
    order("pause");
    board.scrollIntoView({ block: "center" });
    return;
  }
  const points = strokes;
  strokes = null;
  drawing.textContent = "Draw the data";
  drawing.setAttribute("aria-pressed", "false");
  if (points.length) order("draw", { points });
  paint();
});
board.addEventListener("pointermove", event => {
  if (!strokes || !event.buttons || strokes.length >= 2900) return;
  const frame = board.getBoundingClientRect(),
    ink = board.getContext("2d");
  const x = (event.clientX - frame.left) / frame.width,
    y = (event.clientY - frame.top) / frame.height;
  for (let i = 0; i < 6; i++) {
    const [a, b] = [x, y].map(share => share + 0.012 * (Math.random() + Math.random() - 1));
    strokes.push([Number((2.4 * a - 1.2).toFixed(3)), Number((1.2 - 2.4 * b).toFixed(3))]);
    ink.fillStyle = colour("--c3");
    ink.fillRect(a * board.width - 2, b * board.height - 2, 4, 4);
  }
});
