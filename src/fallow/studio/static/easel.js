// Masks painted with a brush and key points dragged, over one picture; each save is a new version.
import { bytes, failed, get, h, keys, named, post, toast } from "./parts.js";
import { View } from "./plane.js";
import { desk } from "./studio.js";

const TINT = 95, EDGE = 255, IGNORED = [150, 150, 150], STEPS = 30; // of the mask; of its borders; unjudged places; undo
const hexes = text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));

export class Easel {
  constructor(stage, page, row) {
    Object.assign(this, { stage, page, row, mode: "mask", brush: 9, past: [], coming: [], clean: 0, here: -1, changed: new Set() });
    this.view = new View(16);
    this.canvas = h("canvas", { tabindex: "0", role: "application", "aria-label": `Picture ${row}: paint its mask or move its key points` });
    this.ink = this.canvas.getContext("2d");
    this.kit = h("div", { class: "kit" });
    this.frame = h("div", { class: "easel" }, this.canvas);
    stage.append(h("div", { class: "drawing" }, this.frame, this.kit));
    this.watch = new ResizeObserver(() => this.measure());
    this.free = keys({
      "ctrl+z": ["undo on the easel, then the last decision", () => this.past.length ? this.back(this.past, this.coming) : page.back("undo")],
      "ctrl+y": ["do again", () => this.back(this.coming, this.past)],
      "ctrl+s": ["save", () => this.save()],
      "[": ["smaller brush", () => this.size(this.brush / 1.3)],
      "]": ["larger brush", () => this.size(this.brush * 1.3)],
      "+": ["zoom in", () => this.zoom(1.4)],
      "-": ["zoom out", () => this.zoom(1 / 1.4)],
      0: ["whole picture", () => { this.view.whole(); this.draw(); }],
      n: ["the next picture", () => this.turnTo(1)],
      p: ["the picture before", () => this.turnTo(-1)],
      Delete: ["key point: not visible", () => this.hide()],
      Escape: ["back to all pictures", () => this.close()],
      ...Object.fromEntries(Array.from({ length: 9 }, (_, k) => [String(k + 1), [`class or point ${k + 1}`, () => this.take(k)]])),
    });
  }

  async start() {
    const image = new Image();
    image.src = `/api/collection/picture/${this.row}`;
    const [classes, mask, points, { rows: [cells] }] = await Promise.all([
      get("/api/findings/classes"), bytes(`/api/findings/mask/${this.row}`).catch(error => { this.without = error.message; return null; }),
      get(`/api/findings/points/${this.row}`), get("/api/collection/rows", { rows: this.row }), image.decode().catch(() => { throw new Error("This picture cannot be shown: is the file still there?"); })]);
    Object.assign(this, { classes, image, name: named(cells, this.row), points: points.points, joined: classes.limbs, code: Math.min(1, classes.names.length - 1) });
    [this.height, this.width] = mask ? new Uint32Array(mask, 0, 2) : [cells.height ?? image.naturalHeight, cells.width ?? image.naturalWidth];
    this.codes = mask ? new Uint8Array(mask, 8).slice() : null;
    if (!mask || this.points.length && !this.codes.some(code => code)) this.mode = "points";
    this.brush = Math.max(3, Math.round(Math.min(this.width, this.height) / 12));
    this.layer = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    this.paintAll();
    this.watch.observe(this.frame);
    this.fill();
    this.listen();
    this.canvas.focus({ preventScroll: true });
    this.page.root.dataset.easel = this.row;
  }

  leave() {
    if (this.changed.size) this.save(); // nothing that was drawn is lost; it can be undone
    this.free();
    this.watch.disconnect();
    delete this.page.root.dataset.easel;
  }

  close() { location.hash = "#/findings?part=draw"; }
  turnTo(by) { const row = this.row + by; if (row >= 0 && row < desk.pictures) location.hash = `#/findings?draw=${row}`; }

  // --- what is seen ---

  measure() {
    const { width, height } = this.frame.getBoundingClientRect();
    if (!width) return;
    const scale = Math.min((width - 32) / this.width, (height - 32) / this.height);
    // the view shows a square from 0 to 1 both ways: as many pixels across as the picture is wide
    Object.assign(this.view, { width, height, fitted: [this.width * scale, this.height * scale] });
    this.draw();
  }

  get scale() { return this.view.fitted[0] / this.width * this.view.zoom; } // page pixels of a picture's pixel
  toPage(x, y) { return [(x - this.view.x * this.width) * this.scale + this.view.width / 2, (y - this.view.y * this.height) * this.scale + this.view.height / 2]; }
  toPicture(px, py) { return [(px - this.view.width / 2) / this.scale + this.view.x * this.width, (py - this.view.height / 2) / this.scale + this.view.y * this.height]; }

