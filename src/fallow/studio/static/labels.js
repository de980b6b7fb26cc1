// Labels from the keyboard: digits give the commonest ones, L types one, every change can be undone.
import { address, failed, get, h, post, toast } from "./parts.js";

const MANY = 9;

// labels({columns, chosen, changed}) -> {element, keys, selected(rows), update(columns)}
// `chosen()` are the rows that a label goes to; `changed(said)` redraws what is shown.
export function labels({ columns, chosen, changed }) {
  const names = h("datalist", { id: "label-names" });
  const field = h("input", { list: "label-names", id: "label", autocomplete: "off", maxlength: 200, placeholder: "type a label" });
  const count = h("output", { "aria-live": "polite" });
  const quick = h("div", { class: "quick" });
  const undo = h("button", { type: "button", text: "Undo", title: "Ctrl+Z", onclick: () => back("undo") });
  const redo = h("button", { type: "button", text: "Redo", title: "Ctrl+Y", onclick: () => back("redo") });
  const save = h("a", { class: "button", href: "/api/collection/labels.csv", download: "labels.csv", text: "Export labels", title: "As CSV: path and label" });
  const version = h("span", { class: "note version" });
  const form = h("form", { class: "say", onsubmit: event => { event.preventDefault(); say(field.value); } },
    h("label", { for: "label" }, "Label ", count), field, names, h("button", { type: "submit", text: "Set" }));
  const element = h("div", { class: "labelling", role: "region", "aria-label": "Labels" },
    form, quick, version, undo, redo, save);
  let offered = [];

  field.addEventListener("keydown", event => { if (event.key === "Escape") { field.value = ""; document.querySelector(".grid")?.focus(); event.stopPropagation(); } });

  async function say(value) {
    const rows = chosen();
    if (!rows.length) return toast("Choose a picture first: click it, or move to it with the arrows.");
    const label = value?.trim() || null;
    try {
      const said = await post("/api/collection/label", { rows: [...rows], value: label });
      left(said);
      const many = said.pictures === 1 ? "1 picture" : `${said.pictures.toLocaleString("en")} pictures`;
      toast(label ? `${many}: ${label}` : `${many}: no label`);
      field.value = "";
      if (document.activeElement === field) document.querySelector(".grid")?.focus();
      await changed(said);
    } catch (error) { failed(error); }
  }

  async function back(what) {
    try {
      const said = await post(`/api/collection/${what}`);
      left(said);
      toast(`${what === "undo" ? "Undone" : "Done again"}: ${said.column} of ${said.pictures.toLocaleString("en")}`);
      await changed(said);
    } catch (error) { failed(error); }
  }

  function left(said) {
    undo.disabled = !said.undo;
    redo.disabled = !said.redo;
    version.textContent = said.version ? `version ${said.version}` : "";
    element.dataset.version = said.version;
  }

  function update(next) {
    const column = next.find(each => each.name === "label");
    offered = (column?.values ?? []).map(each => each.value);
    names.replaceChildren(...offered.map(value => h("option", { value })));
    quick.replaceChildren(...offered.slice(0, MANY).map((value, k) => h("button", { type: "button", class: "chip", title: `${k + 1}`, onclick: () => say(value) },
      h("kbd", { text: k + 1 }), h("span", { class: "chip-text", text: value }))));
    const own = next.some(each => each.name === "label" && each.distinct);
    save.hidden = !own;
    save.href = address("/api/collection/labels.csv");
  }

  update(columns);
  selected([]);
  get("/api/collection/versions").then(left).catch(failed);

  function selected(rows, here) { // nothing is labelled unawares: it is said whom a label goes to
    count.textContent = rows.length > 1 ? `${rows.length.toLocaleString("en")} pictures` : rows.length || here !== undefined ? "this picture" : "";
  }

  const digits = Object.fromEntries(Array.from({ length: MANY }, (_, k) => [
    String(k + 1), [k ? "" : "the commonest label; 2 to 9 the next ones", () => { if (offered[k] !== undefined) say(offered[k]); }]]));
  return {
    element, selected, update,
    keys: {
      ...digits,
      "0": ["take the label away", () => say("")],
      "l": ["type a label", () => { field.focus(); field.select(); }],
      "ctrl+z": ["undo", () => back("undo")],
      "ctrl+y": ["do again", () => back("redo")],
      "ctrl+shift+z": ["", () => back("redo")],
    },
  };
}
