// Findings: what was found, section by section, each picture or set with the decisions it asks for.
import { grid } from "./grid.js";
import { dialog, empty, failed, get, h, keys, picture, post, problem, runs, toast } from "./parts.js";
import { glance } from "./glance.js";
import { masks } from "./masks.js";
import { state } from "./studio.js";
import { threshold } from "./threshold.js";
import { drawing } from "./drawing.js";

const PAGE = 24; // cards at once
const number = value => value.toLocaleString("en");
const some = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
const percent = share => `${Math.min(99, Math.round(100 * share))} %`; // nothing is certain

// what one does next about a kind of finding: a verb, and the words on its link
const NEXT = {
  copies: ["curate", "Curate the collection"], suspects: ["learn", "Learn from the labels"], next: ["discover", "Sort all by the labels there are"],
  groups: ["discover", "Find classes beyond the labels"], spotted: ["spot", "Look for anomalies again"], outliers: ["spot", "Rank all pictures by oddity"],
};

// how many decisions of a section are left; what nobody decides on is counted where there is some
const left = one => h("span", { class: "count", title: one.decides && one.open < one.count ? `${some(one.open, "decision")} left of ${number(one.count)}` : null,
  text: one.open ? number(one.open) : one.decides ? "done" : "" });

export async function show(root, words) {
  const page = new Findings(root);
  await page.start(words);
  return () => page.leave();
}

class Findings {
  constructor(root) {
    this.root = root;
    this.list = h("nav", { class: "sections", "aria-label": "Findings" });
    this.body = h("div", { class: "body" });
    this.said = h("p", { class: "hidden-label", "aria-live": "polite" });
    root.append(this.list, this.body, this.said);
    this.free = keys({
      "ctrl+z": ["undo the last decision", () => this.back("undo")],
      "ctrl+y": ["do it again", () => this.back("redo")],
      a: ["the first decision of the card in focus: accept, or keep the proposed one", () => this.press(0)],
      k: ["the second: keep the label given, or keep both", () => this.press(1)],
      j: ["next card", () => this.step(1)],
      i: ["card before", () => this.step(-1)],
    });
  }

  async start(words) {
    this.about = await get("/api/findings/");
    const drawn = words.get("draw");
    if (!this.about.sections.length && drawn === null) {
      this.root.classList.add("bare");
      this.body.append(empty(this.about.said, runs("Explore them", "explore", {}, true)));
      return;
    }
    const asked = drawn === null ? words.get("part") : "draw";
    this.part = this.about.sections.find(one => one.key === asked) ?? this.about.sections[0];
    this.open = drawn === null ? null : Number(drawn);
    this.menu();
    await this.draw();
  }

  leave() {
    this.gone = true;
    this.free();
    this.done?.();
  }

  menu() {
    this.list.replaceChildren(...this.about.sections.map(one => h("a", {
      href: `#/findings?part=${encodeURIComponent(one.key)}`, "aria-current": one.key === this.part.key ? "page" : null, dataset: { part: one.key },
    }, h("span", { text: one.title }), left(one))));
    this.list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a tablet they lie in a row
    if (this.about.said) this.list.append(h("p", { class: "note", text: this.about.said }), runs("Explore them", "explore"));
    const open = this.about.sections.filter(one => one.decides).reduce((sum, one) => sum + one.open, 0);
    if (!this.gone) state(open ? `${some(open, "decision")} left` : "");
  }

  async draw() {
    this.done?.();
    this.done = null;
    const { part, body } = this, kind = part.key.split(":")[0];
    const tools = h("div", { class: "together acts" });
    const head = h("div", { class: "heading" }, h("h2", { text: part.title }), NEXT[kind] && !(this.about.draws && kind === "next") ? runs(`${NEXT[kind][1]} →`, NEXT[kind][0]) : h("span"),
      h("p", { class: "intro", text: part.said }), tools);
    const stage = h("div", { class: "stage" });
    body.replaceChildren(head, stage);
    body.scrollTop = 0;
    this.root.dataset.part = part.key;
    const drawn = { copies: this.copies, suspects: this.suspects, groups: this.groups }[kind];
    try {
      if (drawn) await this.cards(stage, tools, drawn);
      else if (kind === "spotted") this.done = await threshold(stage, this);
      else if (kind === "draw") this.done = await drawing(stage, this, this.open);
      else await this.pictures(stage, tools);
    } catch (error) { stage.replaceChildren(problem(error.message)); }
    this.root.dataset.drawn = part.key;
  }

  async renew() { // counts, after a decision
    this.about = await get("/api/findings/");
    this.part = this.about.sections.find(one => one.key === this.part.key) ?? this.part;
    this.root.dataset.version = this.about.version;
    this.menu();
  }

  async decide(path, body) { // true when it was done; each is a version that can be undone
    try {
      const { said } = await post(path, body);
      toast(`${said[0].toUpperCase()}${said.slice(1)} · Ctrl+Z takes it back`);
      this.said.textContent = said;
      await this.renew();
      return true;
    } catch (error) { failed(error); return false; }
  }

