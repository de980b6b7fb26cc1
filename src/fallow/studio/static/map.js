// The map: every picture a dot, those that look alike close together; choose with a lasso, then decide.
import { bytes, empty, facts, failed, get, h, keys, named, picture, post, runs, thumbnail, toast, told } from "./parts.js";
import { state } from "./studio.js";
import { Field } from "./field.js";

const NONE = 65535, LEGEND = 24, STRIP = 36;
const number = value => value.toLocaleString("en");
const short = value => Math.abs(value) >= 1e4 ? number(Math.round(value)) : String(+value.toPrecision(3));
const plural = count => `${number(count)} ${count === 1 ? "picture" : "pictures"}`;

export async function show(root, words) {
  const about = await get("/api/map/");
  state(plural(about.pictures));
  if (!about.places) {
    root.append(empty("These pictures have no places yet. Explore them once, then open what it leaves: pictures that look alike will lie close together.",
      runs("Explore them", "explore", {}, true)));
    return null;
  }
  const page = new MapPage(root, about);
  await page.start(words);
  return () => page.leave();
}

class MapPage {
  constructor(root, about) {
    Object.assign(this, { root, about, picked: null, found: null, opened: -1, chosen: new Uint8Array(about.pictures), count: 0 });
    this.lay();
  }

  lay() {
    const button = (text, title, act, more = {}) => h("button", { type: "button", title, onclick: act, ...more }, text);
    this.colour = h("select", { id: "colour", onchange: () => this.recolour().catch(failed) });
    this.find = h("input", { type: "search", id: "find", placeholder: "name or label", autocomplete: "off", spellcheck: "false", oninput: () => this.search() });
    this.tools = [["Move", false, "Drag moves the map (V)"], ["Lasso", true, "Drag draws around pictures (L)"]].map(([text, lasso, title]) =>
      button(text, title, () => this.tool(lasso), { "aria-pressed": String(!lasso) }));
    this.frame = h("div", { class: "field" });
    this.hover = h("div", { class: "hover", hidden: true });
    this.legend = h("div", { class: "legend-row", role: "group", "aria-label": "Colours" });
    this.said = h("p", { class: "hidden-label", "aria-live": "polite" });
    this.panel = h("aside", { class: "panel", "aria-label": "What is chosen" });
    this.names = h("datalist", { id: "map-labels" });
    this.root.append(
      h("div", { class: "bar" },
        h("div", { class: "drags", role: "group", "aria-label": "What dragging does" }, ...this.tools),
        h("label", {}, "Colour by ", this.colour), h("label", {}, "Find ", this.find),
        h("span", { class: "space" }),
        h("div", { class: "zooms" },
          button("+", "Zoom in (+)", () => this.field.zoom(1.6), { "aria-label": "Zoom in" }),
          button("−", "Zoom out (−)", () => this.field.zoom(1 / 1.6), { "aria-label": "Zoom out" }),
          button("Show all", "Everything (0)", () => this.whole()))),
      h("div", { class: "middle" }, this.frame, this.panel), this.legend, this.said, this.names);
    this.field = new Field(this.frame, {
      thumbnail: row => thumbnail(row, 96),
      pointed: (row, x, y) => this.pointed(row, x, y),
      opened: row => this.open(row),
      enclosed: (rows, more) => this.choose(rows, more),
    });
    this.frame.append(this.hover);
    if (!this.field.dots) this.frame.append(h("p", { class: "no-webgl", role: "alert", text: "This browser draws no WebGL, so the dots are missing. Colours below still choose pictures." }));
    this.free = keys({
      v: ["drag to move the map", () => this.tool(false)],
      l: ["drag to draw around pictures", () => this.tool(true)],
      "ctrl+z": ["undo the last label or exclusion", () => this.back("undo")],
      "ctrl+y": ["do it again", () => this.back("redo")],
      Escape: ["choose nothing", () => this.clear()],
      x: ["exclude what is chosen", () => this.exclude()],
      Delete: ["exclude what is chosen", () => this.exclude()],
      Enter: ["on the map: open the picture nearest the middle", () => {}],
      a: ["on the map: choose everything in view", () => {}],
      " ": ["on the map: add the picture nearest the middle", () => {}],
      0: ["everything", () => this.whole()],
    });
  }

