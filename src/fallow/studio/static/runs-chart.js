// Curves that grow while one looks at them: a chart of one measure, for one run or several.

const WIDTH = 420, HEIGHT = 220, TOP = 10, BOTTOM = 44, RIGHT = 12;
const SPACE = "http://www.w3.org/2000/svg";

// an element of a drawing; see `h` in parts.js
function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// round numbers inside low…high, about `count` of them
export function ticks(low, high, count = 4) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * unit).reduce((a, b) => Math.abs(Math.log(a / rough)) <= Math.abs(Math.log(b / rough)) ? a : b);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k <= high / step + 1e-9; k++) found.push(k * step);
  return found;
}

export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  if (size && size < 1e-3) return value.toExponential(1);
  return String(+value.toPrecision(size >= 100 ? 4 : 3));
}

const line = (x, y) => x.map((_, k) => `${k ? "L" : "M"}${x[k].toFixed(1)} ${y[k].toFixed(1)}`).join("");

// A chart; `draw([{name, x, y}, …])` shows the curves anew. `include` are values its axis must show,
// `mark` is [value, what it means].
export function chart(title, { include = [], mark = null } = {}) {
  const plot = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const frame = s("g", { class: "frame" }), curves = s("g"), pointer = s("g", { class: "pointer" });
  plot.append(frame, curves, pointer);
  const said = document.createElement("figcaption"), name = document.createElement("b"), now = document.createElement("span");
  name.textContent = title;
  said.append(name, now);
  const element = document.createElement("figure");
  element.className = "chart";
  element.append(said, plot);
  let shown = [], across = null, up = null, at = null;

  function axes() {
    const xs = shown.flatMap(one => one.x), ys = [...shown.flatMap(one => one.y), ...include];
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    let [low, high] = [Math.min(...ys), Math.max(...ys)];
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    low = include.includes(low) && low === 0 ? 0 : low - room;
    high += room;
    const places = ticks(low, high), texts = places.map(short);
    const margin = 14 + 6.6 * Math.max(...texts.map(text => text.length));
    across = x => margin + (right > left ? (x - left) / (right - left) : 0.5) * (WIDTH - RIGHT - margin);
    up = y => HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - BOTTOM - TOP);
    frame.replaceChildren(
      ...places.flatMap((place, k) => [
        s("line", { x1: margin, x2: WIDTH - RIGHT, y1: up(place), y2: up(place) }),
        s("text", { x: margin - 7, y: up(place) + 4, "text-anchor": "end" }, texts[k])]),
      ...ticks(left, right, 5).map(x => s("text", { x: across(x), y: HEIGHT - 26, "text-anchor": "middle" }, short(x))),
      s("text", { class: "unit", x: WIDTH - RIGHT, y: HEIGHT - 9, "text-anchor": "end" }, "step"));
    if (mark && mark[0] > low && mark[0] < high) frame.append(
      s("line", { class: "mark", x1: margin, x2: WIDTH - RIGHT, y1: up(mark[0]), y2: up(mark[0]) }),
      s("text", { class: "mark", x: WIDTH - RIGHT, y: up(mark[0]) - 4, "text-anchor": "end" }, mark[1]));
  }

  function point() { // what the curves are at the pointer, or at their end
    pointer.replaceChildren();
    const near = shown.map(one => at === null ? one.x.length - 1 : one.x.reduce((best, x, j) => Math.abs(x - at) < Math.abs(one.x[best] - at) ? j : best, 0));
    // in the order of the legend, and in its colours where there is one
    const texts = shown.map((one, k) => Object.assign(document.createElement("span"), { className: shown.length > 1 ? `of-${one.which}` : "", textContent: short(one.y[near[k]]) }));
    if (at !== null) {
      const steps = shown.map((one, k) => one.x[near[k]]), step = steps.reduce((a, b) => Math.abs(b - at) < Math.abs(a - at) ? b : a);
      pointer.append(s("line", { x1: across(step), x2: across(step), y1: TOP, y2: HEIGHT - BOTTOM }),
        ...shown.map((one, k) => s("circle", { class: `curve-${one.which}`, cx: across(steps[k]), cy: up(one.y[near[k]]), r: 3.5 })));
      texts.push(`at step ${short(step)}`);
    }
    now.replaceChildren(...texts.flatMap((text, k) => k ? [" · ", text] : [text]));
  }

  plot.addEventListener("pointermove", event => {
    if (!shown.length) return;
    const box = plot.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * WIDTH;
    const xs = shown.flatMap(one => one.x), left = Math.min(...xs), right = Math.max(...xs);
    at = left + (x - across(left)) / (across(right) - across(left) || 1) * (right - left);
    point();
  });
  plot.addEventListener("pointerleave", () => { at = null; point(); });

  function draw(series) {
    shown = series.map((one, which) => ({ ...one, which })).filter(one => one.x.length); // a run keeps its colour
    if (!shown.length) return;
    axes();
    curves.replaceChildren(...shown.map(one => one.x.length > 1
      ? s("path", { class: `curve curve-${one.which}`, d: line(one.x.map(across), one.y.map(up)) })
      : s("circle", { class: `curve-${one.which}`, cx: across(one.x[0]), cy: up(one.y[0]), r: 3 })));
    const told = shown.map(one => `${shown.length > 1 ? `${one.name}: ` : ""}from ${short(one.y[0])} to ${short(one.y.at(-1))}`).join("; ");
    plot.setAttribute("aria-label", `${title}, ${told} at step ${short(shown[0].x.at(-1))}`);
    point();
  }
  return { element, draw };
}

// what a measure is called, and how its axis is drawn; those not named here are drawn as they are
const MEASURES = {
  loss: ["Loss"],
  loss_of_trivial: ["Loss as a share of its trivial value", { mark: [1, "nothing learnt"] }],
  spread: ["Spread of the embeddings", { include: [0], mark: [0.3, "healthy above"] }],
  images_per_second: ["Images per second", { include: [0] }],
  rate: ["Learning rate", { include: [0] }],
};
const plain = name => name.replaceAll("_", " ").replace(/^./, letter => letter.toUpperCase());

// All measures of some runs as charts that stay when they are drawn again.
export function charts(root) {
  const made = new Map();
  return runs => { // [{name, curves: {measure: [steps, values]}}]
    const there = new Set(runs.flatMap(run => Object.keys(run.curves)));
    const order = [...Object.keys(MEASURES).filter(name => there.has(name)), ...[...there].filter(name => !(name in MEASURES)).sort()];
    for (const name of [...made.keys()]) if (!there.has(name)) { made.get(name).element.remove(); made.delete(name); }
    for (const name of order) {
      if (!made.has(name)) made.set(name, chart(MEASURES[name]?.[0] ?? plain(name), MEASURES[name]?.[1]));
      const one = made.get(name);
      root.append(one.element);
      one.draw(runs.map(run => ({ name: run.name, x: run.curves[name]?.[0] ?? [], y: run.curves[name]?.[1] ?? [] })));
    }
    return order.length;
  };
}