  async back(what) {
    try {
      const last = await post(`/api/collection/${what}`);
      toast(`${what === "undo" ? "As before" : "Done again"}: ${last.column.replaceAll("_", " ")} of ${some(last.pictures, "picture")}`);
      await this.renew();
      await this.draw();
    } catch (error) { failed(error); }
  }

  // --- cards, a page at a time; those decided on are quiet, and last when the list is opened anew ---

  async cards(stage, tools, make) {
    const list = h("div", { class: `cards of-${this.part.key.split(":")[0]}` }), more = h("button", { type: "button", text: "Show more" });
    stage.append(list, more);
    let start = 0;
    const load = async () => {
      const page = await get("/api/findings/list", { key: this.part.key, start, count: PAGE });
      const items = [...page.copies, ...page.doubts, ...page.groups];
      list.append(...items.map(one => make.call(this, one)));
      start += items.length;
      more.hidden = start >= page.total;
      more.textContent = `Show ${number(Math.min(PAGE, page.total - start))} more of ${number(page.total - start)}`;
    };
    more.addEventListener("click", () => load().catch(failed));
    await load();
    if (this.part.key === "copies:exact" && this.part.open > 1) tools.append(h("button", { type: "button", text: "Keep one of each", onclick: () => this.all() }));
  }

  card(decided, className, ...children) {
    return h("article", { class: `card ${className}${decided ? " decided" : ""}`, tabindex: "0" }, ...children);
  }

  settle(card, text) { // the card stays where it is, and says what was decided
    card.classList.add("decided");
    card.querySelector(".verdict").textContent = text;
    if (card.contains(document.activeElement)) this.step(1, card);
  }

  step(by, from = document.activeElement?.closest(".card")) {
    const all = [...this.body.querySelectorAll(".card")], at = all.indexOf(from);
    const next = all[Math.max(0, at + by)] ?? all.at(-1);
    next?.focus();
  }

  press(which) { document.activeElement?.closest(".card")?.querySelectorAll("[data-decision]")[which]?.click(); }

  tile(row, side, ...below) { // a picture that opens large
    return h("figure", { class: "tile-figure" }, h("button", { type: "button", title: "See it large", "aria-label": `See picture ${row} large`, class: "shot", onclick: () => glance(row) }, picture(row, side)), ...below);
  }

  copies(one) {
    const verdict = h("p", { class: "verdict note", text: one.decided ? "decided" : "" });
    const act = (keep, text) => async () => { if (await this.decide("/api/findings/copies", { kind: one.kind, number: one.number, keep })) this.settle(card, text); };
    const shown = one.rows.slice(0, 12);
    const tiles = shown.map((row, k) => this.tile(row, 320,
      h("figcaption", {},
        row === one.keep ? h("span", { class: "mark", text: "proposed to keep" }) : one.said[k] ? h("span", { class: "change", text: one.said[k] }) : null,
        h("span", { class: "note name", text: one.names[k] }), h("span", { class: "note", text: one.sizes[k] }),
        h("button", { type: "button", text: "Keep this one", onclick: act([row], `kept ${one.names[k]}`) }))));
    const card = this.card(one.decided, "copies", h("div", { class: "beside" }, ...tiles),
      one.rows.length > shown.length ? h("p", { class: "note", text: `and ${number(one.rows.length - shown.length)} more` }) : null,
      h("div", { class: "together" },
        one.keep === null ? null : h("button", { type: "button", class: "main", text: "Keep the proposed one", dataset: { decision: "" }, onclick: act([one.keep], "kept the proposed one") }),
        h("button", { type: "button", text: one.rows.length === 2 ? "Keep both" : "Keep all", dataset: { decision: "" }, onclick: act(one.rows, "kept all") }), verdict));
    return card;
  }

  async all() {
    const sure = await dialog("Keep one of each?", h("p", { text: `Of ${some(this.part.open, "set")} the proposed picture stays; the others are excluded. No file is touched, and each set can be undone.` }),
      [["Cancel", null], ["Keep one of each", true, true]]);
    if (!sure) return;
    if (await this.decide("/api/findings/copies/all", { kind: "exact" })) await this.draw();
  }

  suspects(one) {
    const verdict = h("p", { class: "verdict note", text: !one.decided ? "" : one.now === one.given ? `kept ${one.given}` : `now ${one.now ?? "without a label"}` });
    const act = (accept, text) => async () => { if (await this.decide("/api/findings/suspects", { row: one.row, accept })) this.settle(card, text); };
    const strip = (title, rows) => rows.length ? h("div", { class: "argue" }, h("p", { class: "note", text: title }), h("div", { class: "beside" }, ...rows.map(row => this.tile(row, 160)))) : null;
    const card = this.card(one.decided, "doubt",
      h("div", { class: "doubted" }, this.tile(one.row, 320)),
      h("div", { class: "case" },
        h("p", { class: "turn" }, h("del", { text: one.given }), " → ", h("b", { text: one.suggested }), h("span", { class: "note", text: `wrong with a probability of ${percent(one.confidence)}` })),
        h("div", { class: "strips" }, strip(`Looks like ${one.suggested}`, one.arguing), strip(`The nearest ${one.given}`, one.against)),
        h("div", { class: "together" },
          h("button", { type: "button", class: "main", text: `Make it ${one.suggested}`, dataset: { decision: "" }, onclick: act(true, `now ${one.suggested}`) }),
          h("button", { type: "button", text: `Keep ${one.given}`, dataset: { decision: "" }, onclick: act(false, `kept ${one.given}`) }), verdict)));
    return card;
  }