  async start(words) {
    this.options();
    if (this.about.columns.includes(words.get("colour"))) this.colour.value = words.get("colour");
    const places = new Float32Array(await bytes("/api/map/points"));
    this.field.load(places, `Map of ${plural(this.about.pictures)}; those that look alike are close together. Arrows move, plus and minus zoom, Enter opens, A chooses what is in view.`);
    await this.recolour();
    this.side();
    const row = Number(words.get("row") ?? -1);
    if (row >= 0 && row < this.about.pictures) { this.field.show(row); this.open(row); }
  }

  leave() {
    this.free();
    this.field.destroy();
    clearTimeout(this.typing);
  }

  options() {
    const before = this.colour.value;
    this.colour.replaceChildren(...this.about.columns.map(name => h("option", { text: name.replaceAll("_", " "), value: name })));
    if (this.about.columns.includes(before)) this.colour.value = before;
  }

  // --- colours ---

  async recolour() {
    const column = this.colour.value;
    const codes = async name => new Uint16Array(await bytes("/api/map/codes", { column: name }));
    const excluded = this.about.columns.includes("excluded");
    [this.meaning, this.codes, this.gone] = column
      ? await Promise.all([get("/api/map/legend", { column }), codes(column), excluded ? codes("excluded") : null])
      : [null, new Uint16Array(this.about.pictures).fill(NONE), null];
    if (this.meaning?.column === "excluded") this.gone = null; // to be chosen, and included again
    if (this.picked !== null && !(this.picked < (this.meaning?.names.length ?? 0) || this.picked === NONE)) this.picked = null;
    this.paint();
    this.rank();
    this.explain();
    if (column === "label") this.names.replaceChildren(...this.meaning.names.map(name => h("option", { value: name })));
    else if (this.about.columns.includes("label") && !this.names.children.length) {
      const { names } = await get("/api/map/legend", { column: "label" });
      this.names.replaceChildren(...names.map(name => h("option", { value: name })));
    }
  }

  paint() {
    const quiet = bytesOf(getComputedStyle(this.root).getPropertyValue("--quiet").trim());
    const known = (this.meaning?.colours ?? []).map(bytesOf), painted = new Uint8Array(4 * this.codes.length);
    const measure = this.meaning?.kind === "measure";
    this.codes.forEach((code, row) => {
      const colour = code >= 65534 ? quiet : known[measure ? code : code % known.length];
      painted[4 * row] = colour[0]; painted[4 * row + 1] = colour[1]; painted[4 * row + 2] = colour[2]; painted[4 * row + 3] = 255;
    });
    this.field.paint(painted);
  }

  rank() { // what is excluded, searched away or of another colour is faint, and is not chosen
    const ranks = new Uint8Array(this.about.pictures);
    let plain = 0;
    for (let row = 0; row < ranks.length; row++) {
      const off = (this.gone && this.gone[row] !== NONE) || (this.found && !this.found[row]) || (this.picked !== null && this.codes[row] !== this.picked);
      ranks[row] = off ? 1 : this.chosen[row] ? 3 : 2;
      plain += !off;
    }
    this.field.rank(ranks);
    Object.assign(this.root.dataset, { shown: plain, chosen: this.count });
  }

  explain() {
    const { meaning, legend } = this;
    legend.replaceChildren();
    if (!meaning) return;
    if (meaning.kind === "measure") {
      const bar = h("span", { class: "ramp", style: { background: `linear-gradient(90deg, ${meaning.colours.filter((_, k) => k % 8 === 0)})` } });
      legend.append(h("span", {}, `${meaning.column.replaceAll("_", " ")} ${short(meaning.low)}`), bar, h("span", {}, short(meaning.high)));
      return;
    }
    const order = meaning.names.map((_, code) => code).filter(code => meaning.counts[code]).sort((a, b) => meaning.counts[b] - meaning.counts[a]);
    const shown = order.slice(0, LEGEND).map(code => [code, meaning.names[code], meaning.counts[code], meaning.colours[code % meaning.colours.length]]);
    if (meaning.missing) shown.push([NONE, `no ${meaning.column.replaceAll("_", " ")}`, meaning.missing, "var(--quiet)"]);
    for (const [code, name, count, colour] of shown) {
      legend.append(h("button", { type: "button", "aria-pressed": String(this.picked === code), onclick: () => this.pick(code) },
        h("i", { style: { background: colour } }), h("span", { class: "name", text: name }), h("span", { class: "count", text: number(count) })));
    }
    const rest = order.length - LEGEND;
    if (rest > 0 || meaning.other) legend.append(h("span", { text: `and ${number(Math.max(rest, 0))} more` }));
    if (this.picked !== null) legend.append(h("button", { type: "button", class: "main", text: "Choose these", onclick: () => this.choose(this.plain(), false) }));
  }

