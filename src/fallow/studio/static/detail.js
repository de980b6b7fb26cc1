// One picture: large, with what is known of it and what is like it.
import { failed, get, h, picture } from "./parts.js";

const PLAIN = ["label", "path", "width", "height", "group", "flags", "suggested", "confidence"];
const HIDDEN = ["row", "id", "hash", "looks", "x", "y"];
const said = value => Array.isArray(value) ? value.join(", ") : typeof value === "number" && !Number.isInteger(value) ? String(+value.toPrecision(4)) : String(value);

// detail({open, alike, close}) -> {element, show(row), follow(row), again(), hide()}
export function detail({ open, alike, close }) {
  const element = h("aside", { class: "one", hidden: true, "aria-label": "The picture", tabindex: "-1" });
  let shown = null, waiting = 0;

  async function show(row) {
    if (row === undefined) return;
    shown = row;
    element.hidden = false;
    let cell;
    try { cell = (await get("/api/collection/rows", { rows: row })).rows[0]; } catch (error) { return failed(error); }
    if (shown !== row) return;
    const order = [...PLAIN.filter(name => name in cell), ...Object.keys(cell).filter(name => !PLAIN.includes(name))];
    const facts = order.filter(name => !HIDDEN.includes(name) && cell[name] !== null && cell[name] !== "" && !(Array.isArray(cell[name]) && !cell[name].length));
    const name = cell.path ?? `row ${row}`;
    const image = h("img", { class: "whole", src: `/api/collection/picture/${row}`, alt: name });
    image.addEventListener("error", () => image.replaceWith(h("p", { class: "note", text: "This picture cannot be shown." })));
    const near = h("div", { class: "near" });
    element.replaceChildren(
      h("div", { class: "head" }, h("h2", { text: name.split("/").at(-1), title: name }),
        h("button", { type: "button", class: "quiet", "aria-label": "Close the picture", text: "✕", onclick: hide })),
      image,
      h("div", { class: "head" }, h("h3", { text: "Most like it" }), h("button", { type: "button", class: "quiet", text: "Show all", onclick: () => alike(row) })), near,
      h("dl", { class: "facts" }, ...facts.map(key => h("div", {}, h("dt", { text: key.replaceAll("_", " ") }), h("dd", { text: said(cell[key]) })))));
    try {
      const { rows, likeness } = await get(`/api/collection/near/${row}`, { count: 10 });
      if (shown !== row) return;
      near.replaceChildren(...rows.map((other, k) => h("button", { type: "button", class: "neighbour", title: `likeness ${likeness[k].toFixed(2)}`, "aria-label": `picture ${other}, likeness ${likeness[k].toFixed(2)}`, onclick: () => open(other) }, picture(other, 96))));
    } catch {
      if (shown === row) near.replaceChildren(h("p", { class: "note", text: "Show all compares the pictures first." }));
    }
  }

  function hide() {
    if (element.hidden) return;
    element.hidden = true;
    shown = null;
    close();
  }

  return {
    element, show, hide,
    follow(row) { clearTimeout(waiting); if (row !== shown) waiting = setTimeout(() => { if (!element.hidden) show(row); }, 120); },
    again() { if (shown !== null) show(shown); },
  };
}
