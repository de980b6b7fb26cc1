// What every report can do: say when a script failed, copy text, read values off a chart.
"use strict";
const root = document.documentElement;
window.addEventListener("error", event => { root.dataset.error = event.message; });
window.addEventListener("unhandledrejection", event => { root.dataset.error = String(event.reason); });

const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // text stays text: file names are never parsed as markup
  return node;
}

async function copyText(text, button) {
  let copied = false;
  try { await navigator.clipboard.writeText(text); copied = true; } catch {
    const area = make("textarea", { style: "position:fixed;opacity:0" }); // pages opened from disk
    area.value = text;
    document.body.append(area);
    area.select();
    copied = document.execCommand("copy");
    area.remove();
  }
  const before = button.dataset.before ??= button.textContent;
  button.textContent = copied ? "Copied" : "The browser refused";
  setTimeout(() => { button.textContent = before; }, 1600);
}

document.addEventListener("click", event => {
  const button = event.target.closest("[data-copy]");
  if (button) copyText(button.dataset.copy, button);
});

// --- charts ---
const format = value => Math.abs(value) >= 1e4 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4));

function svg(tag, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}

function readAt(chart, across) { // the values nearest to a place along the x axis
  const series = JSON.parse(chart.dataset.series), cursor = one(".cursor", chart);
  cursor.replaceChildren();
  if (!series.length || across === null) return "";
  const lines = [];
  let place = 0;
  for (const [number, curve] of series.entries()) {
    let k = 0;
    curve.at.forEach((at, j) => { if (Math.abs(at - across) < Math.abs(curve.at[k] - across)) k = j; });
    if (!number) { place = curve.at[k]; lines.push(`${format(curve.x[k])} ${chart.dataset.unit}`); }
    lines.push(`${curve.name}: ${format(curve.y[k])}`);
    cursor.append(svg("circle", { cx: curve.at[k], cy: curve.up[k], r: 3.5, class: "value" }));
  }
  const width = 14 + 6.1 * Math.max(...lines.map(line => line.length));
  const left = place + width + 14 > 406 ? place - width - 8 : place + 8;
  cursor.prepend(svg("line", { x1: place, x2: place, y1: 14, y2: 210, class: "axis" }));
  cursor.append(svg("rect", { x: left, y: 18, width, height: 8 + 15 * lines.length, rx: 5, class: "back" }));
  lines.forEach((line, j) => cursor.append(svg("text", { x: left + 7, y: 33 + 15 * j, class: "read" }, line)));
  chart.dataset.place = place;
  return lines.join(", ");
}

for (const chart of all("svg[data-series]")) {
  chart.addEventListener("pointermove", event => {
    const box = chart.getBoundingClientRect();
    readAt(chart, (event.clientX - box.left) / box.width * 420);
  });
  for (const leave of ["pointerleave", "blur"]) chart.addEventListener(leave, () => readAt(chart, null));
  chart.addEventListener("keydown", event => {
    const step = { ArrowLeft: -8, ArrowRight: 8 }[event.key];
    if (!step) return;
    event.preventDefault();
    chart.setAttribute("aria-description", readAt(chart, +(chart.dataset.place ?? 200) + step));
  });
}
root.dataset.page = "ready";
