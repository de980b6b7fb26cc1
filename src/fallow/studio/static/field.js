// A field of pictures: dots far away, the pictures themselves close up; move, zoom, point, lasso.
import { Plane, View } from "./plane.js";
import { Dots } from "./dots.js";

const NEAR = 26; // pixels between neighbours from which pictures appear
const MOST = 260; // pictures drawn at once
const STEADY = 40; // milliseconds a frame may take while something moves
const SETTLED = 140; // milliseconds without a movement after which everything is drawn again
const LEAST = 10000; // dots that are always drawn
const AT_ONCE = 25000; // dots a first movement draws, before it is known how fast this machine is

export class Field {
  // `on` may hold: thumbnail(row) -> promise of an address, pointed(row, x, y), opened(row), enclosed(rows, more), moved()
  constructor(frame, on) {
    Object.assign(this, { frame, on, view: new View(), lasso: false, chosen: -1, pointed: -1, share: 1, slow: STEADY, before: 0 });
    this.plot = frame.appendChild(document.createElement("canvas"));
    this.canvas = frame.appendChild(document.createElement("canvas")); // what lies above the dots
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.ink = this.canvas.getContext("2d");
    this.dots = Dots.on(this.plot);
    if (this.dots) this.dots.restored = () => this.redraw();
    Object.assign(this, { pictures: new Map(), placed: [], line: null, fingers: new Map(), off: new AbortController() });
    this.resized = new ResizeObserver(() => this.measure());
    this.resized.observe(frame);
    this.listen();
  }

  destroy() {
    this.off.abort();
    this.resized.disconnect();
    clearTimeout(this.later);
    cancelAnimationFrame(this.waiting);
    this.waiting = -1; // a picture that arrives later asks for nothing more
    this.dots?.gl.getExtension("WEBGL_lose_context")?.loseContext(); // browsers keep few of them
  }

  load(places, label) {
    this.plane = new Plane(places);
    this.ranks = new Uint8Array(this.plane.count).fill(2);
    this.share = Math.min(1, AT_ONCE / this.plane.count);
    this.dots?.places(places);
    this.canvas.setAttribute("aria-label", label);
    this.measure();
  }

  paint(colours) { // red green blue and a byte to spare, for every dot
    this.colours = colours;
    this.dots?.colours(colours);
    this.redraw();
  }

  rank(ranks) { // 0 is not there, 1 is faint, 2 is plain, 3 is chosen
    this.ranks = ranks;
    this.picking = ranks.includes(3);
    this.dots?.sorted(ranks);
    this.redraw();
  }

  measure() {
    const { width, height } = this.frame.getBoundingClientRect();
    if (!width || !height || !this.plane) return;
    Object.assign(this.view, { width, height });
    this.view.farthest = Math.max(8, 400 / this.spacing(1));
    this.redraw();
  }

  // --- drawing ---

  spacing(zoom = this.view.zoom) { // pixels between neighbours, were they spread evenly
    const [across, down] = this.view.stretch;
    return Math.sqrt(across * down / Math.max(1, this.plane.count)) * zoom / this.view.zoom;
  }

  get side() { return Math.min(120, Math.max(32, this.spacing())); }
  get radius() { return Math.min(5, Math.max(1.6, this.spacing() / 4)); }
  at(row) { return this.view.toPixel(this.plane.places[2 * row], this.plane.places[2 * row + 1]); }

  redraw(dots = true) { // the dots too, or only what lies above them
    this.stale ||= dots;
    if (!this.waiting) this.waiting = requestAnimationFrame(now => this.draw(now));
  }

  moving() { // draw soon, and as many dots as a steady movement leaves time for
    this.busy = true;
    this.on.moved?.();
    this.redraw();
  }

  draw(now) {
    this.waiting = 0;
    if (!this.colours || !this.view.width) return; // nothing to draw yet
    if (this.busy) this.pace(now);
    if (this.stale) this.dots?.draw(this.view, this.radius, this.busy ? this.share : 1, this.picking);
    this.stale = false;
    this.over();
  }

  pace(now) { // fewer dots where frames are slow, more where they are quick; all of them at rest
    const took = this.before ? Math.min(1000, now - this.before) : this.slow;
    this.slow += 0.3 * (took - this.slow); // frames come in bursts: one quick one says little
    this.share = Math.min(1, Math.max(LEAST / this.plane.count, this.share * Math.min(1.1, Math.max(0.6, STEADY / this.slow))));
    this.before = now;
    clearTimeout(this.later);
    const rest = this.fingers.size ? 5 * SETTLED : SETTLED; // a hand that holds on will move again
    this.later = setTimeout(() => { this.busy = false; this.before = 0; this.redraw(); }, Math.max(rest, 2.5 * this.slow));
  }

