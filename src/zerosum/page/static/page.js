"use strict";

/* Samples over training time: a slider, and a button that plays. */
for (const viewer of document.querySelectorAll("[data-viewer]")) {
  const input = viewer.querySelector("input"),
    output = viewer.querySelector("output");
  const button = viewer.querySelector("button");
  const pictures = [...viewer.querySelectorAll("[data-step]")];
  let timer = 0;
  const show = () => {
    pictures.forEach((picture, i) => { picture.hidden = i !== Number(input.value); });
    output.value = pictures[input.value].dataset.step;
    input.setAttribute("aria-valuetext", "step " + output.value);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const advance = () => {
    input.value = Number(input.value) + 1;
    show();
    if (input.value === input.max) stop();
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (input.value === input.max) input.value = 0;
    show();
    button.textContent = "Pause";
    timer = setInterval(advance, 250);
  });
  input.addEventListener("input", () => {
    stop();
    show();
  });
  viewer.querySelector(".controls").hidden = pictures.length < 2;
  show();
}

/* Values read off the curves, by pointer, finger or arrow keys. */
for (const chart of document.querySelectorAll(".chart")) {
  const area = chart.querySelector(".area"),
    cursor = chart.querySelector(".cursor");
  const output = chart.querySelector("output"),
    square = chart.classList.contains("square");
  const share = ([low, high, log], value) => log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  const number = value => {
    const text = Math.abs(value) >= 1000 && Math.abs(value) < 1e9 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
    return text.replace("-", "\u2212");
  };
  const xs = JSON.parse(area.dataset.x),
    ys = JSON.parse(area.dataset.y);
  const curves = [...chart.querySelectorAll("[data-points]")].map(item => {
    const figure = item.querySelector("b");
    const points = JSON.parse(item.dataset.points).map(([x, y]) => ({ x, y, left: share(xs, x), up: share(ys, y) }));
    return { figure, first: figure.textContent, points };
  }).filter(curve => curve.points.length);
  let left = 1;
  const read = (to, up) => {
    left = Math.min(Math.max(to, 0), 1);
    const far = point => square ? Math.hypot(point.left - left, point.up - up) : Math.abs(point.left - left);
    let nearest = curves[0].points[0];
    for (const { figure, points } of curves) {
      const near = points.reduce((a, b) => far(b) < far(a) ? b : a);
      figure.textContent = square ? number(near.x) + ", " + number(near.y) : number(near.y);
      if (far(near) < far(nearest)) nearest = near;
    }
    cursor.hidden = square;
    cursor.style.left = nearest.left * 100 + "%";
    output.value = square ? "" : "at " + number(nearest.x);
    return nearest.left;
  };
  const leave = () => {
    left = 1;
    cursor.hidden = true;
    output.value = "";
    for (const { figure, first } of curves) figure.textContent = first;
  };
  area.addEventListener("pointermove", event => {
    const frame = area.getBoundingClientRect();
    read((event.clientX - frame.left) / frame.width, 1 - (event.clientY - frame.top) / frame.height);
  });
  area.addEventListener("keydown", event => {
    const move = { ArrowLeft: -0.02, ArrowRight: 0.02 } [event.key];
    if (!move) return;
    event.preventDefault();
    read(left + move, 0.5);
  });
  area.addEventListener("pointerleave", leave);
  area.addEventListener("blur", leave);
}

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => { for (const part of folded) part.open = false; });
