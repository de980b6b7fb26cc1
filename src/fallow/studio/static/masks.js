// Masks over the pictures they belong to: how strongly they are laid on, and what their colours mean.
import { get, h, sheets } from "./parts.js";

const LARGE = 1600, NAMED = 24; // long side of a picture shown whole; classes that are named
const FORGET = "fallow-masks", USUAL = 55; // where the strength is kept; percent

let strength = Number(localStorage.getItem(FORGET) ?? USUAL), before = strength || USUAL;
const strong = value => {
  before = strength || before;
  strength = value;
  localStorage.setItem(FORGET, value);
  document.documentElement.style.setProperty("--mask", value / 100);
};

// masks() -> {there, tools, legend(), over(row, side), whole(row, picture)}; nothing of it where no picture has one.
// Asked for anew by every page: a mask may have been corrected since.
export async function masks() {
  const about = await get("/api/findings/legend");
  if (!about.there) return { there: false, tools: null, over: null, keys: {}, legend: () => null, whole: (row, picture) => picture };
  strong(strength);
  const over = sheets("/api/findings/overlays", "image/png");
  const slider = h("input", { type: "range", min: 0, max: 100, step: 5, value: strength, "aria-label": "Strength of masks", oninput: () => set(+slider.value) });
  const toggle = h("button", { type: "button", text: "Masks", title: "M", onclick: () => set(strength ? 0 : before) });
  const legends = [];

  function set(value) {
    strong(value);
    slider.value = value;
    toggle.setAttribute("aria-pressed", value > 0);
    for (const one of legends) one.hidden = !value;
  }

  function legend() {
    const classes = Object.entries(about.classes), rest = classes.length - NAMED;
    const list = h("ul", { class: "legend", "aria-label": "Classes of the masks", hidden: !strength },
      ...classes.slice(0, NAMED).map(([name, colour]) => h("li", {}, h("i", { style: { background: colour } }), h("span", { text: name }))),
      rest > 0 ? h("li", { text: `and ${rest} more` }) : null);
    legends.push(list);
    return list;
  }

  // a picture shown whole, with its mask over it
  function whole(row, picture) {
    const both = h("div", { class: "laid-over" }, picture);
    over(row, LARGE).then(url => { if (url) both.append(h("img", { class: "whole mask", src: url, alt: "" })); });
    return both;
  }

  set(strength);
  const keys = { m: ["masks on, or off", () => set(strength ? 0 : before)] };
  return { there: true, tools: h("div", { class: "mask-tools", role: "group", "aria-label": "Masks" }, toggle, slider), over, keys, legend, whole };
}