  over() { // pictures, rings and the line that is being drawn
    const { ink, canvas, view } = this, ratio = window.devicePixelRatio || 1;
    const width = Math.round(view.width * ratio), height = Math.round(view.height * ratio);
    this.placed = this.spacing() >= NEAR ? this.place() : [];
    const bare = !this.placed.length && this.chosen < 0 && this.pointed < 0 && !this.line;
    if (bare && this.bare && canvas.width === width && canvas.height === height) return; // as it was
    this.bare = bare;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.clearRect(0, 0, view.width, view.height);
    const style = getComputedStyle(canvas), accent = style.getPropertyValue("--accent");
    const side = this.side * 0.92;
    for (const row of this.placed) {
      const picture = this.picture(row);
      if (!picture) continue;
      const [x, y] = this.at(row), scale = side / Math.max(picture.naturalWidth, picture.naturalHeight);
      const [w, h] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
      const [red, green, blue] = this.colours.subarray(4 * row, 4 * row + 3);
      const rank = this.ranks[row], edge = rank === 3 ? 3 : 2;
      ink.globalAlpha = rank === 1 ? 0.25 : rank === 2 && this.picking ? 0.55 : 1;
      Object.assign(ink, { strokeStyle: rank === 3 ? style.color : `rgb(${red} ${green} ${blue})`, lineWidth: edge });
      ink.strokeRect(x - w / 2 - edge / 2, y - h / 2 - edge / 2, w + edge, h + edge);
      if (ink.globalAlpha < 1) this.cover(x - w / 2, y - h / 2, w, h, style.getPropertyValue("--card"));
      ink.drawImage(picture, x - w / 2, y - h / 2, w, h);
    }
    ink.globalAlpha = 1;
    ink.strokeStyle = style.color;
    ink.lineWidth = 2.5;
    for (const row of new Set([this.chosen, this.pointed])) {
      if (row < 0) continue;
      const [x, y] = this.at(row), [w, h] = this.extent(row);
      ink.beginPath();
      if (w) ink.rect(x - w / 2 - 4, y - h / 2 - 4, w + 8, h + 8);
      else ink.arc(x, y, this.radius + 4, 0, 7);
      ink.stroke();
    }
    if (this.line) this.drawLine(accent);
  }

  cover(left, top, width, height, paper) { // no dots are seen through a faint picture
    const { ink } = this, strength = ink.globalAlpha;
    Object.assign(ink, { globalAlpha: 1, fillStyle: paper });
    ink.fillRect(left, top, width, height);
    ink.globalAlpha = strength;
  }

  drawLine(accent) {
    const { ink } = this;
    ink.beginPath();
    for (const [x, y] of this.line) ink.lineTo(...this.view.toPixel(x, y));
    ink.closePath();
    Object.assign(ink, { strokeStyle: accent, fillStyle: accent, lineWidth: 2, globalAlpha: 0.12 });
    ink.fill();
    ink.globalAlpha = 1;
    ink.setLineDash([6, 4]);
    ink.stroke();
    ink.setLineDash([]);
  }

  place() { // rows whose pictures fit without touching; the same ones while the field moves
    const { view, plane } = this, side = this.side;
    const [kx, ky] = view.stretch.map(length => length / side);
    const [left, top] = view.toPlace(-side, -side), [right, bottom] = view.toPlace(view.width + side, view.height + side);
    const rows = [];
    for (const row of plane.near(left, top, right, bottom)) if (this.ranks[row]) rows.push(row);
    const rank = row => (row === this.chosen ? -1 : Math.imul(row + 1, 2654435761) >>> 0); // no kind first
    rows.sort((a, b) => rank(a) - rank(b));
    const grid = new Map(), placed = [];
    for (const row of rows) {
      const x = plane.places[2 * row] * kx, y = plane.places[2 * row + 1] * ky;
      const column = Math.floor(x), line = Math.floor(y);
      let free = true;
      for (let c = column - 1; c <= column + 1 && free; c++) {
        for (let l = line - 1; l <= line + 1 && free; l++) {
          const other = grid.get(c * 1048576 + l);
          free = !other || Math.abs(other[0] - x) >= 1 || Math.abs(other[1] - y) >= 1;
        }
      }
      if (!free) continue;
      grid.set(column * 1048576 + line, [x, y]);
      if (placed.push(row) === MOST) break;
    }
    return placed;
  }

  picture(row) { // the small picture, once it has arrived
    let picture = this.pictures.get(row);
    if (!picture) {
      picture = new Image();
      picture.onload = () => { if (this.waiting !== -1) this.redraw(false); };
      this.on.thumbnail(row).then(address => { if (address) picture.src = address; });
    }
    this.pictures.delete(row); // the ones not looked at for longest go first
    this.pictures.set(row, picture);
    if (this.pictures.size > 4 * MOST) this.pictures.delete(this.pictures.keys().next().value);
    return picture.complete && picture.naturalWidth ? picture : null;
  }

