// The shell: which page is shown, the navigation, the keys.
import { busy, dialog, get, h, keys, listed, problem } from "./parts.js";

const TITLES = { collection: "Collection", map: "Map", findings: "Findings", runs: "Runs", papers: "Papers" };
const page = document.getElementById("page"), nav = document.getElementById("pages");
let leave = null, turn = 0;

// #/collection?where=… -> ["collection", URLSearchParams]
function asked() {
  const [name, words = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return [name, new URLSearchParams(words)];
}

export let desk = null;

function style(name) { // a page may bring a style sheet of its own, at <page>.css
  return new Promise(resolve => {
    if (document.querySelector(`link[data-page="${name}"]`)) return resolve();
    const link = h("link", { rel: "stylesheet", href: `/${name}.css`, dataset: { page: name }, onload: resolve, onerror: resolve });
    document.head.append(link);
  });
}

async function show() {
  const mine = ++turn;
  let [name, words] = asked();
  if (!desk.pages.includes(name)) name = desk.pages[0];
  for (const link of nav.children) link.dataset.page === name ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  document.title = `${TITLES[name] ?? name} · ${desk.name} · fallow studio`;
  leave?.();
  leave = null;
  page.replaceChildren(busy());
  state(""); // what the page before said of itself
  delete document.documentElement.dataset.shown;
  try {
    const [module] = await Promise.all([import(`./${name}.js`), style(name)]);
    if (mine !== turn) return;
    const root = h("div", { class: `page-${name}` });
    page.replaceChildren(root);
    const done = await module.show(root, words);
    if (mine !== turn) return done?.();
    leave = done ?? null;
    document.documentElement.dataset.shown = name;
  } catch (error) {
    if (mine === turn) page.replaceChildren(problem(error.message));
    console.error(error);
  }
}

function help() {
  const rows = listed().flatMap(([parts, what]) => [
    h("dt", {}, ...parts.flatMap((part, k) => [k ? " + " : "", h("kbd", { text: part })])), h("dd", { text: what })]);
  dialog("Keys of this page", h("dl", { class: "keys" }, ...rows));
}

export function state(text) { document.getElementById("state").textContent = text; }

async function start() {
  page.replaceChildren(busy("Opening"));
  desk = await get("/api/desk");
  document.getElementById("name").textContent = desk.name;
  if (desk.missing) nav.parentElement.append(h("p", { class: "missing", role: "note", text: "The pictures of this run are not where they were: open it with --pictures FOLDER to see and draw on them." }));
  nav.replaceChildren(...desk.pages.map(name => h("a", { href: `#/${name}`, text: TITLES[name] ?? name, dataset: { page: name } })));
  keys({ "?": ["this list", help], ...Object.fromEntries(desk.pages.slice(0, 9).map((name, k) => [
    `alt+${k + 1}`, [k ? "" : `the first page; 2 to ${desk.pages.length} the next ones`, () => { location.hash = `#/${name}`; }]])) });
  document.getElementById("keys").addEventListener("click", help);
  window.addEventListener("hashchange", show);
  await show();
}
start().catch(error => page.replaceChildren(problem(error.message)));
