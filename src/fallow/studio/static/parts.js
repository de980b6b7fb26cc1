// What every page is made of: elements, requests, messages and dialogs.

// An element. Text stays text: nothing a file name or a label says is ever read as markup.
// `class`, `text`, `style: {…}`, `dataset: {…}` and `onclick: …` are understood; null is left out.
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

// --- requests: the server's sentence is the error's message ---

async function answered(promise) {
  let answer;
  try { answer = await promise; } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The studio does not answer: is it still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const wrong = Array.isArray(said.detail) ? said.detail.map(one => `${one.loc.at(-1)}: ${one.msg}`).join("; ") : said.detail;
  throw new Error(said.problem ?? wrong ?? `The studio answered ${answer.status}.`);
}

export const address = (path, asked = {}) => {
  const said = Object.entries(asked).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return said.length ? `${path}?${new URLSearchParams(said)}` : path;
};
export const get = async (path, asked, signal) => (await answered(fetch(address(path, asked), { signal }))).json();
export const bytes = async (path, asked, signal) => (await answered(fetch(address(path, asked), { signal }))).arrayBuffer();
export const post = async (path, body = {}) => (await answered(fetch(path, {
  method: "POST",
  // a file goes as it is, everything else as JSON
  headers: { "content-type": body instanceof Blob ? "application/octet-stream" : "application/json" },
  body: body instanceof Blob ? body : JSON.stringify(body),
}))).json();

// --- messages and states ---

export function toast(text, problem = false) {
  const said = h("p", { class: problem ? "problem" : null, text });
  document.getElementById("toasts").append(said);
  setTimeout(() => said.remove(), problem ? 7000 : 3200);
}
export const failed = error => { if (error.name !== "AbortError") toast(error.message, true); };

// what a page shows where there is nothing, with something to do about it
export const empty = (text, ...actions) => h("div", { class: "empty-state" }, h("p", { text }), actions.length ? h("div", {}, ...actions) : null);
export const problem = (text, ...actions) => h("div", { class: "empty-state problem", role: "alert" }, h("p", { text }), actions.length ? h("div", {}, ...actions) : null);
export const busy = (text = "Loading") => h("div", { class: "busy", role: "status" }, h("i", { "aria-hidden": "true" }), h("p", { text }));

// A modal dialog; `actions` are [name, value, main?]; resolves to the value, null when closed.
export function dialog(title, body, actions = [["Close", null]]) {
  return new Promise(resolve => {
    const heading = h("h2", { id: "dialog-title", text: title });
    const box = h("dialog", { "aria-labelledby": "dialog-title" }, heading, body,
      h("div", { class: "foot" }, ...actions.map(([name, value, main]) => h("button", {
        type: "button", class: main ? "main" : null, text: name, onclick: () => { answer = value; box.close(); },
      }))));
    let answer = null;
    box.addEventListener("close", () => { box.remove(); resolve(typeof answer === "function" ? answer(box) : answer); });
    document.body.append(box);
    box.showModal();
  });
}

// A link to a verb's form, with what is known already; the open collection is filled in there.
export const runs = (text, verb, given = {}, main = false) => h("a", { class: main ? "button main" : "button", href: `#/runs?${new URLSearchParams({ new: verb, ...given })}`, text });