  extent(row) { // of the picture of a row as it is drawn, or nothing
    const picture = this.placed.includes(row) && this.picture(row);
    if (!picture) return [0, 0];
    const scale = this.side * 0.92 / Math.max(picture.naturalWidth, picture.naturalHeight);
    return [picture.naturalWidth * scale, picture.naturalHeight * scale];
  }

  // --- pointing ---

  under(px, py) { // the row at a place of the field, or -1
    for (const row of this.placed) {
      const [x, y] = this.at(row), [w, h] = this.extent(row);
      if (Math.abs(x - px) <= w / 2 && Math.abs(y - py) <= h / 2) return row;
    }
    return this.nearest(px, py, 14);
  }

  nearest(px, py, reach) {
    return this.plane.nearest(...this.view.toPlace(px, py), this.view.stretch, reach, row => this.ranks[row] > 1);
  }

  point(row) {
    if (row !== this.pointed) { this.pointed = row; this.redraw(false); }
    this.canvas.classList.toggle("pointing", row >= 0);
    this.on.pointed?.(row, ...(row >= 0 ? this.at(row) : []));
  }

  middle() { return this.nearest(this.view.width / 2, this.view.height / 2, Infinity); }

  show(row) { // bring a row to the middle, close enough for pictures
    this.chosen = row;
    const [x, y] = this.plane.places.subarray(2 * row, 2 * row + 2);
    Object.assign(this.view, { x, y });
    this.view.closer(Math.max(1, 70 / this.spacing()));
    this.redraw();
  }

  inView() { // rows that can be seen now
    const [left, top] = this.view.toPlace(0, 0), [right, bottom] = this.view.toPlace(this.view.width, this.view.height);
    return this.plane.inside([[left, top], [right, top], [right, bottom], [left, bottom]], row => this.ranks[row] > 1);
  }

  zoom(factor, px, py) {
    this.view.closer(factor, px, py);
    this.moving();
  }

  // --- events ---

  listen() {
    const hear = (kind, act, options = {}) =>
      this.canvas.addEventListener(kind, act, { signal: this.off.signal, ...options });
    let far = 0;
    hear("pointerdown", event => {
      const at = [event.offsetX, event.offsetY];
      this.fingers.set(event.pointerId, at);
      far = 0;
      this.canvas.setPointerCapture(event.pointerId);
      const drawn = (this.lasso || event.shiftKey) && this.fingers.size === 1;
      this.line = drawn ? [this.view.toPlace(...at)] : null;
    });
    hear("pointermove", event => {
      const before = this.fingers.get(event.pointerId), now = [event.offsetX, event.offsetY];
      if (!before) { this.point(this.under(...now)); return; }
      far += Math.hypot(now[0] - before[0], now[1] - before[1]);
      const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        this.line = null;
        const gap = at => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
        this.zoom(gap(now) / gap(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else if (this.line) {
        if (Math.hypot(now[0] - before[0], now[1] - before[1]) < 3) return; // keep the older place
        this.line.push(this.view.toPlace(...now));
        this.redraw(false);
      } else if (far > 4) {
        this.point(-1);
        this.canvas.classList.add("moving");
        this.view.move(now[0] - before[0], now[1] - before[1]);
        this.moving();
      }
      this.fingers.set(event.pointerId, now);
    });
    const release = event => {
      const line = this.line, known = this.fingers.delete(event.pointerId);
      this.line = null;
      this.canvas.classList.remove("moving");
      if (!known) return;
      if (line && far > 8) {
        const rows = this.plane.inside(line, row => this.ranks[row] > 1);
        this.on.enclosed?.(rows, event.ctrlKey || event.metaKey);
      } else if (far <= 4 && event.type === "pointerup") {
        const row = this.under(event.offsetX, event.offsetY);
        if (row >= 0) this.on.opened?.(row);
      }
      this.redraw(false);
    };
    hear("pointerup", release);
    hear("pointercancel", release);
    hear("pointerleave", () => this.point(-1));
    hear("wheel", event => {
      event.preventDefault();
      this.zoom(2 ** (-event.deltaY / (event.deltaMode ? 12 : 300)), event.offsetX, event.offsetY);
    }, { passive: false });
    hear("dblclick", event => this.zoom(2, event.offsetX, event.offsetY));
    hear("keydown", event => this.key(event));
    hear("blur", () => this.point(-1));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60, moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) this.view.move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.view.closer(1.4);
    else if (event.key === "-" || event.key === "_") this.view.closer(1 / 1.4);
    else if (event.key === "0") this.view.whole();
    else if (event.key === "Enter") { const row = this.middle(); if (row >= 0) this.on.opened?.(row); }
    else if (event.key === " ") { const row = this.middle(); if (row >= 0) this.on.enclosed?.(Uint32Array.of(row), true); }
    else if (event.key === "a") this.on.enclosed?.(this.inView(), event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.moving();
    this.point(this.middle());
  }
}
