"use strict";

/* What has come so far, a run each; the page is drawn from it, at most once a frame. */
const find = selector => document.querySelector(selector);
const runs = [...document.querySelectorAll("#runs [value]")].map(box => ({
  name: box.parentElement.textContent.trim(),
  box,
  columns: {},
  names: {},
  standing: {},
  pictures: [],
}));
const recorded = JSON.parse(find("#recorded")?.textContent ?? "null");
const shown = () => runs.filter(run => run.box.checked);
const charts = new Map();
const FIRST = ["modes_covered", "high_quality", "coverage", "spread", "duplicates", "value", "d", "logit", "loss"];
const TOGETHER = {
  d_real: "d",
  d_fake: "d",
  real_logit: "logit",
  fake_logit: "logit",
  d_loss: "loss",
  g_loss: "loss",
};
const LEVELS = {
  value: [{ value: -Math.log(4), style: "--soft" }],
  d: [{ value: 0.5, style: "--soft" }],
};
const TITLES = { d: "D(x) and D(G(z))", logit: "Logits of real and generated", loss: "Losses" };
const CHANGE = "◆";
const HIDDEN = /_q\d\d$|^seconds$/;

const number = (value, digits = 4) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size >= 1000 && size < 1e9 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
};
const element = (tag, text, name) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
};

/* Messages */

/* Once: a second reload would break off the first. */
let leaving = false;

function reload() {
  leaving = true;
  location.reload();
}

function receive(message) {
  if (leaving) return;
  if (message.type === "frame") {
    frame(message);
    return;
  }
  const run = runs[message.run];
  if (!run) { // one that was begun since
    reload();
    return;
  }
  if (message.type === "records") {
    if (message.anew) run.columns = {};
    for (const [key, column] of Object.entries(message.columns)) {
      const own = run.columns[key] ??= { step: [], value: [], low: [], high: [] };
      for (const part in own) own[part].push(...column[part] ?? column.step.map(() => null));
    }
    Object.assign(run.names, message.names);
    draw(drawCharts);
  } else if (message.type === "standing") {
    run.standing = message;
    if (typeof refilm !== "undefined" && run.pictures.length !== message.pictures.length) refilm(message.run);
    run.pictures = message.pictures;
    draw();
  }
}

let socket, wait = 500;
const say = message => { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); };

function connect() {
  if (recorded) {
    recorded.messages.forEach(receive);
    return;
  }
  socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*$/, "") + "socket");
  const state = find("#connection");
  socket.onopen = () => {
    wait = 500;
    for (const run of runs) run.columns = {};
    state.textContent = "live";
    state.className = "on";
  };
  socket.onmessage = event => receive(JSON.parse(event.data));
  socket.onclose = () => {
    state.textContent = "not connected";
    state.className = "off";
    setTimeout(connect, wait);
    wait = Math.min(2 * wait, 10000);
  };
}

/* Drawing */

/* What is to be drawn with the next picture of the screen, each once, however often it was asked for. */
const waiting = new Set();

function draw(...parts) {
  if (!waiting.size) requestAnimationFrame(() => {
    const due = [...waiting];
    waiting.clear();
    due.forEach(part => part());
  });
  for (const part of parts.length ? parts : [drawTime, drawStanding, drawCharts, drawEvents]) waiting.add(part);
}

/* Samples over training time */

