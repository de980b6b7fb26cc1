// The map of `explore`: dots far away, pictures close up; hover, details, search, copying.
"use strict";
const items = JSON.parse(one("#data").textContent), total = items.path.length;
const canvas = one("#map-canvas"), ink = canvas.getContext("2d"), hover = one("#hover"), detail = one("#detail");
const PAD = 34, NEAR = 26; // margin around the map; spacing in pixels from which pictures appear
const view = { x: 0.5, y: 0.5, zoom: 1 };
const live = new Uint8Array(total).fill(1); // matches the search
let width = 0, height = 0, colouring = items.colourings[0], picked = null, pointed = -1, chosen = -1;
let colours = [], placed = [], placedFor = "", sheets = [], waiting = false, opener = null;

// --- where things are ---
const spanX = () => (width - 2 * PAD) * view.zoom, spanY = () => (height - 2 * PAD) * view.zoom;
const toX = i => (items.x[i] - view.x) * spanX() + width / 2;
const toY = i => (items.y[i] - view.y) * spanY() + height / 2;
const spacing = () => Math.sqrt(spanX() * spanY() / total);
const side = () => Math.min(128, Math.max(30, spacing()));
const farthest = () => Math.max(8, 400 / (spacing() / view.zoom));
const shown = i => live[i] && (picked === null || colouring.codes?.[i] === picked);

function keepInside() {
  view.zoom = Math.min(farthest(), Math.max(1, view.zoom));
  const room = 0.5 / view.zoom;
  view.x = Math.min(1 - room, Math.max(room, view.x));
  view.y = Math.min(1 - room, Math.max(room, view.y));
}

function zoomAt(px, py, factor) { // the place under the pointer stays under the pointer
  const atX = view.x + (px - width / 2) / spanX(), atY = view.y + (py - height / 2) / spanY();
  view.zoom *= factor;
  keepInside();
  view.x = atX - (px - width / 2) / spanX();
  view.y = atY - (py - height / 2) / spanY();
  keepInside();
  redraw();
}

// --- colours and legend ---
function ranks(values) { // the middle 96 % of the values span the colours; one freak must not
  const sorted = values.filter(value => value !== null).sort((a, b) => a - b);
  const at = share => sorted[Math.round(share * (sorted.length - 1))];
  return [at(0.02), at(0.98)];
}

function recolour() {
  const { codes, values } = colouring, none = getComputedStyle(document.body).getPropertyValue("--quiet");
  if (codes) {
    colours = codes.map(code => code < 0 ? none : items.palette[code % items.palette.length]);
  } else {
    const [low, high] = ranks(values), steps = items.ramp.length - 1;
    colours = values.map(value => value === null ? none
      : items.ramp[Math.round(steps * Math.min(1, Math.max(0, (value - low) / (high - low || 1))))]);
  }
  legend();
  redraw();
}

