// The grid of pictures: only what is seen exists, so that 100,000 scroll as 100 do.
import { expect, h, thumbnail } from "./parts.js";

// grid({rows, side, name, captions, over, onopen, onselect}) ->
//   {element, update(rows), refresh(), selected(), select(rows), here(), go(place), reveal(row), destroy()}
// `rows` is an array of row numbers; `captions(rows)` resolves to a Map(row -> [strong, rest]);
// `over(row, side)` resolves to the address of a mask that is laid over the picture, or to "";
// arrows move, Shift extends, Space selects, Ctrl+A takes all, Enter opens.
export function grid({ rows = [], side = 160, name = "Pictures", captions = null, over = null, onopen = null, onselect = null }) {
  const inner = h("div", { class: "inner" });
  const element = h("div", { class: "grid", role: "listbox", tabindex: "0", "aria-multiselectable": "true", "aria-label": name }, inner);
  const cells = new Map(); // place -> {node, frame, said, row}
  const said = new Map(); // row -> caption
  const chosen = new Set(); // rows
  let here = 0, anchor = 0, columns = 1, width = side, height = side, alive = true, waiting = 0;
  const foot = captions ? 26 : 0, gap = 4;

  function measure() {
    const room = Math.max(element.clientWidth - 16, side);
    columns = Math.max(1, Math.floor(room / (side + 14)));
    width = Math.floor(room / columns);
    height = side + 10 + foot + gap;
    inner.style.height = `${Math.ceil(rows.length / columns) * height + 16}px`;
  }

  function span(margin) { // places that are seen, and some around them
    const first = Math.floor((element.scrollTop - margin) / height), last = Math.ceil((element.scrollTop + element.clientHeight + margin) / height);
    return [Math.max(0, first * columns), Math.min(rows.length, last * columns)];
  }

  function draw() {
    waiting = 0;
    if (!alive) return;
    const [first, last] = span(2 * height);
    for (const [place, cell] of cells) if (place < first || place >= last || cell.row !== rows[place]) { cell.node.remove(); cells.delete(place); }
    const fresh = document.createDocumentFragment();
    for (let place = first; place < last; place++) {
      if (!cells.has(place)) { const cell = made(place); cells.set(place, cell); fresh.append(cell.node); }
      mark(place, cells.get(place));
    }
    inner.append(fresh);
    expect(rows.slice(last, last + Math.min(120, last - first)));
    caption();
    element.dataset.drawn = cells.size;
  }
  const later = () => { waiting ||= requestAnimationFrame(draw); };

  function made(place) {
    const row = rows[place];
    const frame = h("div", { class: "frame", style: { height: `${side}px` } });
    const text = foot ? h("div", { class: "said" }) : null;
    const node = h("div", {
      class: "cell", role: "option", id: `cell-${place}`, "aria-posinset": place + 1, "aria-setsize": rows.length, "aria-label": `picture ${row}`, dataset: { row },
      style: { width: `${width - gap}px`, transform: `translate(${8 + (place % columns) * width}px, ${8 + Math.floor(place / columns) * height}px)` },
    }, frame, text);
    // what flies past is not asked for
    setTimeout(() => {
      if (!node.isConnected) return;
      thumbnail(row, side).then(url => {
        if (!node.isConnected) return;
        if (url) frame.prepend(h("img", { src: url, alt: "", decoding: "async", draggable: "false" }));
        else frame.classList.add("none");
      });
      over?.(row, side).then(url => { if (url && node.isConnected) frame.append(h("img", { class: "mask", src: url, alt: "", decoding: "async", draggable: "false" })); });
    }, 60);
    return { node, frame, text, row };
  }

  function mark(place, cell) {
    cell.node.setAttribute("aria-selected", chosen.has(cell.row));
    cell.node.classList.toggle("here", place === here);
    if (place === here) element.setAttribute("aria-activedescendant", cell.node.id);
    if (cell.text && said.has(cell.row) && cell.text.dataset.of !== String(said.get(cell.row))) {
      const [strong, rest] = said.get(cell.row);
      cell.text.replaceChildren(...[strong ? h("b", { text: strong }) : "", strong && rest ? " · " : "", rest ?? ""]);
      cell.text.title = [strong, rest].filter(Boolean).join(" · ");
      cell.text.dataset.of = String(said.get(cell.row));
      cell.node.setAttribute("aria-label", cell.text.title || `picture ${cell.row}`);
    }
  }

  let asking = 0;
  function caption() {
    if (!captions || asking) return;
    asking = setTimeout(async () => {
      asking = 0;
      const missing = [...new Set([...cells.values()].map(cell => cell.row).filter(row => !said.has(row)))].slice(0, 200);
      if (!missing.length || !alive) return;
      for (const [row, text] of await captions(missing)) said.set(row, text);
      if (said.size > 20000) said.clear();
      later();
    }, 70);
  }

  function go(place, extend = false) {
    if (!rows.length) return;
    here = Math.max(0, Math.min(rows.length - 1, place));
    if (extend) take(Math.min(anchor, here), Math.max(anchor, here)); else anchor = here;
    reach(here);
    draw();
    onselect?.(selected(), rows[here]);
  }
  function reach(place) {
    const top = 8 + Math.floor(place / columns) * height;
    if (top < element.scrollTop + 8) element.scrollTop = top - 8;
    else if (top + height > element.scrollTop + element.clientHeight) element.scrollTop = top + height - element.clientHeight;
  }
  function take(first, last) {
    chosen.clear();
    for (let place = first; place <= last; place++) chosen.add(rows[place]);
  }
  const selected = () => chosen.size ? [...chosen] : [];
  const changed = () => { later(); onselect?.(selected(), rows[here]); };

  const page = () => Math.max(1, Math.floor(element.clientHeight / height)) * columns;
  const moves = {
    ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: () => columns, ArrowUp: () => -columns,
    PageDown: page, PageUp: () => -page(), Home: () => -here, End: () => rows.length,
  };
  element.addEventListener("keydown", event => {
    if (event.key in moves && !event.altKey) go(here + moves[event.key](), event.shiftKey);
    else if (event.key === " ") { const row = rows[here]; if (!chosen.delete(row)) chosen.add(row); anchor = here; changed(); }
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) { take(0, rows.length - 1); changed(); }
    else if (event.key === "Escape" && chosen.size) { chosen.clear(); changed(); }
    else if (event.key === "Enter") onopen?.(rows[here]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const placed = event => { const node = event.target.closest(".cell"); return node ? +node.id.slice(5) : -1; };
  inner.addEventListener("click", event => {
    const place = placed(event);
    if (place < 0) return;
    if (event.shiftKey) return go(place, true);
    here = anchor = place;
    const row = rows[place];
    if (event.ctrlKey || event.metaKey) { if (!chosen.delete(row)) chosen.add(row); }
    else { chosen.clear(); chosen.add(row); }
    changed();
  });
  inner.addEventListener("dblclick", event => { if (placed(event) >= 0) onopen?.(rows[placed(event)]); });
  element.addEventListener("scroll", later, { passive: true });

  const watch = new ResizeObserver(() => {
    // what was at the top stays there; the place one is at stays in view
    const top = Math.floor(element.scrollTop / height) * columns, [first, last] = span(0), seen = here >= first && here < last;
    measure();
    for (const cell of cells.values()) cell.node.remove();
    cells.clear();
    element.scrollTop = Math.floor(top / columns) * height;
    if (seen) reach(here);
    draw();
  });
  watch.observe(element);

  return {
    element, selected, go,
    here: () => rows[here],
    update(next) {
      const kept = new Set(next), before = rows[here];
      rows = next;
      for (const row of chosen) if (!kept.has(row)) chosen.delete(row);
      here = anchor = Math.max(0, rows.indexOf(before));
      for (const cell of cells.values()) cell.node.remove();
      cells.clear();
      measure();
      if (!here) element.scrollTop = 0;
      draw();
      onselect?.(selected(), rows[here]);
    },
    refresh() { said.clear(); for (const cell of cells.values()) if (cell.text) delete cell.text.dataset.of; later(); },
    select(some) { chosen.clear(); for (const row of some) chosen.add(row); changed(); },
    reveal(row) { const place = rows.indexOf(row); if (place >= 0) go(place); },
    destroy() { alive = false; watch.disconnect(); cancelAnimationFrame(waiting); },
  };
}