const time = find("#time");
let steps = [],
  timer = 0,
  sought = Number(location.hash.match(/^#step=(\d+)/)?.[1] ?? NaN);

/* The address says what is looked at, so that a link shows it again. A game that is played has its own. */
function remember() {
  if (find("[data-do]") || !steps.length) return;
  const chosen = typeof film === "undefined" ? 0 : films.indexOf(film);
  const state = [find("#follow").checked ? "" : `step=${steps[time.value]}`, chosen > 0 ? `film=${chosen}` : ""].filter(Boolean).join("&");
  if (location.hash !== (state && "#" + state)) location.replace("#" + state);
}

function drawTime() {
  const before = steps[time.value],
    frames = typeof film === "undefined" ? [] : film.map(one => one.step);
  steps = [...new Set([...shown().flatMap(run => run.pictures), ...frames])].sort((a, b) => a - b);
  time.max = Math.max(steps.length - 1, 0);
  if (!Number.isNaN(sought)) find("#follow").checked = false;
  const follow = find("#follow").checked || before === undefined;
  const place = Number.isNaN(sought) ? steps.indexOf(before) : steps.findLastIndex(step => step <= sought);
  time.value = follow && Number.isNaN(sought) ? steps.length - 1 : Math.max(place, 0);
  find("#no-pictures").hidden = shown().some(run => run.pictures.length);
  showStep();
}

function showStep() {
  const step = steps[time.value];
  find("#step").value = step === undefined ? "–" : step.toLocaleString("en");
  time.setAttribute("aria-valuetext", "step " + find("#step").value);
  const place = find("#pictures"),
    wanted = [];
  if (step !== undefined) {
    for (const run of shown()) {
      const at = run.pictures.filter(one => one <= step).pop();
      if (at !== undefined) wanted.push([run.name + ", step " + at.toLocaleString("en"), `picture/${runs.indexOf(run)}/${at}.png`, run.name]);
    }
    const first = runs.indexOf(shown()[0]);
    if (first >= 0) wanted.push(["Real", `real/${first}.png`, "real examples"]);
  }
  while (place.children.length > wanted.length) place.lastChild.remove();
  wanted.forEach(([title, source, name], i) => {
    if (!place.children[i]) {
      const panel = element("div", undefined, "panel"),
        image = element("img");
      image.onerror = () => { panel.hidden = true; };
      image.onload = () => {
        panel.hidden = false;
        image.className = image.naturalWidth < 600 ? "enlarged" : "";
      };
      panel.append(element("h3"), image);
      place.append(panel);
    }
    const [heading, image] = place.children[i].children;
    heading.textContent = title;
    image.alt = "Samples of " + name;
    const data = recorded ? recorded.pictures[source] : source;
    if (image.dataset.source !== source) image.src = data ?? "";
    image.dataset.source = source;
  });
  for (const chart of charts.values()) point(chart, step);
  if (typeof film !== "undefined") showFrame(step, find("#follow").checked);
}

function stop() {
  clearInterval(timer);
  timer = 0;
  find("#play").textContent = "Play";
}

function go(to) {
  sought = NaN;
  find("#follow").checked = to >= steps.length - 1;
  time.value = to;
  showStep();
  remember();
}

function play() {
  if (timer) return stop();
  if (Number(time.value) >= steps.length - 1) go(0);
  find("#play").textContent = "Pause";
  timer = setInterval(() => {
    go(Number(time.value) + 1);
    if (Number(time.value) >= steps.length - 1) stop();
  }, 200);
}

find("#play").addEventListener("click", play);
time.addEventListener("input", () => {
  stop();
  go(Number(time.value));
});
find("#follow").addEventListener("change", () => {
  sought = NaN;
  draw();
  remember();
});
find("#runs").addEventListener("change", () => {
  charts.forEach(forget);
  draw();
});
find("#more").addEventListener("toggle", () => draw(drawCharts));
addEventListener("keydown", event => {
  if (event.target.matches("input, button, summary, textarea, select, a, canvas") || event.ctrlKey || event.metaKey || event.altKey) return;
  const to = { ArrowLeft: Number(time.value) - 1, ArrowRight: Number(time.value) + 1, Home: 0, End: steps.length - 1 } [event.key];
  if (event.key === " ") play();
  else if (to !== undefined) {
    stop();
    go(Math.min(Math.max(to, 0), steps.length - 1));
  } else return;
  event.preventDefault();
});

/* How it stands, and what happened */

function drawStanding() {
  const place = find("#standing");
  place.replaceChildren(...shown().map(run => {
    const box = element("div");
    const { state = "", why = "", findings = [] } = run.standing;
    box.append(element("p", (runs.length > 1 ? run.name + ": " : "") + state + (why ? ". It could not be judged: " + why : ""), "soft"));
    for (const finding of findings) {
      const note = element("div", undefined, finding.level === "note" ? "finding" : "finding note"),
        list = element("ul");
      note.append(element("h3", ({ fault: "Fault: ", warning: "Warning: " } [finding.level] ?? "") + finding.name), element("p", `Since step ${finding.since.toLocaleString("en")}, with a confidence of ${Math.round(100 * finding.confidence)} %.`));
      list.append(...finding.evidence.map(text => element("li", text)), ...finding.advice.map(item => typeof advised === "undefined" ? element("li", "Try " + item.text) : advised(item)));
      note.append(list);
      box.append(note);
    }
    return box;
  }));
}

function drawEvents() {
  const commands = shown().map(run => run.standing.again).filter(Boolean);
  find("#again").replaceChildren(...commands.map(command => {
    const line = element("p", "Again, to the same bytes: ", "again");
    line.append(element("code", command));
    return line;
  }));
  const lines = shown().flatMap(run => (run.standing.events ?? []).map(event => ({ ...event, run: run.name })));
  lines.sort((a, b) => b.step - a.step);
  find("#events").replaceChildren(...lines.slice(0, 300).map(event => {
    const line = element("li");
    const text = event.kind + (runs.length > 1 ? " (" + event.run + ")" : "") + (event.text ? ": " + event.text : "");
    line.append(element("span", event.step.toLocaleString("en"), "at"), element("span", event.sign, event.bad ? "bad" : ""), element("span", text));
    return line;
  }));
}

/* Charts */

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const DASHES = [
  [],
  [8, 3],
  [3, 3],
  [10, 3, 2, 3],
  [14, 4]
];

/* What is not looked at is drawn when it comes into sight, when it is printed, and else now and then. */
let caughtUp = 0;
const catchUp = () => {
  clearTimeout(caughtUp);
  caughtUp = 0;
  drawCharts(true);
};
addEventListener("beforeprint", catchUp);
const sight = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    const chart = charts.get(target.dataset.id);
    if (!chart) continue;
    if (isIntersecting && chart.seen === false) draw(drawCharts);
    chart.seen = isIntersecting;
  }
}, { rootMargin: "300px" });

