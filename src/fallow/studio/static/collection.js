// The pictures: filtered, sorted, searched, looked at and labelled.
import { grid } from "./grid.js";
import { address, bytes, empty, failed, get, h, keys, named, picture, post, problem } from "./parts.js";
import { detail } from "./detail.js";
import { filters } from "./filters.js";
import { labels } from "./labels.js";
import { masks } from "./masks.js";
import { desk, state } from "./studio.js";

const SIDES = { small: 96, medium: 160, large: 320 };

export async function show(root, words) {
  let { columns } = await get("/api/collection/columns"); // of the table, with what they hold
  const [look, laid] = await Promise.all([get("/api/collection/look"), masks()]);
  let rows = [], found = null, side = SIDES[localStorage.getItem("fallow-size")] ?? 160, pictures = null, turn = 0;
  const names = () => columns.map(column => column.name);

  // --- what is shown, and where it is said ---
  const chosen = filters(columns, words, apply);
  const sort = h("select", { "aria-label": "Sort by", onchange: apply });
  const searched = h("div", { class: "searched", hidden: true });
  const field = h("div", { class: "field-of-pictures" });
  const drop = h("div", { class: "drop", hidden: true }, h("p", { text: "Drop a picture to find what is like it" }));
  const file = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => { if (file.files[0]) like(file.files[0]); file.value = ""; } });
  const size = h("select", { "aria-label": "Size of pictures", onchange: () => { localStorage.setItem("fallow-size", size.value); side = SIDES[size.value]; build(); } },
    ...Object.keys(SIDES).map(name => h("option", { value: name, text: name })));
  size.value = Object.keys(SIDES).find(name => SIDES[name] === side);
  const ask = look.can_words ? h("input", { type: "search", class: "ask", placeholder: "Search by words: a red shoe", "aria-label": "Search by words",
    onkeydown: event => { if (event.key === "Enter") byWords(ask.value); } }) : null;
  const side_panel = detail({ laid, open: row => { pictures?.reveal(row); open(row); }, alike: likeRow, close: () => pictures?.element.focus() });
  const labelling = labels({ columns, changed, chosen: () => { const some = pictures?.selected() ?? []; return some.length ? some : pictures && rows.length ? [pictures.here()] : []; } });
  const toggle = h("button", { type: "button", class: "filter-toggle", "aria-expanded": "false", text: "Filters",
    onclick: () => { const open = root.classList.toggle("filtering"); toggle.setAttribute("aria-expanded", open); } });

  root.append(
    h("div", { class: "tools" }, toggle, ask,
      h("button", { type: "button", text: "Search by picture", title: "or drop one anywhere on this page", onclick: () => file.click() }), file,
      h("span", { class: "space" }), laid.tools, h("label", {}, h("span", { text: "Sort" }), sort), h("label", {}, h("span", { text: "Size" }), size)),
    chosen.element, h("div", { class: "shown" }, laid.legend(), searched, field), side_panel.element, labelling.element, drop);

  function offer() {
    const before = sort.value || words.get("sort") || "";
    sort.replaceChildren(h("option", { value: "", text: found ? "likeness" : "as opened" }),
      ...columns.filter(column => column.kind !== "other" && column.kind !== "list").flatMap(({ name }) => [
        h("option", { value: name, text: `${name} ↑` }), h("option", { value: `-${name}`, text: `${name} ↓` })]));
    sort.value = before;
    if (sort.selectedIndex < 0) sort.value = "";
  }

  // --- the rows ---
  async function apply() {
    const mine = ++turn, asked = { ...chosen.asked(), sort: sort.value };
    history.replaceState(null, "", address("#/collection", asked));
    let next;
    try { next = new Uint32Array(await bytes("/api/collection/order", asked)); } catch (error) {
      chosen.problem(error.message);
      if (!pictures) field.replaceChildren(problem(error.message, h("button", { type: "button", text: "Show all", onclick: () => chosen.clear() })));
      return;
    }
    if (mine !== turn) return;
    chosen.problem("");
    if (found && !sort.value) { // by likeness, among those that the filters leave
      const left = new Set(next);
      next = Uint32Array.from(found.rows.filter(row => left.has(row)));
    } else if (found) {
      const near = new Set(found.rows);
      next = next.filter(row => near.has(row));
    }
    rows = next;
    const all = desk.pictures.toLocaleString("en");
    state(rows.length === desk.pictures ? `${all} pictures` : `${rows.length.toLocaleString("en")} of ${all} pictures`);
    build();
  }

  function build() {
    if (pictures && pictures.side === side && rows.length) return pictures.update(rows);
    pictures?.destroy();
    pictures = null;
    if (!rows.length) {
      const none = desk.pictures ? empty("No picture is like this.", h("button", { type: "button", text: "Show all", onclick: () => { forget(); chosen.clear(); } }))
        : empty("There are no pictures here.");
      return field.replaceChildren(none);
    }
    pictures = grid({ rows, side, name: "Pictures", captions, over: laid.over, onopen: open, onselect: (some, here) => { labelling.selected(some, here); if (!side_panel.element.hidden) side_panel.follow(here); } });
    pictures.side = side;
    field.replaceChildren(pictures.element);
    labelling.selected([], pictures.here());
  }

  async function captions(some) {
    const wanted = ["label", "path"].filter(name => names().includes(name));
    const { rows: cells } = await get("/api/collection/rows", { rows: some.join(","), columns: wanted.join(",") });
    return new Map(cells.map(cell => {
      const near = found?.at.get(cell.row);
      const name = named(cell, cell.row);
      return [cell.row, [cell.label ?? "", near === undefined ? name : `${near.toFixed(2)} · ${name}`]];
    }));
  }

  const open = row => side_panel.show(row);

  // --- search: by a picture of the collection, by one that is sent, by words ---
  function nearest(answer, what) {
    found = { rows: answer.rows, at: new Map(answer.rows.map((row, k) => [row, answer.likeness[k]])) };
    searched.hidden = false;
    searched.replaceChildren(...what, h("button", { type: "button", class: "quiet", text: "End search", onclick: () => { forget(); apply(); } }));
    sort.value = "";
    offer();
    pictures?.refresh();
    return apply();
  }
  function forget() {
    if (searched.dataset.url) URL.revokeObjectURL(searched.dataset.url);
    found = null;
    searched.hidden = true;
    searched.replaceChildren();
    offer();
    pictures?.refresh();
  }

  async function ready(what) { // the pictures must have been looked at once
    let now = await get("/api/collection/look");
    if (now[what] === "ready") return;
    now = await post("/api/collection/look", { what });
    const bar = h("progress", { max: Math.max(now.total, 1), value: 0, "aria-label": "Pictures looked at" });
    searched.hidden = false;
    searched.replaceChildren(h("p", { text: `Looking at ${now.total.toLocaleString("en")} pictures once, so that they can be compared` }), what === "pictures" ? bar : null);
    while (now[what] === "looking") {
      await new Promise(resolve => setTimeout(resolve, 400));
      now = await get("/api/collection/look");
      bar.value = now.done;
    }
    searched.hidden = true;
    if (now[what] !== "ready") throw new Error(now.problem);
  }

  async function like(picture) {
    try {
      await ready("pictures");
      const answer = await post(address("/api/collection/like", { count: 200 }), picture);
      const url = URL.createObjectURL(picture);
      searched.dataset.url = url;
      await nearest(answer, [h("img", { src: url, alt: "" }), h("p", { text: `${answer.rows.length} pictures most like ${picture.name ?? "yours"}` })]);
    } catch (error) { searched.hidden = !found; failed(error); }
  }
  async function likeRow(row) {
    try {
      await ready("pictures");
      const [answer, { rows: [cells] }] = await Promise.all([get(`/api/collection/near/${row}`, { count: 200 }), get("/api/collection/rows", { rows: row })]);
      await nearest({ rows: [row, ...answer.rows], likeness: [1, ...answer.likeness] }, [picture(row, 96), h("p", { text: `${answer.rows.length} pictures most like ${named(cells, row)}` })]);
    } catch (error) { failed(error); }
  }
  async function byWords(text) {
    if (!text.trim()) { forget(); return apply(); }
    try {
      await ready("words");
      await nearest(await get("/api/collection/words", { text }), [h("p", { text: `Pictures nearest to “${text.trim()}”` })]);
    } catch (error) { failed(error); }
  }

  const dragged = event => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const over = event => { if (dragged(event)) { event.preventDefault(); drop.hidden = false; } };
  const away = event => { if (event.type === "drop" || !event.relatedTarget) drop.hidden = true; };
  const dropped = event => {
    away(event);
    if (!dragged(event)) return;
    event.preventDefault();
    like(event.dataTransfer.files[0]);
  };
  for (const [name, does] of [["dragover", over], ["dragleave", away], ["drop", dropped]]) window.addEventListener(name, does);

  // --- labels ---
  async function changed(said) {
    ({ columns } = await get("/api/collection/columns"));
    chosen.update(columns);
    labelling.update(columns);
    offer();
    pictures?.refresh();
    side_panel.again();
    if (said && Object.values(chosen.asked()).some(Boolean)) await apply(); // it may belong here no longer
  }

  offer();
  await apply();
  pictures?.element.focus({ preventScroll: true });
  const bound = keys({
    "ArrowUp": ["move among pictures (arrows, Page Up and Down, Home, End); Shift extends", () => pictures?.element.focus()],
    "ctrl+a": ["choose all that are shown; Space chooses one", () => pictures?.element.focus()],
    "Enter": ["open the picture", () => pictures && open(pictures.here())],
    "s": ["pictures most like this one", () => pictures && likeRow(pictures.here())],
    "/": ["filter by words", () => { root.classList.add("filtering"); chosen.focus(); }],
    "Escape": ["close, or choose none", () => { if (document.activeElement?.matches("input, select")) pictures?.element.focus(); else side_panel.hide(); }],
    ...laid.keys,
    ...labelling.keys,
  });
  return () => {
    bound();
    pictures?.destroy();
    for (const [name, does] of [["dragover", over], ["dragleave", away], ["drop", dropped]]) window.removeEventListener(name, does);
  };
}