  pick(code) {
    this.picked = this.picked === code ? null : code;
    this.rank();
    this.explain();
    this.legend.querySelector("[aria-pressed='true']")?.focus();
  }

  plain() { return Uint32Array.from(this.field.ranks.keys()).filter(row => this.field.ranks[row] > 1); }

  search() {
    clearTimeout(this.typing);
    this.typing = setTimeout(async () => {
      const find = this.find.value.trim();
      try {
        this.found = null;
        if (find) {
          this.found = new Uint8Array(this.about.pictures);
          for (const row of new Uint32Array(await bytes("/api/collection/order", { find }))) this.found[row] = 1;
        }
        this.rank();
        this.said.textContent = find ? `${plural(+this.root.dataset.shown)} found` : "";
      } catch (error) { failed(error); }
    }, 180);
  }

  // --- pointing and choosing ---

  tool(lasso) {
    this.field.lasso = lasso;
    this.tools.forEach((button, k) => button.setAttribute("aria-pressed", String(lasso === Boolean(k))));
    this.frame.classList.toggle("lasso", lasso);
  }

  whole() { this.field.view.whole(); this.field.moving(); }

  async pointed(row, x, y) {
    const { hover } = this;
    if (row < 0 || this.field.lasso && this.field.line) { hover.hidden = true; hover.dataset.row = ""; return; }
    if (hover.dataset.row !== String(row)) {
      hover.dataset.row = row;
      const { rows: [cells] } = await get("/api/collection/rows", { rows: row }).catch(() => ({ rows: [null] }));
      if (!cells || hover.dataset.row !== String(row)) return;
      const notes = [...new Set([this.meaning?.column, "label", "group"])].filter(name => name && cells[name] !== null && cells[name] !== undefined);
      hover.replaceChildren(picture(row, 160), h("b", { class: "name", text: named(cells, row) }),
        ...notes.map(name => h("span", { class: "note", text: `${name.replaceAll("_", " ")} ${told(name, cells[name])}` })));
      this.said.textContent = named(cells, row);
    }
    hover.hidden = false;
    const gap = this.field.extent(row)[0] / 2 + 14, { width, height } = this.field.view;
    const left = x + gap + hover.offsetWidth < width ? x + gap : Math.max(4, x - gap - hover.offsetWidth);
    hover.style.left = `${left}px`;
    hover.style.top = `${Math.max(6, Math.min(y - 20, height - hover.offsetHeight - 6))}px`;
  }

  choose(rows, more) {
    if (!more) this.chosen.fill(0);
    const toggled = more && rows.length === 1 && this.chosen[rows[0]];
    for (const row of rows) this.chosen[row] = toggled ? 0 : 1;
    this.count = this.chosen.reduce((sum, one) => sum + one, 0);
    this.opened = -1;
    this.field.chosen = -1;
    this.rank();
    this.side();
    this.said.textContent = `${plural(this.count)} chosen`;
  }

  clear() {
    if (this.opened >= 0) this.shut();
    else this.choose(new Uint32Array(0), false);
  }

  rows() { return [...this.chosen.keys()].filter(row => this.chosen[row]); }

  // --- the panel ---