/* A chart is as wide as its panel, whatever comes beside it. */
const sizes = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const plot = charts.get(target.dataset.id)?.plot;
    if (plot && target.clientWidth && plot.width !== target.clientWidth) plot.setSize({ width: target.clientWidth, height: plot.height });
  }
});

function forget(chart) {
  sight.unobserve(chart.panel);
  sizes.unobserve(chart.panel);
  chart.plot?.destroy();
  chart.panel.remove();
  charts.delete(chart.id);
}

function drawCharts(all = false) {
  if (!all) caughtUp ||= setTimeout(catchUp, 4000);
  const keys = new Set(shown().flatMap(run => Object.keys(run.columns)).filter(key => !HIDDEN.test(key)));
  const groups = new Map();
  if (keys.has("d_real"))["real_logit", "fake_logit"].forEach(key => keys.delete(key));
  for (const key of keys) {
    const id = TOGETHER[key] ?? key;
    groups.set(id, [...groups.get(id) ?? [], key].sort((a, b) => Object.keys(TOGETHER).indexOf(a) - Object.keys(TOGETHER).indexOf(b)));
  }
  const order = [...groups.keys()].sort((a, b) => (FIRST.indexOf(a) + 99) % 99 - (FIRST.indexOf(b) + 99) % 99);
  for (const id of order) {
    const main = FIRST.includes(id);
    if (main || find("#more").open) drawChart(id, groups.get(id), find(main ? "#charts" : "#readings"), main ? 220 : 130, all);
  }
  for (const chart of charts.values())
    if (!groups.has(chart.id)) forget(chart);
  for (const place of [find("#charts"), find("#readings")]) {
    const panels = order.map(id => charts.get(id)?.panel).filter(panel => panel?.parentElement === place);
    if (panels.some((panel, i) => panel !== place.children[i])) place.append(...panels);
  }
}

/* The curves of a chart: of one run each quantity with its interval; of several, each run and their mean. */
function curves(group) {
  const of = shown(), one = of.length === 1, series = [], tables = [], bands = [];
  const add = (label, step, value, style) => {
    tables.push([step, value]);
    series.push({ label, ...style });
    return series.length;
  };
  for (const [j, key] of group.entries()) {
    for (const run of of) {
      const column = run.columns[key];
      if (!column) continue;
      const index = one ? j : runs.indexOf(run);
      const stroke = colour(`--c${index % 5 + 1}`),
        dash = one ? DASHES[index % 5] : DASHES[j % 5];
      const name = run.names[key] ?? key;
      add(one ? name : run.name + (group.length > 1 ? ", " + name : ""), column.step, column.value, { stroke, dash, width: one ? 2 : 1.2 });
      if (one && column.low.some(low => low !== null)) {
        const high = add("", column.step, column.high, { stroke: "transparent", quiet: true });
        const low = add("", column.step, column.low, { stroke: "transparent", quiet: true });
        bands.push({ series: [high, low], fill: stroke + "30" });
      }
    }
    const all = of.map(run => run.columns[key]).filter(Boolean);
    if (!one && all.length > 1 && find("#mean").checked) {
      const maps = all.map(column => new Map(column.step.map((step, i) => [step, column.value[i]])));
      const common = [...maps[0].keys()].filter(step => maps.every(map => map.has(step)));
      add("mean" + (group.length > 1 ? ", " + (of [0].names[key] ?? key) : ""), common, common.map(step => maps.reduce((sum, map) => sum + map.get(step), 0) / maps.length), { stroke: colour("--c0"), width: 3, dash: DASHES[j % 5] });
    }
  }
  return {
    series,
    bands,
    data: tables.length ? uPlot.join(tables) : [
      []
    ]
  };
}

