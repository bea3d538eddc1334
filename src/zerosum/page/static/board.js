"use strict";

/* What the game looks like, moment by moment: frames of a game that is played, or of recorded ones. `live.js`
 * asks for a step by `showFrame`; a frame holds only what is not as in the one before. */
const MOST = 600;
const unfolded = frames => {
  let whole = {};
  return frames.map(frame => whole = { ...whole, ...frame });
};
const played = Boolean(find("[data-do]"));
const films = recorded ? recorded.films.map(unfolded) : played ? [
  []
] : runs.map(() => []);
let film = films.find(one => one.length) ?? films[0],
  latest = {},
  now = null,
  strokes = null;

const linked = Number(location.hash.match(/[#&]film=(\d+)/)?.[1] ?? -1);
const layer = name => find(`[data-layer="${name}"]`).checked;

function frame(message) {
  latest = { ...latest, ...message };
  if (latest.runs !== runs.length) {
    reload();
    return;
  }
  if (latest.kind) {
    if (latest.step < film.at(-1)?.step) film.length = 0;
    if (film.at(-1)?.step === latest.step) film.pop();
    film.push(latest);
    if (film.length > MOST) film.splice(0, film.length, ...film.filter((_, i) => i % 2 === 0 || i === film.length - 1));
  }
  draw(drawLatest);
}

function drawLatest() {
  drawTime();
  steer();
}

function showFrame(step, follow) {
  const before = film.findLast(one => one.step <= step) ?? film[0];
  const next = follow || step === undefined ? film.at(-1) ?? null : before;
  if (next === now && next) return;
  now = next;
  paint();
}

/* Of runs that are only looked at: what they keep, asked for anew when there is more. */
async function refilm(index) {
  if (recorded || played) return;
  const frames = await fetch(`film/${index}.json`).then(answer => answer.ok ? answer.json() : []).catch(() => []);
  if (!frames.length) return; // of no such run, of one that keeps nothing, or the server has gone
  const chosen = films.indexOf(film) === index || !film.length || linked === index;
  films[index] = unfolded(frames);
  find("#game").hidden = false;
  if (chosen) film = films[index];
  if (chosen && find("#film")) find("#film").value = String(index);
  drawTime();
}

function choose(index) {
  if (!films[index]?.length) return;
  film = films[index];
  if (find("#film")) find("#film").value = String(index);
  for (const button of document.querySelectorAll("[data-film]")) button.setAttribute("aria-pressed", button.dataset.film === String(index));
  drawTime();
  remember();
}

/* The plane: D as colours, points, arrows, and the sheet of noise as G folds it. */
const colours = () => ({ real: colour("--c3"), fake: colour("--c2"), sheet: colour("--c5"), soft: colour("--soft"), text: colour("--text") });

const levels_of = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));

function surface(canvas, text) {
  const bytes = levels_of(text),
    side = Math.round(Math.sqrt(bytes.length)),
    small = new OffscreenCanvas(side, side),
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
    best = find("#best");
  for (const one of [canvas, best]) one.getContext("2d").clearRect(0, 0, one.width, one.height);
  if (layer("surface") && now.surface.length) surface(canvas, now.surface);
  if (now.best?.length) surface(best, now.best);
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
    said = now.surface;
  ink.clearRect(0, 0, canvas.width, canvas.height);
  const highest = values => Math.max(...values ?? [1]);
  const top = Math.min(Math.max(highest(now.p_data), highest(now.p_g)), 3 * highest(now.p_data)); // of a narrow p_g the peak is cut off
  const curve = (values, scale, stroke) => {
    ink.strokeStyle = stroke;
    ink.lineWidth = 3;
    ink.beginPath();
    [...values].forEach((value, i) => ink[i ? "lineTo" : "moveTo"](i / (values.length - 1) * canvas.width, canvas.height * (0.96 - 0.9 * value / scale)));
    ink.stroke();
  };
  if (layer("surface")) curve(said, 1, colour("--c1"));
  if (now.best?.length) curve(now.best, 1, style.soft);
  if (now.p_data && layer("real")) curve(now.p_data, top, style.real);
  if (now.p_g && layer("fake")) curve(now.p_g, top, style.fake);
  for (const [name, places, y] of [
      ["real", now.real, 0.975],
      ["fake", now.fake, 0.99]
    ]) {
    ink.fillStyle = style[name];
    for (const x of layer(name) ? places : []) ink.fillRect(x / 1000 * canvas.width - 1, y * canvas.height - 5, 2, 9);
  }
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
  line: "Green: p_data; orange: p_g, estimated; blue: D; grey: the best D; below, real and generated points.",
  bare: "Blue: D over x; below, the real points and the generated ones.",
  classes: "Real points are green, generated ones orange. This D judges each with its class: of a place alone it says nothing.",
  images: "What G makes of a fixed grid of noise.",
};

function paint() {
  if (strokes) return;
  for (const output of document.querySelectorAll("[data-number]")) output.value = number(now?.numbers?.[output.dataset.number], output.dataset.number.endsWith("_error") ? 2 : 4);
  if (!now?.kind) return;
  find("#plane-title").textContent = now.kind === "images" ? "What G makes" : "D, and the players' points";
  const caption = now.surface?.length === 0 ? "classes" : now.kind === "line" && !now.p_g ? "bare" : now.kind;
  find("#plane-caption").textContent = (CAPTIONS[caption] ?? "Vectors are not looked at one by one.") + (now.centred ? " This D only compares: it is centred between what it says of real and of generated points." : "");
  find("#pictures").classList.toggle("plots", now.kind === "plane" || now.kind === "line");
  find("#best-panel").hidden = now.kind !== "plane" || !now.best?.length;
  find("#closer").hidden = !now.walk;
  for (const name of ["arrows", "sheet"]) find(`[data-layer=${name}]`).parentElement.hidden = now.kind !== "plane";
  find(".layers").hidden = now.kind === "images" || now.kind === "none";
  if (now.kind === "plane") plane();
  else if (now.kind === "line") line();
  else if (now.kind === "images") images();
  if (now.walk) closer();
  path();
}

/* The path of (D(x), D(G(z))); of players that are a number each, of the two numbers. */
function path() {
  const canvas = find("#pair"),
    ink = canvas.getContext("2d"),
    size = canvas.width,
    style = colours();
  const places = film.filter(one => one.step <= now.step).map(one => one.players ?? one.pair).filter(Boolean);
  const shown = places.length > 0;
  for (const one of [canvas, find("#pair-title")]) one.hidden = !shown;
  if (!shown) return;
  const reach = now.players ? 1.1 * Math.max(...film.flatMap(one => one.players ?? []).map(Math.abs), 1e-9) : 0;
  const place = value => reach ? (value / reach + 1) / 2 * size : value * size;
  find("#pair-title").textContent = reach ? "G's number θ, and D's number ψ" : "D(x) against D(G(z))";
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
  ink.lineWidth = 1.5;
  ink.beginPath();
  places.forEach(([x, y], i) => ink[i ? "lineTo" : "moveTo"](place(x), size - place(y)));
  ink.stroke();
  const [x, y] = places.at(-1);
  ink.fillStyle = style.text;
  ink.beginPath();
  ink.arc(place(x), size - place(y), 5, 0, 7);
  ink.fill();
}

/* A closer look at images: a square of noise to be dragged through, and three rows of samples. */
let spot = [0, 0];

function closer() {
  for (const name of ["nearest", "most", "least"])
    if (find("#" + name).getAttribute("src") !== now[name]) find("#" + name).src = now[name];
  const canvas = find("#walk"),
    ink = canvas.getContext("2d"),
    sheet = new Image(),
    count = now.along;
  sheet.onload = () => {
    const side = sheet.width / count,
      [x, y] = spot.map(share => Math.min(Math.floor(share * count), count - 1));
    ink.imageSmoothingEnabled = false;
    ink.drawImage(sheet, x * side, y * side, side, side, 0, 0, canvas.width, canvas.height);
    canvas.dataset.at = `${x} ${y}`;
  };
  sheet.src = now.walk;
}

find("#walk").addEventListener("pointermove", event => {
  const place = event.target.getBoundingClientRect();
  spot = [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height].map(share => Math.min(Math.max(share, 0), 0.999));
  if (now?.walk) closer();
});
find("#walk").addEventListener("keydown", event => {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] } [event.key] ?? [];
  if (x === undefined || !now?.walk) return;
  spot = [spot[0] + x / now.along, spot[1] + y / now.along].map(share => Math.min(Math.max(share, 0), 0.999));
  closer();
  event.preventDefault();
});

for (const box of document.querySelectorAll("[data-layer]")) {
  if (find("#stop")) box.checked = find("#stop").dataset.layers.split(" ").includes(box.dataset.layer);
  box.addEventListener("change", paint);
}
for (const button of document.querySelectorAll("[data-film]")) button.addEventListener("click", () => choose(Number(button.dataset.film)));
find("#film")?.addEventListener("change", event => choose(Number(event.target.value)));
choose(linked);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
drawTime();
