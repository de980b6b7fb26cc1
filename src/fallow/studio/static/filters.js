// Filters over any column: its commonest values as chips, its range, words, or a predicate.
import { h, told } from "./parts.js";

const FIRST = ["label", "split", "flags", "group", "excluded", "suggested", "format", "width", "height", "sharpness", "brightness"];
const SHOWN = 8; // values of a column before "more"

const quoted = value => `'${String(value).replaceAll("'", "''")}'`;
const named = name => `"${name}"`;
const number = value => Math.abs(value) >= 1e4 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));

// filters(columns, words, apply) -> {element, asked(), problem(text), update(columns), clear(), focus()}
// `words` are those of the address: find, where and what chips have chosen.
export function filters(columns, words, apply) {
  const held = new Map(); // name -> {values: Set, missing, low, high}
  const open = new Set(["label", "split", "flags", "group"]), whole = new Set();
  const find = h("input", { type: "search", placeholder: "Words in any column", "aria-label": "Find words in any column", value: words.get("find") ?? "" });
  const where = h("textarea", { rows: 1, spellcheck: "false", placeholder: "Where: width > 64", title: "A condition on columns, as --where takes it; Enter asks", id: "where", "aria-describedby": "where-wrong", value: words.get("where") ?? "" });
  const wrong = h("p", { class: "wrong", id: "where-wrong", role: "alert" });
  const list = h("div", { class: "columns" });
  const clearing = h("button", { type: "button", class: "quiet", text: "Clear", hidden: true, onclick: clear });
  let typing = 0;
  const typed = () => { clearTimeout(typing); typing = setTimeout(apply, 250); };
  find.addEventListener("input", typed);
  where.addEventListener("keydown", event => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); apply(); } });
  where.addEventListener("change", apply);
  const element = h("aside", { class: "filters", "aria-label": "Filters" },
    h("div", { class: "head" }, h("h2", { text: "Filters" }), clearing), find,
    h("label", { class: "hidden-label", for: "where", text: "Where: a condition on columns" }), where, wrong, list);

  function predicate() {
    const parts = [];
    for (const [name, one] of held) {
      const either = [], column = columns.find(each => each.name === name);
      const values = [...one.values];
      if (column?.kind === "list") either.push(...values.map(value => `${named(name)} has ${quoted(value)}`));
      else if (column?.kind === "truth") either.push(...values.map(value => `${named(name)} = ${value}`));
      else if (values.length) either.push(`${named(name)} in (${values.map(quoted).join(", ")})`);
      if (one.missing) either.push(`${named(name)} is null`);
      if (either.length) parts.push(either.length > 1 ? `(${either.join(" or ")})` : either[0]);
      if (one.low !== "") parts.push(`${named(name)} >= ${one.low}`);
      if (one.high !== "") parts.push(`${named(name)} <= ${one.high}`);
    }
    if (where.value.trim()) parts.push(parts.length ? `(${where.value.trim()})` : where.value.trim());
    return parts.join(" and ");
  }

  const of = name => {
    if (!held.has(name)) held.set(name, { values: new Set(), missing: false, low: "", high: "" });
    return held.get(name);
  };

  function chip(text, count, pressed, press) {
    return h("button", { type: "button", class: "chip", "aria-pressed": String(pressed), onclick: press },
      h("span", { class: "chip-text", text }), h("span", { class: "count", text: count.toLocaleString("en") }));
  }

  function body(column) {
    const one = of(column.name), parts = [];
    if (column.values) {
      const some = whole.has(column.name) ? column.values : column.values.slice(0, SHOWN);
      parts.push(h("div", { class: "chips" }, ...some.map(({ value, count }) => chip(value === "" ? "(empty)" : told(column.name, column.kind === "list" ? [value] : value), count, one.values.has(value), () => {
        if (!one.values.delete(value)) one.values.add(value);
        draw(); apply();
      })), column.missing ? chip("none", column.missing, one.missing, () => { one.missing = !one.missing; draw(); apply(); }) : null,
      column.values.length > some.length ? h("button", { type: "button", class: "quiet more", text: `${column.values.length - some.length} more`, onclick: () => { whole.add(column.name); draw(); } }) : null,
      column.distinct > column.values.length && some.length === column.values.length ? h("p", { class: "note", text: `the commonest of ${column.distinct.toLocaleString("en")}` }) : null));
    } else if (column.kind === "number" && column.histogram) {
      const most = Math.max(...column.histogram, 1);
      const bars = h("div", { class: "bars", "aria-hidden": "true" }, ...column.histogram.map(count => h("i", { style: { height: `${Math.max(count ? 4 : 0, 100 * count / most)}%` } })));
      const edge = (key, text, value) => h("input", { type: "number", step: "any", placeholder: number(value), "aria-label": `${column.name}, ${text}`, value: one[key],
        onchange: event => { one[key] = event.target.value === "" ? "" : String(+event.target.value); note(); apply(); } });
      parts.push(bars, h("div", { class: "range" }, edge("low", "at least", column.low), h("span", { text: "to" }), edge("high", "at most", column.high)));
    } else if (column.missing && column.kind !== "other") {
      parts.push(h("div", { class: "chips" }, chip("none", column.missing, one.missing, () => { one.missing = !one.missing; draw(); apply(); })));
    } else parts.push(h("p", { class: "note", text: column.kind === "other" ? "ask with Where" : "no values" }));
    return parts;
  }

  const active = one => one && (one.values.size || one.missing || one.low !== "" || one.high !== "");
  function note() {
    clearing.hidden = !(find.value || where.value || [...held.values()].some(active));
    for (const box of list.children) box.classList.toggle("active", Boolean(active(held.get(box.dataset.column))));
  }

  function draw() {
    const rank = name => { const at = FIRST.indexOf(name); return at < 0 ? FIRST.length : at; };
    const useful = columns.filter(({ name, kind, distinct, missing }) => !["id", "hash", "row"].includes(name) && !(kind === "text" && distinct > 500 && !missing));
    list.replaceChildren(...useful.toSorted((a, b) => rank(a.name) - rank(b.name)).map(column => {
      const box = h("details", { dataset: { column: column.name }, open: open.has(column.name) || Boolean(active(held.get(column.name))) },
        h("summary", { text: column.name.replaceAll("_", " ") }));
      const fill = () => { if (box.childElementCount === 1) box.append(...body(column)); };
      if (box.open) fill();
      box.addEventListener("toggle", () => { box.open ? open.add(column.name) : open.delete(column.name); fill(); });
      return box;
    }));
    note();
  }

  function clear() {
    held.clear();
    find.value = where.value = "";
    draw();
    apply();
  }

  draw();
  return {
    element, clear,
    asked: () => { note(); return { where: predicate(), find: find.value.trim() }; },
    problem: text => { wrong.textContent = text; },
    update(next) { columns = next; draw(); },
    focus: () => { find.focus(); find.select(); },
  };
}