  zoom(factor, px = this.view.width / 2, py = this.view.height / 2) {
    const [x, y] = this.toPicture(px, py);
    this.view.zoom = Math.min(40, Math.max(1, this.view.zoom * factor));
    this.view.x = (x - (px - this.view.width / 2) / this.scale) / this.width;
    this.view.y = (y - (py - this.view.height / 2) / this.scale) / this.height;
    this.view.keep();
    this.draw();
  }

  paintAll() { this.paint(0, 0, this.width, this.height); }

  paint(left, top, right, bottom) { // the mask's colours in a box, and around it, where borders may have changed
    if (!this.codes) return;
    [left, top] = [Math.max(0, left - 1), Math.max(0, top - 1)];
    const width = Math.min(this.width, right + 1) - left, height = Math.min(this.height, bottom + 1) - top;
    if (width < 1 || height < 1) return;
    const at = (x, y) => this.codes[Math.max(0, Math.min(this.height - 1, y)) * this.width + Math.max(0, Math.min(this.width - 1, x))];
    const laid = new ImageData(width, height), colours = this.classes.colours.map(hexes);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [px, py] = [left + x, top + y], code = at(px, py);
        if (!code) continue;
        const edge = at(px - 1, py) !== code || at(px + 1, py) !== code || at(px, py - 1) !== code || at(px, py + 1) !== code;
        laid.data.set(colours[code] ?? IGNORED, 4 * (y * width + x));
        laid.data[4 * (y * width + x) + 3] = edge ? EDGE : TINT;
      }
    }
    this.layer.getContext("2d").putImageData(laid, left, top);
  }

  draw() {
    if (!this.view.fitted || this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.show(); });
  }

  show() {
    const { ink, canvas, view } = this, ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: Math.round(view.width * ratio), height: Math.round(view.height * ratio) });
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.imageSmoothingEnabled = this.scale < 3;
    const [left, top] = this.toPage(0, 0), size = [this.width * this.scale, this.height * this.scale];
    ink.drawImage(this.image, left, top, ...size);
    ink.imageSmoothingEnabled = false;
    if (this.codes) ink.drawImage(this.layer, left, top, ...size);
    this.showPoints();
    if (this.mode === "mask" && this.pen && !this.down?.drag) {
      ink.beginPath();
      ink.arc(...this.pen, this.brush / 2 * this.scale, 0, 7);
      Object.assign(ink, { strokeStyle: "#fff", lineWidth: 3 });
      ink.stroke();
      Object.assign(ink, { strokeStyle: "#222", lineWidth: 1 });
      ink.stroke();
    }
  }

  seat(point) { return this.toPage(point.x + 0.5, point.y + 0.5); } // 0 is the middle of the first pixel

  showPoints() {
    const { ink } = this, seen = point => point && point.x !== null;
    Object.assign(ink, { lineWidth: 2.5, strokeStyle: "rgb(255 255 255 / .85)" });
    for (const [a, b] of this.joined) {
      if (!seen(this.points[a]) || !seen(this.points[b])) continue;
      ink.beginPath();
      ink.moveTo(...this.seat(this.points[a]));
      ink.lineTo(...this.seat(this.points[b]));
      ink.stroke();
    }
    this.points.forEach((point, k) => {
      if (!seen(point)) return;
      const [x, y] = this.seat(point);
      ink.beginPath();
      ink.arc(x, y, k === this.here ? 8 : 6, 0, 7);
      Object.assign(ink, { fillStyle: k === this.here ? "#d2691e" : "#1f6feb", strokeStyle: "#fff", lineWidth: 2 });
      ink.fill();
      ink.stroke();
      if (this.mode !== "points") return;
      Object.assign(ink, { font: "12px sans-serif", lineWidth: 3, strokeStyle: "rgb(0 0 0 / .65)", fillStyle: "#fff" });
      ink.strokeText(point.name, x + 10, y + 4);
      ink.fillText(point.name, x + 10, y + 4);
    });
  }

  // --- tools ---

  fill() {
    const choice = (name, checked, act, ...inner) => h("label", { class: "choice" }, h("input", { type: "radio", name, checked, onchange: act }), ...inner);
    const modes = h("fieldset", {}, h("legend", { text: "Draw" }), h("div", { class: "row-of-two" },
      this.codes ? choice("mode", this.mode === "mask", () => this.turn("mask"), h("span", { text: "Mask" })) : null,
      choice("mode", this.mode === "points", () => this.turn("points"), h("span", { text: "Key points" }))));
    const total = this.width * this.height, share = code => `${(100 * this.codes.reduce((sum, one) => sum + (one === code), 0) / total).toFixed(1)} %`;
    const tools = this.mode === "mask"
      ? [h("fieldset", {}, h("legend", { text: "Class" }), ...this.classes.names.map((name, code) => choice("class", code === this.code, () => { this.code = code; this.canvas.focus(); },
        h("i", { style: { background: this.classes.colours[code] } }), h("span", { text: name }), h("span", { class: "count", text: share(code) })))),
      this.classes.fixed ? null : this.naming(),
      h("label", {}, h("span", { class: "note", text: "Brush " }), h("input", { type: "range", min: 1, max: Math.max(40, Math.round(Math.min(this.width, this.height) / 2)), value: this.brush, oninput: event => this.size(+event.target.value) })),
      h("p", { class: "note", text: `Drag paints; with Shift it paints ${this.classes.names[0]}. The wheel zooms, the right button moves.` })]
      : [h("fieldset", {}, h("legend", { text: "Point" }), ...this.points.map((point, k) => choice("point", k === this.here, () => { this.here = k; this.draw(); this.canvas.focus(); },
        h("span", { text: point.name }), h("span", { class: "count", text: point.x === null ? "not visible" : `${Math.round(point.x)}, ${Math.round(point.y)}` })))),
      this.adding(),
      h("p", { class: "note", text: "Drag a point, or choose it and click where it belongs. Arrows move it by a pixel, Delete says it is not visible." })];
    const step = (by, text, name) => h("button", { type: "button", text, title: name, "aria-label": name, disabled: this.row + by < 0 || this.row + by >= desk.pictures, onclick: () => this.turnTo(by) });
    const ways = h("div", { class: "ways" }, h("a", { href: "#/findings?part=draw", text: "← All pictures" }), h("span", { class: "name", title: this.name, text: this.name }),
      step(-1, "‹", "The picture before (P)"), step(1, "›", "The next picture (N)"));
    this.kit.replaceChildren(ways, modes, ...tools.filter(Boolean),
      h("div", { class: "keeping" }, h("button", { type: "button", class: "main", text: "Save", title: "Ctrl+S", disabled: !this.changed.size, onclick: () => this.save() }),
        h("button", { type: "button", text: "Undo", title: "Ctrl+Z", disabled: !this.past.length, onclick: () => this.back(this.past, this.coming) }),
        h("button", { type: "button", text: "Redo", title: "Ctrl+Y", disabled: !this.coming.length, onclick: () => this.back(this.coming, this.past) })),
      this.without ? h("p", { class: "note", text: this.without }) : "");
  }

  naming() {
    const name = h("input", { placeholder: "one more class", "aria-label": "Name of one more class", maxlength: "80" });
    return h("form", { class: "together", onsubmit: async event => {
      event.preventDefault();
      try { this.classes = await post("/api/findings/classes", { names: [...this.classes.names, name.value] }); this.fill(); } catch (error) { failed(error); }
    } }, name, h("button", { type: "submit", text: "Add" }));
  }

  adding() {
    const name = h("input", { placeholder: "one more point", "aria-label": "Name of one more point", maxlength: "80" });
    return h("form", { class: "together", onsubmit: event => {
      event.preventDefault();
      const text = name.value.trim();
      if (!text || this.points.some(point => point.name === text)) { toast("Give the point a name of its own.", true); return; }
      this.remember();
      this.points.push({ name: text, x: null, y: null, sure: null });
      this.here = this.points.length - 1;
      this.fill();
      this.canvas.focus();
    } }, name, h("button", { type: "submit", text: "Add" }));
  }

  turn(mode) { this.mode = mode; this.fill(); this.draw(); }
  size(brush) { this.brush = Math.max(1, Math.round(brush)); const slider = this.kit.querySelector("[type=range]"); if (slider) slider.value = this.brush; this.draw(); }

  take(k) {
    if (this.mode === "mask" && k < this.classes.names.length) this.code = k;
    else if (this.mode === "points" && k < this.points.length) this.here = k;
    this.fill();
    this.draw();
  }

  // --- changes ---

  now() { return this.mode === "mask" ? { codes: this.codes.slice() } : { points: structuredClone(this.points) }; }

  remember() {
    this.past.push(this.now());
    if (this.past.length > STEPS) { this.past.shift(); this.clean -= 1; }
    this.coming.length = 0;
    this.changed.add(this.mode);
  }

  back(from, to) {
    const state = from.pop();
    if (!state) return;
    this.mode = state.codes ? "mask" : "points";
    to.push(this.now());
    Object.assign(this, state);
    if (this.past.length === this.clean) this.changed.clear(); // as it was saved
    else this.changed.add(this.mode);
    this.paintAll();
    this.fill();
    this.draw();
  }

  stroke(from, to, code) { // a thick line of one class
    const radius = this.brush / 2, [ax, ay] = from, [bx, by] = to, length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
    const left = Math.max(0, Math.floor(Math.min(ax, bx) - radius)), right = Math.min(this.width, Math.ceil(Math.max(ax, bx) + radius));
    const top = Math.max(0, Math.floor(Math.min(ay, by) - radius)), bottom = Math.min(this.height, Math.ceil(Math.max(ay, by) + radius));
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const along = Math.max(0, Math.min(1, ((x + 0.5 - ax) * (bx - ax) + (y + 0.5 - ay) * (by - ay)) / length));
        const away = (x + 0.5 - ax - along * (bx - ax)) ** 2 + (y + 0.5 - ay - along * (by - ay)) ** 2;
        if (away <= radius * radius) this.codes[y * this.width + x] = code;
      }
    }
    this.paint(left, top, right, bottom);
    this.draw();
  }

  place(x, y) { // of the picture, from its edge
    const within = (at, length) => Math.max(0, Math.min(length - 1, at - 0.5));
    Object.assign(this.points[this.here], { x: within(x, this.width), y: within(y, this.height), sure: null });
    this.draw();
  }

  hide() {
    if (this.mode !== "points" || this.here < 0) return;
    this.remember();
    Object.assign(this.points[this.here], { x: null, y: null, sure: null });
    this.fill();
    this.draw();
  }

  nearest(px, py) {
    let best = -1, least = 18 ** 2;
    this.points.forEach((point, k) => {
      if (point.x === null) return;
      const [x, y] = this.seat(point), away = (x - px) ** 2 + (y - py) ** 2;
      if (away < least) { least = away; best = k; }
    });
    return best;
  }

  listen() {
    const { canvas } = this, at = event => [event.offsetX, event.offsetY];
    canvas.addEventListener("contextmenu", event => event.preventDefault());
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      this.down = { last: at(event), drag: event.button !== 0, code: event.shiftKey ? 0 : this.code };
      if (this.down.drag) return;
      if (this.mode === "points") {
        const near = this.nearest(...at(event));
        if (near >= 0) this.here = near;
        if (this.here < 0) return;
        this.remember();
        if (near < 0) this.place(...this.toPicture(...at(event)));
        this.down.point = true;
      } else {
        this.remember();
        const place = this.toPicture(...at(event));
        this.stroke(place, place, this.down.code);
      }
    });
    canvas.addEventListener("pointermove", event => {
      this.pen = at(event);
      const { down } = this;
      if (!down) { this.draw(); return; }
      if (down.drag) {
        this.view.x -= (this.pen[0] - down.last[0]) / this.scale / this.width;
        this.view.y -= (this.pen[1] - down.last[1]) / this.scale / this.height;
        this.view.keep();
        this.draw();
      } else if (down.point) this.place(...this.toPicture(...this.pen));
      else if (this.mode === "mask") this.stroke(this.toPicture(...down.last), this.toPicture(...this.pen), down.code);
      down.last = this.pen;
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { if (this.down) { this.down = null; this.fill(); this.draw(); } });
    canvas.addEventListener("pointerleave", () => { this.pen = null; this.draw(); });
    canvas.addEventListener("wheel", event => { event.preventDefault(); this.zoom(2 ** (-event.deltaY / 300), ...at(event)); }, { passive: false });
    canvas.addEventListener("keydown", event => this.key(event));
  }

  key(event) { // without a pointer: arrows move a point, or the brush, and Space paints
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, move = moves[event.key];
    if (event.ctrlKey || event.metaKey || (!move && event.key !== " ")) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 : 1;
    if (this.mode === "points" && move && this.here >= 0) {
      const point = this.points[this.here];
      if (!event.repeat) this.remember();
      this.place((point.x ?? this.width / 2) + 0.5 + far * move[0], (point.y ?? this.height / 2) + 0.5 + far * move[1]);
      this.fill();
    } else if (this.mode === "mask") {
      this.pen ??= [this.view.width / 2, this.view.height / 2];
      if (move) this.pen = [this.pen[0] + 4 * far * move[0], this.pen[1] + 4 * far * move[1]];
      else { this.remember(); const place = this.toPicture(...this.pen); this.stroke(place, place, this.code); this.fill(); }
      this.draw();
    }
  }

  async save() {
    try {
      const said = [];
      if (this.changed.has("mask")) {
        const head = new Uint32Array([this.height, this.width]);
        said.push((await post(`/api/findings/mask/${this.row}`, new Blob([head, this.codes]))).said);
      }
      if (this.changed.has("points")) said.push((await post(`/api/findings/points/${this.row}`, { points: this.points })).said);
      if (!said.length) return;
      this.changed.clear();
      this.clean = this.past.length;
      this.fill();
      toast(said.join("; ").replace(/^./, letter => letter.toUpperCase()));
      await this.page.renew();
      this.page.root.dataset.saved = this.page.root.dataset.version;
    } catch (error) { failed(error); }
  }
}
