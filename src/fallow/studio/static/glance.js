// One picture, large, over the page that asks for it.
import { masks } from "./masks.js";
import { dialog, elsewhere, facts, failed, get, h, named } from "./parts.js";

export async function glance(row) {
  try {
    const [{ rows: [cells] }, laid] = await Promise.all([get("/api/collection/rows", { rows: row }), masks()]);
    const image = h("img", { class: "whole", src: `/api/collection/picture/${row}`, alt: named(cells, row) });
    image.addEventListener("error", () => image.replaceWith(h("p", { class: "note", text: "This picture cannot be shown: is the file still there?" })));
    const links = h("div", { class: "glance-links" }, elsewhere(cells, row));
    const body = h("div", { class: "glance" }, h("div", { class: "glance-frame" }, laid.whole(row, image)), h("div", {}, links, laid.tools, laid.legend(), h("div", { class: "known", tabindex: "0", role: "region", "aria-label": "What is known of it" }, facts(cells))));
    links.addEventListener("click", () => body.closest("dialog").close());
    await dialog(named(cells, row), body);
  } catch (error) { failed(error); }
}
