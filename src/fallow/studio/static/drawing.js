// All pictures to draw on, or one of them on the easel.
import { grid } from "./grid.js";
import { bytes, failed, get, h, keys, named, post, runs, toast } from "./parts.js";
import { masks } from "./masks.js";
import { Easel } from "./easel.js";

export async function drawing(stage, page, row) {
  if (row !== null) {
    const easel = new Easel(stage, page, row);
    await easel.start();
    return () => easel.leave();
  }
  const [classes, laid] = await Promise.all([get("/api/findings/classes"), masks()]);
  const drawn = new Set([...classes.masks, ...classes.points]);
  const rows = new Uint32Array(await bytes("/api/collection/order"));
  const first = [...rows].sort((a, b) => drawn.has(b) - drawn.has(a));
  const pictures = grid({
    rows: first, side: 160, name: "Pictures to draw on",
    captions: async some => {
      const { rows: cells } = await get("/api/collection/rows", { rows: some.join(",") });
      return new Map(cells.map(cell => [cell.row, [drawn.has(cell.row) ? "drawn" : "", named(cell, cell.row)]]));
    },
    over: laid.over,
    onopen: one => { location.hash = `#/findings?draw=${one}`; },
  });
  pictures.element.addEventListener("click", event => { // one click is enough: there is nothing to choose
    const cell = event.target.closest(".cell");
    if (cell && !event.shiftKey && !event.ctrlKey) location.hash = `#/findings?draw=${cell.dataset.row}`;
  });
  page.body.querySelector(".acts").append(...laid.there ? [laid.tools] : [], ...collecting(drawn.size));
  stage.classList.add("whole");
  stage.append(pictures.element);
  const free = keys(laid.keys);
  return () => { free(); pictures.destroy(); };
}

const LEARNS = { segment: "Learn masks from them", pose: "Learn key points from them" };

function collecting(count) {
  const then = h("span", { class: "together", "aria-live": "polite" });
  return [h("button", { type: "button", disabled: !count, text: "Write them for the next run", title: count ? "Masks, classes and points in one folder" : "Nothing is drawn yet", onclick: async () => {
    try {
      const written = await post("/api/findings/collect");
      toast(written.said);
      then.replaceChildren(...written.then.map(one => runs(LEARNS[one.verb], one.verb, one.given, true)));
    } catch (error) { failed(error); }
  } }), then];
}
