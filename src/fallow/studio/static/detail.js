// One picture: large, with what is known of it and what is like it.
import { elsewhere, facts, failed, get, h, named, picture } from "./parts.js";

// detail({laid, open, alike, close}) -> {element, show(row), follow(row), again(), hide()}
export function detail({ laid, open, alike, close }) {
  const element = h("aside", { class: "one", hidden: true, "aria-label": "The picture", tabindex: "-1" });
  let shown = null, waiting = 0;

  async function show(row) {
    if (row === undefined) return;
    shown = row;
    element.hidden = false;
    let cell;
    try { cell = (await get("/api/collection/rows", { rows: row })).rows[0]; } catch (error) { return failed(error); }
    if (shown !== row) return;
    const name = cell.path ?? `picture ${row}`;
    const image = h("img", { class: "whole", src: `/api/collection/picture/${row}`, alt: name });
    image.addEventListener("error", () => image.replaceWith(h("p", { class: "note", text: "This picture cannot be shown." })));
    const near = h("div", { class: "near" });
    element.replaceChildren(
      h("div", { class: "head" }, h("h2", { text: named(cell, row), title: name }),
        h("button", { type: "button", class: "quiet", "aria-label": "Close the picture", text: "✕", onclick: hide })),
      laid.whole(row, image),
      h("div", { class: "ways" }, elsewhere(cell, row)),
      h("div", { class: "head" }, h("h3", { text: "Most like it" }), h("button", { type: "button", class: "quiet", text: "Show more", onclick: () => alike(row) })), near,
      facts(cell));
    try {
      const { pictures } = await get("/api/collection/look"); // what asks too early is refused, and the console says so
      if (pictures !== "ready") throw new Error("not compared yet");
      const { rows, likeness } = await get(`/api/collection/near/${row}`, { count: 10 });
      if (shown !== row) return;
      near.replaceChildren(...rows.map((other, k) => h("button", { type: "button", class: "neighbour", title: `likeness ${likeness[k].toFixed(2)}`, "aria-label": `picture ${other}, likeness ${likeness[k].toFixed(2)}`, onclick: () => open(other) }, picture(other, 96))));
    } catch {
      if (shown === row) near.replaceChildren(h("p", { class: "note", text: "Show more compares the pictures first." }));
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