  groups(one, finer = false) {
    const likely = Object.keys(one.labels)[0] ?? "";
    const name = h("input", { "aria-label": `Name of ${one.title}`, placeholder: likely || "such as oak", maxlength: "200", autocomplete: "off" });
    const whole = one.named ? h("input", { type: "checkbox", "aria-label": "also those that have a label" }) : null;
    const verdict = h("p", { class: "verdict note" }), free = one.size - one.named;
    const tally = Object.entries(one.labels).map(([label, count]) => `${label} ${number(count)}`).join(", ");
    const form = h("form", { class: "together", onsubmit: async event => {
      event.preventDefault();
      const label = name.value.trim() || likely;
      if (!free && !whole.checked) { toast("All of them have a label: tick the box to change it.", true); return; }
      if (await this.decide("/api/findings/groups", { key: one.key, label, all: whole?.checked ?? false })) this.settle(card, `labelled ${label}`);
    } }, name, h("button", { type: "submit", class: free ? "main" : null, text: "Label them", dataset: { decision: "" } }),
    whole ? h("label", { class: "check" }, whole, free ? ` also the ${number(one.named)} that have a label` : " although all have a label") : null, verdict);
    const card = this.card(one.decided, finer ? "group finer-group" : "group",
      h("div", {}, h("h3", { text: one.title }), h("p", { class: "note" }, some(one.size, "picture"), one.said ? `, ${one.said}` : ""),
        h("p", { class: "note", text: tally ? `labelled: ${tally}` : "none has a label" })),
      h("div", {}, h("div", { class: "beside" }, ...one.shown.slice(0, finer ? 6 : 8).map(row => this.tile(row, 160))), form,
        one.inside.length ? h("details", {}, h("summary", { text: `${some(one.inside.length, "finer group")} inside` }), ...one.inside.map(inner => this.groups(inner, true))) : null));
    return card;
  }

  // --- pictures one by one: strays, poor ones, what to label next ---

  async pictures(stage, tools) {
    const noted = [];
    do noted.push(...(await get("/api/findings/list", { key: this.part.key, start: noted.length, count: 200 })).noted);
    while (noted.length < this.part.count && noted.length % 200 === 0);
    const words = new Map(noted.map(one => [one.row, one.said]));
    const input = h("input", { id: "label", maxlength: "200", autocomplete: "off", placeholder: "label", "aria-label": "Label" });
    const none = "Choose pictures: click, Shift, Ctrl+A";
    const chosen = h("span", { class: "note", text: none });
    const act = (column, value, done) => async () => {
      const rows = pictures.selected();
      if (!rows.length) { toast("Choose pictures first: click one, or Ctrl+A for all.", true); return; }
      const wanted = value ?? input.value.trim();
      if (!wanted) { input.focus(); return; }
      try {
        await post("/api/collection/label", { rows, column, value: wanted });
        toast(`${some(rows.length, "picture")} ${done(wanted)} · Ctrl+Z takes it back`);
        await this.renew();
        pictures.refresh();
      } catch (error) { failed(error); }
    };
    const label = act("label", null, text => `labelled ${text}`);
    const draws = this.about.draws && this.part.key === "next"; // such a label is drawn
    const laid = await masks(); // what is there already
    if (laid.there) tools.append(laid.tools);
    if (draws) tools.append(h("span", { class: "note", text: "Open one to draw on it" }));
    else tools.append(chosen, h("form", { class: "together", onsubmit: event => { event.preventDefault(); label(); } }, input, h("button", { type: "submit", class: "main", text: "Label" })),
      h("button", { type: "button", text: "Exclude", onclick: act("excluded", "yes", () => "excluded") }));
    const pictures = grid({
      rows: noted.map(one => one.row), side: 160, name: this.part.title,
      captions: async rows => {
        const { rows: cells } = await get("/api/collection/rows", { rows: rows.join(",") });
        return new Map(cells.map(cell => [cell.row, [cell.excluded ? "excluded" : cell.label ?? "", words.get(cell.row) ?? ""]]));
      },
      over: laid.over,
      onselect: rows => { chosen.textContent = rows.length ? `${number(rows.length)} chosen` : none; },
      onopen: row => { if (draws) location.hash = `#/findings?draw=${row}`; else glance(row); },
    });
    stage.classList.add("whole");
    stage.append(pictures.element);
    const free = keys(laid.keys);
    this.done = () => { free(); pictures.destroy(); };
  }
}
