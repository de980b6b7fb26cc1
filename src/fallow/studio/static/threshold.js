// Anomalies of a run of spot: a threshold over the scores, and one over the heat that is laid on pictures.
import { glance } from "./glance.js";
import { bytes, failed, get, h, picture, post, toast } from "./parts.js";

const BARS = 60, PAGE = 36;
const number = value => value.toLocaleString("en");

function drawn(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export async function threshold(stage, page) {
  const about = await get("/api/findings/spotted");
  const body = await bytes("/api/findings/scores"), count = about.pictures;
  const scores = new Float32Array(body, 0, count), odd = new Int8Array(body, 4 * count, count);
  const low = Math.min(about.low, about.threshold), high = Math.max(about.high, about.threshold) || 1;
  const step = (high - low) / 1000 || 0.001, cards = [], colours = about.ramp.map(text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16)));

  const score = h("input", { type: "range", id: "threshold", min: low - step, max: high, step, value: about.threshold, "aria-label": "Threshold of scores", oninput: judge });
  const warm = Math.round(255 * Math.max(0, Math.min(1, (about.cut - about.heat_low) / (about.heat_high - about.heat_low || 1))));
  const heat = h("input", { type: "range", id: "heat", min: 0, max: 255, step: 1, value: warm, "aria-label": "Heat that is shown", oninput: () => cards.forEach(lay) });
  const counted = h("output", { for: "threshold", "aria-live": "polite" });
  const name = h("input", { placeholder: "defect", maxlength: "200", "aria-label": "Label for those above", autocomplete: "off" });
  const list = h("div", { class: "odd" }), more = h("button", { type: "button", onclick: () => load() });
  const { svg, cut } = histogram(scores, odd, low - step, high);
  stage.append(
    h("div", { class: "thresholds" },
      h("div", { class: "slider" }, svg, score, h("div", { class: "together" }, counted, about.known ? h("i", { class: "key", "aria-hidden": "true" }) : null, h("span", { class: "space" }),
        h("button", { type: "button", class: "quiet", text: "Computed threshold", onclick: () => { score.value = about.threshold; judge(); } }))),
      h("div", { class: "second" },
        h("label", { class: "note", for: "heat", text: "Show heat from" }), heat,
        h("p", { class: "note scale-line" }, `${about.heat_low.toFixed(2)} `, h("span", { class: "scale", style: { background: `linear-gradient(90deg, ${about.ramp})` } }), ` ${about.heat_high.toFixed(2)}, the same for all pictures`),
        h("form", { class: "together", onsubmit: event => { event.preventDefault(); label(); } }, name, h("button", { type: "submit", text: "Label those above" })))),
    list, more);

  const above = () => { let k = 0; while (k < count && scores[k] > +score.value) k++; return k; }; // scores fall

  function judge() {
    const found = above(), at = (+score.value - low) / (high - low || 1) * 10 * BARS;
    cut.setAttribute("x1", at);
    cut.setAttribute("x2", at);
    cards.forEach(card => card.node.classList.toggle("above", card.row < found));
    let text = `${number(found)} of ${number(count)} above ${(+score.value).toFixed(3)}`;
    if (about.known) {
      const hits = odd.subarray(0, found).filter(one => one === 1).length, all = odd.filter(one => one === 1).length;
      text += `, among them ${number(hits)} of ${number(all)} known odd`;
    }
    counted.textContent = text;
    page.root.dataset.above = found;
  }

  async function load() {
    const start = cards.length;
    for (let row = start; row < Math.min(count, start + PAGE); row++) {
      const layer = h("canvas", { class: "heat", "aria-hidden": "true" });
      const said = odd[row] === 1 ? "known odd" : odd[row] === 0 ? "known good" : "";
      const node = h("article", { class: "spotted" },
        h("button", { type: "button", class: "laid", title: "See it large, without heat", "aria-label": `See picture ${row} large, without heat`, onclick: () => glance(row) }, picture(row, 320), layer),
        h("p", {}, h("span", { class: "number", text: String(row + 1) }), h("b", { text: scores[row].toFixed(3) }), h("span", { class: "said", text: said })));
      cards.push({ row, node, layer });
      list.append(node);
    }
    more.hidden = cards.length >= count;
    more.textContent = `Show ${number(Math.min(PAGE, count - cards.length))} more of ${number(count - cards.length)}`;
    judge();
    const fresh = cards.slice(start);
    Promise.all(fresh.map(async card => {
      const body = await bytes(`/api/findings/heat/${card.row}`), [height, width] = new Uint32Array(body, 0, 2);
      Object.assign(card, { levels: new Uint8Array(body, 8), width, height });
      lay(card);
    })).then(() => {
      page.root.dataset.heat = cards.length;
      const hottest = fresh.reduce((most, { levels }) => levels.reduce((a, b) => Math.max(a, b), most), 0);
      if (start || hottest >= +heat.value) return;
      heat.value = Math.round(0.85 * hottest); // nothing reaches the run's own mark: show the hottest places
      cards.forEach(lay);
    }).catch(failed);
  }

  function lay({ layer, levels, width, height }) { // what is at least so hot, in its colour
    if (!levels) return;
    Object.assign(layer, { width, height });
    const ink = layer.getContext("2d"), laid = ink.createImageData(width, height), from = +heat.value;
    levels.forEach((level, k) => {
      if (level < from) return;
      laid.data.set(colours[level], 4 * k);
      laid.data[4 * k + 3] = 175;
    });
    ink.putImageData(laid, 0, 0);
  }

  async function label() {
    const value = name.value.trim(), rows = [...Array(above()).keys()];
    if (!value) { name.focus(); return; }
    if (!rows.length) { toast("Nothing lies above the threshold.", true); return; }
    try {
      await post("/api/collection/label", { rows, column: "label", value });
      toast(`${number(rows.length)} labelled ${value} · Ctrl+Z takes it back`);
      await page.renew();
    } catch (error) { failed(error); }
  }

  await load();
  return null;
}

function histogram(scores, odd, low, high) { // bars: all pictures; darker: those known to be odd
  const all = new Uint32Array(BARS), known = new Uint32Array(BARS);
  scores.forEach((score, k) => {
    const bar = Math.max(0, Math.min(BARS - 1, Math.floor((score - low) / (high - low || 1) * BARS)));
    all[bar] += 1;
    known[bar] += odd[k] === 1;
  });
  const tallest = Math.max(1, ...all), svg = drawn("svg", { viewBox: `0 0 ${10 * BARS} 60`, preserveAspectRatio: "none", class: "histogram", role: "img" });
  const title = drawn("title", {});
  title.textContent = `${scores.length} scores from ${low.toFixed(3)} to ${high.toFixed(3)}`;
  svg.append(title);
  for (const [counts, kind] of [[all, "all"], [known, "known"]]) {
    counts.forEach((count, bar) => {
      const height = 58 * count / tallest;
      if (count) svg.append(drawn("rect", { x: 10 * bar + 1, width: 8, y: 60 - height, height, class: kind }));
    });
  }
  const cut = drawn("line", { y1: 0, y2: 60 });
  svg.append(cut);
  return { svg, cut };
}