function legend() {
  const box = one("#legend");
  box.replaceChildren();
  if (!colouring.codes) {
    const [low, high] = ranks(colouring.values);
    const bar = make("span", { class: "ramp", style: `background:linear-gradient(90deg,${items.ramp})` });
    box.append(`${colouring.title} ${format(low)}`, bar, format(high));
    return;
  }
  const counts = new Map();
  for (const code of colouring.codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  const codes = [...counts.keys()].filter(code => code >= 0).sort((a, b) => a - b);
  const names = [...codes.slice(0, 24), ...(counts.has(-1) ? [-1] : [])];
  for (const code of names) {
    const colour = code < 0 ? "var(--quiet)" : items.palette[code % items.palette.length];
    const name = code < 0 ? colouring.rest : colouring.names[code];
    const button = make("button", { type: "button", "aria-pressed": picked === code },
      make("i", { style: `background:${colour}` }), make("span", { class: "name" }, name),
      make("span", { class: "count" }, String(counts.get(code))));
    button.addEventListener("click", () => pick(picked === code ? null : code));
    box.append(button);
  }
  if (codes.length > 24) box.append(`and ${codes.length - 24} more`);
}

function pick(code) {
  picked = code;
  legend();
  redraw();
}

// --- drawing ---
function sheet(number) { // decoded when first seen, from the bytes the lists use too
  if (!sheets[number]) {
    const probe = make("span", { class: `sheet${number}`, hidden: "" });
    document.body.append(probe);
    const picture = sheets[number] = new Image();
    picture.onload = draw;
    picture.src = getComputedStyle(probe).backgroundImage.replace(/^url\("?|"?\)$/g, "");
    probe.remove();
  }
  return sheets[number].complete && sheets[number].naturalWidth ? sheets[number] : null;
}

function place() { // which pictures fit without touching; not a matter of position, so moving is steady
  const size = side(), kx = spanX() / size, ky = spanY() / size, grid = new Map(), result = [];
  const consider = i => {
    if (!items.tile[i] || !shown(i)) return;
    const x = items.x[i] * kx, y = items.y[i] * ky, column = Math.floor(x) + 1, row = Math.floor(y) + 1;
    for (let c = column - 1; c <= column + 1; c++) {
      for (let r = row - 1; r <= row + 1; r++) {
        const other = grid.get(c * 65536 + r);
        if (other && Math.abs(other[0] - x) < 1 && Math.abs(other[1] - y) < 1) return;
      }
    }
    grid.set(column * 65536 + row, [x, y]);
    result.push(i);
  };
  if (chosen >= 0) consider(chosen);
  items.first.forEach(consider); // typical images have the right of way
  for (let i = 0; i < total; i++) consider(i);
  return result;
}

function dots(list, radius, alpha) {
  const paths = new Map();
  for (const i of list) {
    const x = toX(i), y = toY(i);
    if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
    let path = paths.get(colours[i]);
    if (!path) paths.set(colours[i], path = new Path2D());
    path.moveTo(x + radius, y);
    path.arc(x, y, radius, 0, 7);
  }
  ink.globalAlpha = alpha;
  for (const [colour, path] of paths) { ink.fillStyle = colour; ink.fill(path); }
  ink.globalAlpha = 1;
}

function draw() {
  waiting = false;
  if (!width) return;
  const ratio = window.devicePixelRatio || 1, close = spacing() >= NEAR;
  ink.setTransform(ratio, 0, 0, ratio, 0, 0);
  ink.clearRect(0, 0, width, height);
  const key = `${view.zoom} ${width} ${height} ${picked} ${chosen} ${colouring.title} ${one("#find")?.value}`;
  if (close && placedFor !== key) { placed = place(); placedFor = key; }
  if (!close) { placed = []; placedFor = ""; }
  const bright = [], dim = [];
  for (let i = 0; i < total; i++) (shown(i) ? bright : dim).push(i);
  const radius = Math.min(5, Math.max(1.7, spacing() / 5));
  dots(dim, radius * 0.8, 0.13);
  dots(bright, radius, 0.85);
  const size = side() * 0.92;
  let pictures = 0, missing = 0;
  for (const i of placed) {
    const x = toX(i), y = toY(i);
    if (x < -size || y < -size || x > width + size || y > height + size) continue;
    const [number, tx, ty, tw, th] = items.tile[i], source = sheet(number);
    if (!source) { missing++; continue; }
    const scale = size / Math.max(tw, th), w = tw * scale, h = th * scale;
    ink.fillStyle = colours[i];
    ink.fillRect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4);
    ink.drawImage(source, tx, ty, tw, th, x - w / 2, y - h / 2, w, h);
    pictures++;
  }
  for (const i of new Set([chosen, pointed])) {
    if (i < 0) continue;
    ink.strokeStyle = getComputedStyle(document.body).color;
    ink.lineWidth = 2.5;
    const [w, h] = placed.includes(i) ? extent(i) : [0, 0];
    ink.beginPath();
    if (w) ink.rect(toX(i) - w / 2 - 3, toY(i) - h / 2 - 3, w + 6, h + 6);
    else ink.arc(toX(i), toY(i), radius + 4, 0, 7);
    ink.stroke();
  }
  Object.assign(root.dataset, { drawn: bright.length, pictures, zoom: view.zoom.toFixed(2) });
  if (!missing) root.dataset.map = "ready";
}

function redraw() { // at most once per frame; a hidden page has no frames
  if (waiting) return;
  waiting = true;
  (document.hidden ? setTimeout : requestAnimationFrame)(draw);
}

function extent(i) {
  const [, , , w, h] = items.tile[i], scale = side() * 0.92 / Math.max(w, h);
  return [w * scale, h * scale];
}

// --- pointing ---
function under(px, py) { // the item at a place on the map, or -1
  for (const i of placed) {
    const [w, h] = extent(i);
    if (Math.abs(toX(i) - px) <= w / 2 && Math.abs(toY(i) - py) <= h / 2) return i;
  }
  return nearest(px, py, 14);
}

function nearest(px, py, within = Infinity) {
  let best = -1, least = within * within;
  for (let i = 0; i < total; i++) {
    if (!shown(i)) continue;
    const distance = (toX(i) - px) ** 2 + (toY(i) - py) ** 2;
    if (distance < least) { least = distance; best = i; }
  }
  return best;
}