// Keys of the page that is shown: {"ctrl+z": [what it does, function]}; `?` lists those that say it.
const held = [];
const SPELT = { Escape: "Esc", " ": "Space", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", ctrl: "Ctrl", alt: "Alt", Delete: "Del" };
export function keys(map) {
  held.push(map);
  return () => held.splice(held.indexOf(map), 1);
}
const spelled = event => [
  event.ctrlKey || event.metaKey ? "ctrl" : "", event.altKey ? "alt" : "",
  event.shiftKey && event.key.length > 1 ? "shift" : "", event.key.length === 1 ? event.key.toLowerCase() : event.key,
].filter(Boolean).join("+");
document.addEventListener("keydown", event => {
  const typing = event.target.closest?.("textarea, select, dialog, input:not([type=radio], [type=checkbox], [type=range])");
  const pressing = ["Enter", " "].includes(event.key) && event.target.closest?.("button, a, summary, input"); // what is in focus is meant
  const name = event.ctrlKey && event.shiftKey && event.key.length === 1 ? `ctrl+shift+${event.key.toLowerCase()}` : spelled(event);
  for (const map of held.toReversed()) {
    if (!(name in map) || pressing || (typing && name !== "Escape")) continue;
    event.preventDefault();
    map[name][1](event);
    return;
  }
});
// The page's own keys before those of every page, letters before digits: [[keys of one, what it does], …]
export function listed() {
  const shown = new Map();
  for (const map of held.toReversed()) {
    for (const [name, [what]] of Object.entries(map).sort(([a], [b]) => /^\d$/.test(a) - /^\d$/.test(b))) if (!shown.has(name)) shown.set(name, what);
  }
  const spelt = part => SPELT[part] ?? (part.length === 1 ? part.toUpperCase() : part);
  return [...shown].filter(([, what]) => what).map(([name, what]) => [name === "+" ? [name] : name.split("+").map(spelt), what]);
}

// --- small pictures, many in one answer, a bounded number of them kept ---

const KEPT = 3000, MANY = 120;

// Those an address answers with: a function (row, side) that resolves to the address of one, "" where there is none.
// What is asked for in one turn comes in one answer; `then(list)` are rows that will probably be asked for next.
export function sheets(path, type, then = null) {
  const urls = new Map(); // "row side" -> object URL
  let asked = new Map(); // side -> Map(row -> resolvers)

  function fetchAsked() {
    for (const [side, rows] of asked) {
      const list = [...rows.keys()];
      for (let k = 0; k < list.length; k += MANY) load(list.slice(k, k + MANY), side, rows);
    }
    asked = new Map();
  }

  async function load(list, side, waiting) {
    let found = null;
    try {
      const next = then?.().filter(row => !urls.has(`${row} ${side}`)).slice(0, MANY).join(",");
      const body = await bytes(path, { rows: list.join(","), side, then: next });
      found = [];
      const lengths = new DataView(body);
      let at = 4 * list.length;
      for (let k = 0; k < list.length; k++) {
        const length = lengths.getUint32(4 * k, true);
        found.push(length ? URL.createObjectURL(new Blob([new Uint8Array(body, at, length)], { type })) : "");
        at += length;
      }
    } catch (error) { failed(error); }
    list.forEach((row, k) => {
      if (found) urls.set(`${row} ${side}`, found[k]);
      for (const resolve of waiting.get(row)) resolve(found ? found[k] : "");
    });
    for (const [key, url] of urls) { // the oldest first; one that is still shown is decoded already
      if (urls.size <= KEPT) break;
      urls.delete(key);
      if (url) URL.revokeObjectURL(url);
    }
  }

  return (row, side = 160) => {
    const key = `${row} ${side}`, there = urls.get(key);
    if (there !== undefined) {
      urls.delete(key);
      urls.set(key, there); // asked for last, forgotten last
      return Promise.resolve(there);
    }
    if (!asked.size) setTimeout(fetchAsked, 20);
    if (!asked.has(side)) asked.set(side, new Map());
    const rows = asked.get(side);
    if (!rows.has(row)) rows.set(row, []);
    return new Promise(resolve => rows.get(row).push(resolve));
  };
}

let expected = []; // rows of which the server makes thumbnails while it waits
export const expect = rows => { expected = [...rows]; };
export const thumbnail = sheets("/api/collection/sheet", "image/jpeg", () => expected);

// A sentence whose `names` are set as what one types.
export const coded = text => text.split("`").map((part, k) => k % 2 ? h("code", { text: part }) : part);

// A picture of the collection as an element.
export function picture(row, side = 160, alt = "") {
  const image = h("img", { alt: "", decoding: "async", draggable: "false" }); // nothing is broken while it is on its way
  thumbnail(row, side).then(url => { if (url) Object.assign(image, { src: url, alt }); else image.replaceWith(h("span", { class: "note", text: "not readable" })); });
  return image;
}

// --- cells of the table in words ---

const HIDDEN = ["row", "x", "y", "id", "hash", "looks", "path"];
const round = value => Math.abs(value) >= 1e4 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4));

// Groups are numbered from 0 on and called from 1 on, on every page; -1 is none.
export const told = (name, value) => Array.isArray(value) ? value.join(", ").replaceAll("_", " ")
  : typeof value !== "number" ? String(value)
    : !Number.isInteger(value) ? round(value)
      : name.endsWith("group") ? (value < 0 ? "none" : String(value + 1)) : value.toLocaleString("en");
export const named = (cells, row) => String(cells.path ?? cells.id ?? `picture ${row}`).split(/[\\/]/).pop();

// What is known of a picture, the label first.
export function facts(cells) {
  const known = Object.entries(cells).filter(([name, value]) => !HIDDEN.includes(name) && value !== null && value !== "" && !(Array.isArray(value) && !value.length));
  const first = ["label", "suggested", "group", "flags"], rank = ([name]) => first.includes(name) ? first.indexOf(name) : first.length;
  return h("dl", { class: "facts" }, ...known.sort((a, b) => rank(a) - rank(b)).map(([name, value]) =>
    h("div", {}, h("dt", { text: name.replaceAll("_", " ") }), h("dd", { text: told(name, value) }))));
}

// Where else a picture can be seen, as links.
export const elsewhere = (cells, row) => [
  "x" in cells ? h("a", { class: "button", href: `#/map?row=${row}`, text: "Show on the map" }) : null,
  h("a", { class: "button", href: `#/findings?draw=${row}`, text: "Draw on it" })];
