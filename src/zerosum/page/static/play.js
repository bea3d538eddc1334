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
  find("#address").textContent = latest.address ? `zerosum watch --play '#${latest.address}'` : "–";
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
    kept.value = steps.includes(Number(before)) && before !== kept.dataset.last ? before : String(steps.at(-1));
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
  const { recipe, seed, latent, prior } = event.target.elements, begun = {};
  if (Number(seed.value)) begun.seed = Number(seed.value);
  if (latent.value) begun.latent = Number(latent.value);
  if (prior.value) begun.prior = prior.value;
  leave({ recipe: recipe.value, fields: begun });
});
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => order(button.dataset.do));
for (const button of document.querySelectorAll("[data-change]")) button.addEventListener("click", () => order("change", { fields: JSON.parse(button.dataset.change) }));
find("[data-begin]")?.addEventListener("click", event => leave({ recipe: event.target.dataset.begin }));

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
  if (points.length) {
    history.replaceState(null, "", location.pathname);
    order("draw", { points });
  }
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