  side() {
    if (this.opened >= 0) return;
    if (!this.count) {
      this.panel.replaceChildren(h("h2", { text: "Nothing chosen" }),
        h("p", { class: "note", text: "Draw around pictures with the lasso, or hold Shift and drag. Click a dot to see its picture; close up the pictures themselves appear." }),
        h("p", { class: "note" }, "Without a mouse: ", h("kbd", { text: "A" }), " on the map chooses what is in view, ", h("kbd", { text: "Space" }), " the picture in the middle; every colour below can be chosen too."),
        this.exporting("Export all as CSV", "Those that are not excluded"));
      return;
    }
    const input = h("input", { id: "label", list: "map-labels", maxlength: "200", autocomplete: "off", placeholder: `such as ${this.names.firstChild?.value || "oak"}` });
    const shown = this.rows().slice(0, STRIP);
    this.panel.replaceChildren(
      h("h2", { text: `${number(this.count)} chosen` }),
      h("form", { class: "saying", onsubmit: event => { event.preventDefault(); this.label(input.value); } },
        h("label", { for: "label", text: "Label" }), h("div", { class: "together" }, input, h("button", { class: "main", type: "submit", text: "Set" }))),
      h("div", { class: "together" },
        this.meaning?.column === "excluded"
          ? h("button", { type: "button", text: "Include again", onclick: () => this.change("excluded", null, "included again") })
          : h("button", { type: "button", text: "Exclude", title: "X", onclick: () => this.exclude() }),
        this.exporting("Export", "These as CSV"),
        h("button", { type: "button", class: "quiet", text: "Clear", title: "Escape", onclick: () => this.clear() })),
      h("div", { class: "strip" }, ...shown.map(row => h("button", { type: "button", class: "pick", "aria-label": `Open picture ${row}`, onclick: () => this.open(row) }, picture(row, 96)))),
      this.count > STRIP ? h("p", { class: "note", text: `and ${number(this.count - STRIP)} more` }) : "");
  }

  exporting(text, title) { return h("button", { type: "button", text, title, onclick: () => this.export().catch(failed) }); }

  async open(row) {
    this.opened = this.field.chosen = row;
    this.field.redraw();
    const { rows: [cells] } = await get("/api/collection/rows", { rows: row }).catch(error => { failed(error); return { rows: [null] }; });
    if (!cells || this.opened !== row) return;
    const close = h("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Escape", text: "✕", onclick: () => this.shut() });
    this.panel.replaceChildren(
      h("div", { class: "head" }, h("h2", { text: named(cells, row) }), close),
      h("div", { class: "large" }, picture(row, 320, named(cells, row))),
      h("div", { class: "together" },
        h("button", { type: "button", text: this.chosen[row] ? "Leave out" : "Choose", onclick: () => this.choose(Uint32Array.of(row), true) }),
        h("button", { type: "button", text: "Centre", onclick: () => this.field.show(row) }),
        h("a", { class: "button", href: `#/findings?draw=${row}`, text: "Draw on it" })),
      facts(cells));
    close.focus({ preventScroll: true });
  }

  shut() {
    this.opened = this.field.chosen = -1;
    this.field.redraw();
    this.side();
    this.field.canvas.focus({ preventScroll: true });
  }

  // --- decisions: each a version that can be undone ---

  label(text) {
    const value = text.trim();
    if (!value) { toast("Say what they are first.", true); return; }
    this.change("label", value, `labelled ${value}`);
  }

  exclude() { if (this.count) this.change("excluded", "yes", "excluded"); }

  async change(column, value, done) {
    try {
      await post("/api/collection/label", { rows: this.rows(), column, value });
      toast(`${plural(this.count)} ${done} · Ctrl+Z takes it back`);
      if (column === "excluded") { this.chosen.fill(0); this.count = 0; }
      await this.renew();
    } catch (error) { failed(error); }
  }

  async back(what) {
    try {
      const last = await post(`/api/collection/${what}`);
      toast(`${what === "undo" ? "As before" : "Done again"}: ${last.column.replaceAll("_", " ")} of ${plural(last.pictures)}`);
      await this.renew();
    } catch (error) { failed(error); }
  }

  async renew() {
    this.about = await get("/api/map/");
    this.options();
    this.names.replaceChildren();
    await this.recolour();
    this.root.dataset.version = this.about.version;
    this.side();
  }

  async export() {
    const answer = await fetch("/api/map/export", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ rows: this.rows() }) });
    if (!answer.ok) throw new Error((await answer.json()).problem ?? "The studio could not export them.");
    const url = URL.createObjectURL(await answer.blob());
    h("a", { href: url, download: "pictures.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
}

function bytesOf(colour) { // "#rrggbb" or "#rgb" as three bytes
  const text = colour.length === 4 ? colour.replace(/[^#]/g, "$&$&") : colour;
  return [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));
}