function picture(i, largest) {
  const attributes = { class: "picture none", role: "img", "aria-label": items.path[i] };
  if (items.tile[i]) {
    const [number, x, y, w, h] = items.tile[i], k = Math.min(2, largest / Math.max(w, h));
    attributes.class = `picture sheet${number}`;
    attributes.style = `--x:${x};--y:${y};--w:${w};--h:${h};--k:${k}`;
  }
  return make("span", attributes);
}

function factsOf(i) {
  const bytes = items.bytes[i], facts = [["size", `${items.width[i]} × ${items.height[i]}`]];
  if (bytes !== null) facts.push(["file", bytes >= 1e6 ? `${format(bytes / 1e6)} MB` : `${format(bytes / 1e3)} KB`]);
  for (const { title, codes, names, rest, values } of items.colourings) {
    if (title === "finding" || title === "megapixels") continue;
    const value = codes ? (codes[i] < 0 ? rest : names[codes[i]]) : values[i] === null ? "–" : format(values[i]);
    facts.push([title, value.replace(/^Group /, "")]);
  }
  if (items.flags[i]) facts.push(["findings", items.flags[i].join(", ")]);
  return facts;
}

const baseName = path => path.split(/[\\/]/).pop();

function point(px, py) { // what hovering does
  const before = pointed;
  pointed = under(px, py);
  canvas.classList.toggle("pointing", pointed >= 0);
  if (pointed !== before) redraw();
  if (pointed < 0) { hover.hidden = true; return; }
  if (pointed !== before || hover.hidden) {
    const notes = factsOf(pointed).map(([name, value]) => make("div", { class: "note" }, `${name} ${value}`));
    hover.replaceChildren(picture(pointed, 200), make("b", { class: "name" }, baseName(items.path[pointed])), ...notes);
    hover.hidden = false;
  }
  const x = toX(pointed), y = toY(pointed), gap = placed.includes(pointed) ? side() / 2 + 10 : 16;
  const left = x + gap + hover.offsetWidth < width ? x + gap : Math.max(4, x - gap - hover.offsetWidth);
  hover.style.left = `${left}px`;
  hover.style.top = `${Math.max(6, Math.min(y - 20, height - hover.offsetHeight - 6))}px`;
}

function tileOf(i) {
  return make("button", { type: "button", class: "tile", title: items.path[i], "data-item": i }, picture(i, 70));
}

function open(i, from = null) {
  chosen = i;
  opener = from ?? opener;
  const around = items.path.map((_, j) => j).filter(j => j !== i)
    .map(j => [(items.x[j] - items.x[i]) ** 2 + (items.y[j] - items.y[i]) ** 2, j])
    .sort((a, b) => a[0] - b[0]).slice(0, 12).map(pair => pair[1]);
  const close = make("button", { type: "button", "aria-label": "Close details" }, "✕");
  const locate = make("button", { type: "button" }, "Show on map");
  const copy = make("button", { type: "button", "data-copy": items.path[i] }, "Copy path");
  close.addEventListener("click", shut);
  locate.addEventListener("click", () => show(i));
  const list = make("dl", { class: "facts" });
  for (const [name, value] of factsOf(i)) {
    list.append(make("div", {}, make("dt", {}, name), make("dd", {}, String(value))));
  }
  const row = make("div", { class: "row" });
  row.append(...around.map(tileOf));
  detail.replaceChildren(
    make("div", { class: "head" }, make("h2", {}, items.path[i]), close),
    picture(i, 256), list, make("div", { class: "bar" }, locate, copy),
    make("h3", {}, "Nearest on the map"), row);
  detail.hidden = false;
  detail.scrollTop = 0;
  detail.focus({ preventScroll: true });
  redraw();
}

function shut() {
  detail.hidden = true;
  chosen = -1;
  opener?.focus({ preventScroll: true });
  opener = null;
  redraw();
}

function show(i) { // bring an item to the middle of the map, close enough for pictures
  chosen = i;
  if (!shown(i)) { picked = null; one("#find").value = ""; find(""); legend(); }
  Object.assign(view, { x: items.x[i], y: items.y[i], zoom: view.zoom * Math.max(1, 70 / spacing()) });
  keepInside();
  canvas.scrollIntoView({ block: "center" });
  draw();
  point(toX(i), toY(i));
}

// --- search ---
function find(text) {
  const wanted = text.trim().toLowerCase();
  let matches = 0;
  for (let i = 0; i < total; i++) matches += live[i] = +items.path[i].toLowerCase().includes(wanted);
  for (const tile of all("main .tile")) tile.hidden = !live[tile.dataset.item];
  for (const set of all(".set, .group")) set.hidden = !one(".tile:not([hidden])", set);
  one("#matches").textContent = wanted ? `${matches.toLocaleString("en")} of ${total.toLocaleString("en")}` : "";
  one("#copy-matches").hidden = !wanted || !matches;
  placedFor = "";
  redraw();
}