const last = values => values.findLast(value => value !== null && value !== undefined);

/* Where the quantities of a chart rest. */
function levels(id, group) {
  if (LEVELS[id]) return LEVELS[id];
  const scales = group.map(key => shown().map(run => run.standing.scales?.[key]).find(Boolean));
  return scales.flatMap((scale, i) => scale && scale[1] !== null ? [{ value: scale[1], style: group.length > 1 ? `--c${i + 1}` : "--soft" }] : []);
}

function drawChart(id, group, place, height, all) {
  if (charts.get(id)?.seen === false && !all) return;
  const { series, bands, data } = curves(group);
  if (!series.length) return;
  const shape = JSON.stringify([series, bands, height]);
  let chart = charts.get(id);
  if (chart && chart.shape !== shape) {
    forget(chart);
    chart = undefined;
  }
  if (chart) {
    chart.plot.setData(data);
    return;
  }
  const panel = element("figure", undefined, "panel");
  const first = shown().map(run => run.names[group[0]]).find(Boolean) ?? group[0];
  panel.append(element("h3", TITLES[id] ?? first[0].toUpperCase() + first.slice(1)));
  place.append(panel);
  panel.dataset.id = id;
  sight.observe(panel);
  sizes.observe(panel);
  chart = { id, shape, panel };
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") }, font: "12px system-ui" };
  chart.plot = new uPlot({
    width: panel.clientWidth,
    height,
    scales: { x: { time: false }, y: { range: (plot, low, high) => range(levels(id, group), low, high) } },
    axes: [{ ...axis, values: (plot, values) => values.map(value => value.toLocaleString("en")) }, { ...axis, size: 60, values: (plot, values) => values.map(value => number(value)) }],
    series: [{ label: "step", value: (plot, value) => number(value) }, ...series.map(({ quiet, ...one }) => ({
      ...one,
      spanGaps: true,
      points: { show: data[0].length < 4 },
      value: (plot, value, i, at) => quiet ? "" : number(at === null ? last(plot.data[i]) : value),
      ...(quiet ? { class: "quiet" } : {}),
    }))],
    bands,
    cursor: { sync: { key: "step" } },
    legend: { live: true },
    hooks: { draw: [plot => decorate(plot, levels(id, group))] },
  }, data, panel);
  for (const [i, row] of [...panel.querySelectorAll(".u-series")].entries()) row.hidden = i > 0 && Boolean(series[i - 1].quiet);
  charts.set(id, chart);
}

function range(rests, low, high) {
  const all = [low, high, ...rests.map(rest => rest.value)].filter(value => value !== null);
  const least = Math.min(...all),
    most = Math.max(...all),
    room = 0.06 * (most - least) || 0.1 * Math.abs(most) || 1;
  return [least - room, most + room];
}

/* The equilibrium as a dotted line; faults and changes as lines over the time axis. */
function decorate(plot, rests) {
  const { ctx, bbox: { left, top, width, height } } = plot;
  const stroke = (x1, y1, x2, y2, style, dash) => {
    ctx.save();
    ctx.strokeStyle = style;
    ctx.setLineDash(dash);
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    ctx.stroke();
    ctx.restore();
  };
  for (const { value, style } of rests) {
    const y = plot.valToPos(value, "y", true);
    stroke(left, y, left + width, y, colour(style), [2, 4]);
  }
  for (const event of shown().flatMap(run => run.standing.events ?? [])) {
    const x = plot.valToPos(event.step, "x", true);
    if (x < left || x > left + width) continue;
    if (event.bad) stroke(x, top, x, top + height, colour("--bad"), []);
    else if (event.sign === CHANGE) stroke(x, top, x, top + height, colour("--soft"), [6, 4]);
  }
}

function point(chart, step) {
  if (step === undefined || !chart.plot || find("#follow").checked) return;
  chart.plot.setCursor({ left: chart.plot.valToPos(step, "x"), top: 5 }, true);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  [...charts.values()].forEach(forget);
  draw();
});
addEventListener("DOMContentLoaded", connect); // when the other scripts are there
