"use strict";

/* The game in the page's hands: orders to it, which `live.js` says. */
const order = (what, more = {}) => say({ do: what, ...more });
let begun = false, // what this page's address asks for has been asked for
  expected = false; // and will come: the page is loaded anew then

function steer() {
  find("#turn").value = (latest.step ?? 0).toLocaleString("en");
  find("#mode").value = { play: "playing", pause: "paused", slow: "in slow motion" } [latest.mode] ?? latest.mode;
  find("#note").value = latest.note ?? "";
  for (const item of document.querySelectorAll("#algorithm li")) item.classList.toggle("lit", item.dataset.half === latest.half && latest.mode !== "play" && latest.step > 0);
  fields();
  addressed();
}

/* The address of this page says which game it is. One that was given is asked for, once; so is a stop. */
function addressed() {
  const wanted = location.hash.slice(1),
    stop = find("#stop")?.dataset.stop;
  if (!begun && latest.mode !== "starting") {
    begun = true;
    const asked = wanted.startsWith("recipe=") && wanted !== latest.address ? ["open", { address: wanted }] : stop && stop !== latest.address?.match(/^recipe=(\w+)/)?.[1] ? ["begin", { recipe: stop }] : null;
    if (asked) order(...asked);
    expected = Boolean(asked);
  }
  if (latest.note) expected = false;
  find("#address").textContent = `zerosum watch --play '#${latest.address}'`;
  find("#address").parentElement.hidden = !latest.address; // of drawn data
  if (latest.address && latest.mode === "pause" && latest.address !== wanted && begun && !expected) history.replaceState(null, "", "#" + latest.address);
}

/* Orders */

const form = find("#change");

function fields() {
  const paths = (latest.fields ?? []).map(field => field.path),
    select = form.elements.path;
  if (JSON.stringify([...select.options].map(option => option.value)) !== JSON.stringify(paths)) {
    const before = select.value;
    select.replaceChildren(...paths.map(path => element("option", path)));
    select.value = paths.includes(before) ? before : paths.find(path => path.startsWith("g_optimizer") && path.endsWith("lr")) ?? paths[0];
    value();
  }
  const steps = latest.steps ?? [],
    kept = form.elements.step;
  const before = kept.value;
  if (kept.options.length !== steps.length || kept.options[kept.options.length - 1]?.value !== String(steps.at(-1))) {
    kept.replaceChildren(...steps.map(step => element("option", String(step))));
    kept.value = steps.map(String).includes(before) && before !== kept.dataset.last ? before : String(steps.at(-1));
    kept.dataset.last = String(steps.at(-1));
  }
}

function value() {
  const field = (latest.fields ?? []).find(one => one.path === form.elements.path.value);
  form.elements.value.value = field ? String(field.value) : "";
  find("#choices").replaceChildren(...(field?.choices ?? []).map(choice => element("option", choice)));
}

function read(text) {
  if (text === "true" || text === "false") return text === "true";
  if (text.trim().startsWith("[")) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

form.elements.path.addEventListener("change", value);
form.addEventListener("submit", event => {
  event.preventDefault();
  const wanted = {
    [form.elements.path.value]: read(form.elements.value.value)
  };
  if (event.submitter?.name !== "fork") order("change", { fields: wanted });
  else {
    expected = true;
    history.replaceState(null, "", location.pathname + location.search); // the address is not the fork's
    order("fork", { step: Number(form.elements.step.value), fields: wanted });
  }
});
find("#break").addEventListener("submit", event => {
  event.preventDefault();
  order("change", { fields: JSON.parse(event.target.elements.how.value) });
});
find("#begin").addEventListener("submit", event => {
  event.preventDefault();
  const { recipe, seed, latent, prior } = event.target.elements, begun = {};
  if (Number(seed.value)) begun.seed = Number(seed.value);
  if (latent.value) begun.latent = Number(latent.value);
  if (prior.value) begun.prior = prior.value;
  leave({ recipe: recipe.value, fields: begun });
});
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => order(button.dataset.do));
for (const button of document.querySelectorAll("[data-change]")) button.addEventListener("click", () => order("change", { fields: JSON.parse(button.dataset.change) }));
for (const button of document.querySelectorAll("[data-begin]")) button.addEventListener("click", () => leave({ recipe: button.dataset.begin }));

/* Begin another game: the address of the old one goes, and with it, of another recipe, its stop. */
function leave(what) {
  history.replaceState(null, "", location.pathname + (find("#stop")?.dataset.stop === what.recipe ? location.search : ""));
  order("begin", what);
}

/* An advice, where it can be with a button that follows it. */
function advised({ text, fields }) {
  const line = element("li", "Try " + text + " ");
  if (!fields) return line;
  const button = element("button", "Follow it");
  button.type = "button";
  button.addEventListener("click", () => order("change", { fields }));
  line.append(button);
  return line;
}

/* Drawing data: strokes on the plane become points, about each of which a few more lie; so do heaps, put there
 * with the keys. */
const board = find("#plane"),
  drawing = find("#draw");
let pen = null;

function sketch() {
  const ink = board.getContext("2d"),
    { width, height } = board;
  ink.clearRect(0, 0, width, height);
  ink.fillStyle = colour("--c3");
  for (const [x, y] of strokes) ink.fillRect((x + 1.2) / 2.4 * width - 2, (1.2 - y) / 2.4 * height - 2, 4, 4);
  if (!pen) return;
  ink.fillStyle = colour("--text");
  ink.fillRect(pen[0] * width - 12, pen[1] * height - 1, 24, 2);
  ink.fillRect(pen[0] * width - 1, pen[1] * height - 12, 2, 24);
}

function put([x, y], count, wide) {
  for (let i = 0; i < count && strokes.length < 2900; i++) {
    const [a, b] = [x, y].map(share => share + wide * (Math.random() + Math.random() - 1));
    strokes.push([Number((2.4 * a - 1.2).toFixed(3)), Number((1.2 - 2.4 * b).toFixed(3))]);
  }
  sketch();
}

drawing.addEventListener("click", () => {
  if (!strokes) {
    strokes = [];
    pen = null;
    drawing.textContent = "Play with these points";
    drawing.setAttribute("aria-pressed", "true");
    find("#plane-caption").textContent = "Draw with the pointer: each stroke becomes data. Or with the keys: arrows move, space puts a heap. Then “Play with these points”.";
    order("pause");
    sketch();
    board.tabIndex = 0;
    board.focus({ preventScroll: true });
    board.scrollIntoView({ block: "center" });
    return;
  }
  const points = strokes;
  strokes = null;
  board.removeAttribute("tabindex");
  drawing.textContent = "Draw the data";
  drawing.setAttribute("aria-pressed", "false");
  if (points.length) {
    history.replaceState(null, "", location.pathname);
    order("draw", { points });
  }
  paint();
});
find("#draw-own")?.addEventListener("click", () => drawing.click());
board.addEventListener("pointermove", event => {
  if (!strokes || !event.buttons) return;
  const frame = board.getBoundingClientRect();
  put([(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height], 6, 0.012);
});
board.addEventListener("keydown", event => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] } [event.key];
  if (!strokes || !way) return;
  pen = (pen ?? [0.5, 0.5]).map((share, i) => Math.min(Math.max(share + 0.04 * way[i], 0.02), 0.98));
  if (event.key === " ") put(pen, 60, 0.04);
  else sketch();
  event.preventDefault();
});