// --- events ---
const fingers = new Map();
let moved = 0, asked = false;
document.addEventListener("pointerdown", event => { asked = event.target === canvas; });
canvas.addEventListener("pointerdown", event => {
  fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
  moved = 0;
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", event => {
  const before = fingers.get(event.pointerId), now = [event.offsetX, event.offsetY];
  if (!before) { point(...now); return; }
  moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  if (other) {
    const gap = at => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
    zoomAt((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, gap(now) / gap(before));
  } else if (moved > 4) {
    hover.hidden = true;
    canvas.classList.add("moving");
    view.x -= (now[0] - before[0]) / spanX();
    view.y -= (now[1] - before[1]) / spanY();
    keepInside();
    redraw();
  }
  fingers.set(event.pointerId, now);
});
canvas.addEventListener("pointerup", event => {
  if (moved <= 4 && fingers.size === 1) {
    const i = under(event.offsetX, event.offsetY);
    if (i >= 0) open(i, canvas);
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, event => { fingers.delete(event.pointerId); canvas.classList.remove("moving"); });
}
canvas.addEventListener("pointerleave", () => { pointed = -1; hover.hidden = true; redraw(); });
canvas.addEventListener("dblclick", event => zoomAt(event.offsetX, event.offsetY, 2));
canvas.addEventListener("wheel", event => { // the page scrolls past the map until the map is asked
  if (!asked && document.activeElement !== canvas && !event.ctrlKey) return;
  event.preventDefault();
  zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY * (event.deltaMode ? 0.04 : 0.0016)));
}, { passive: false });
const middle = factor => zoomAt(width / 2, height / 2, factor);
const whole = () => { Object.assign(view, { x: 0.5, y: 0.5, zoom: 1 }); redraw(); };
canvas.addEventListener("keydown", event => {
  const step = 60, key = event.key;
  if (key === "ArrowLeft") view.x -= step / spanX();
  else if (key === "ArrowRight") view.x += step / spanX();
  else if (key === "ArrowUp") view.y -= step / spanY();
  else if (key === "ArrowDown") view.y += step / spanY();
  else if (key === "+" || key === "=") middle(1.4);
  else if (key === "-") middle(1 / 1.4);
  else if (key === "0") whole();
  else if (key === "Enter") { const i = nearest(width / 2, height / 2); if (i >= 0) open(i, canvas); }
  else return;
  event.preventDefault();
  keepInside();
  redraw();
});
document.addEventListener("keydown", event => { if (event.key === "Escape" && !detail.hidden) shut(); });
document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.item) open(+button.dataset.item, detail.contains(button) ? null : button);
  else if (button?.dataset.paths !== undefined) {
    copyText(button.dataset.paths.split(" ").filter(Boolean).map(i => items.path[i]).join("\n"), button);
  } else if (button?.dataset.showGroup !== undefined) {
    one("#colour").value = "0";
    colouring = items.colourings[0];
    picked = items.groups.indexOf(+button.dataset.showGroup);
    whole();
    recolour();
    canvas.scrollIntoView({ block: "center" });
  }
});
one("#closer").addEventListener("click", () => middle(1.6));
one("#farther").addEventListener("click", () => middle(1 / 1.6));
one("#whole").addEventListener("click", () => { pick(null); whole(); });
one("#colour").addEventListener("change", event => {
  picked = null;
  colouring = items.colourings[+event.target.value];
  recolour();
});
one("#find").addEventListener("input", event => find(event.target.value));
one("#copy-matches").addEventListener("click", event => {
  copyText(items.path.filter((_, i) => live[i]).join("\n"), event.target);
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

// --- addresses: #item=7 opens details, #map=7 shows an item on the map, #find=word, #colour=label ---
function follow() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (name === "item" && items.path[value]) open(+value);
    if (name === "map" && items.path[value]) show(+value);
    if (name === "find") { one("#find").value = value; find(value); }
    const number = items.colourings.findIndex(each => name === "colour" && each.title === value);
    if (number >= 0) { one("#colour").value = number; colouring = items.colourings[number]; recolour(); }
  }
}
window.addEventListener("hashchange", follow);

function fit() { // the canvas has as many pixels as the screen gives it
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  if (box.width === width && box.height === height) return;
  [width, height] = [box.width, box.height];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  placedFor = "";
  hover.hidden = true;
  draw();
}
fit();
recolour();
follow();
draw();
new ResizeObserver(fit).observe(canvas);
