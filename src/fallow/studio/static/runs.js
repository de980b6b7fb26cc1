// Runs: the queue, and one run with its curves, its views, its notes and its report.
import { dialog, empty, failed, get, h, keys, post, toast } from "./parts.js";
import { details } from "./runs-details.js";
import { STATES, chip, facts } from "./runs-words.js";
import { state } from "./studio.js";

export async function show(root, words) {
  if (words.has("new")) return (await import("./runs-new.js")).show(root, words);
  const list = h("ol", { class: "run-list", "aria-label": "Runs" });
  const side = h("div", { class: "run-side" },
    h("div", { class: "run-head" }, h("h2", { text: "Runs" }), h("a", { class: "button main", href: "#/runs?new", text: "New run" })), list);
  const place = h("article", { class: "run-details", "aria-label": "The run" });
  const live = h("p", { class: "hidden-label", role: "status", "aria-live": "polite" });
  root.append(h("div", { class: "runs" }, side, place), live);

  let runs = [], chosen = words.get("run"), beside = words.get("with"), shown = null;
  const rows = new Map();

  async function act(what, id = chosen) {
    try { update((await post(`/api/runs/${id}/${what}`)).runs); } catch (error) { failed(error); }
  }
  async function remove(id = chosen) {
    const run = runs.find(one => one.id === id);
    if (!run || run.state === "running") return run && toast("This run is working: stop it first.", true);
    const sure = await dialog("Remove this run from the list?", h("p", { text: "What it said here is forgotten; what it wrote into its folder stays." }),
      [["Cancel", false], ["Remove it", true, true]]);
    if (sure) act("remove", id);
  }
  async function move(by, id = chosen) {
    const ids = runs.filter(run => run.state === "queued").map(run => run.id), from = ids.indexOf(id), to = from + by;
    if (from < 0 || to < 0 || to >= ids.length) return;
    ids.splice(to, 0, ids.splice(from, 1)[0]);
    try { update((await post("/api/runs/order", { ids })).runs); } catch (error) { failed(error); }
  }
  const actions = { stop: () => act("stop"), resume: () => act("resume"), remove: () => remove(), move, beside: id => { beside = id; choose(chosen); } };

  function choose(id) {
    chosen = id;
    if (beside === id) beside = null;
    history.replaceState(null, "", `#/runs?run=${id}${beside ? `&with=${beside}` : ""}`);
    shown?.leave();
    shown = details(place, id, beside, actions);
    update(runs);
  }

  function row(run) {
    const made = {
      name: h("span", { class: "run-name" }), chip: h("span", { class: "run-state" }), facts: h("span", { class: "run-facts" }),
      bar: h("progress", { max: 1, "aria-label": "Progress" }),
    };
    made.button = h("button", { type: "button", class: "run", onclick: () => choose(run.id) },
      h("span", { class: "run-top" }, made.name, made.chip), made.bar, made.facts);
    made.element = h("li", {}, made.button);
    return made;
  }

  function fill(made, run) {
    made.name.replaceChildren(h("b", { text: run.verb }), " ", h("span", { text: run.name === run.verb ? "" : run.name }));
    made.chip.textContent = chip(run);
    made.chip.dataset.state = run.state;
    made.bar.hidden = run.state !== "running";
    if (run.progress !== null) made.bar.value = run.progress; else made.bar.removeAttribute("value");
    made.facts.textContent = facts(run).join(" · ");
    run.id === chosen ? made.button.setAttribute("aria-current", "true") : made.button.removeAttribute("aria-current");
  }

  function update(now) {
    for (const run of now) { // told to those who do not see the list
      const before = runs.find(one => one.id === run.id);
      if (before && before.state !== run.state) live.textContent = `${run.verb} ${run.name}: ${STATES[run.state]}`;
    }
    runs = now;
    const order = [...runs].reverse().sort((a, b) => rank(a) - rank(b) || (a.state === "queued" ? runs.indexOf(a) - runs.indexOf(b) : 0));
    for (const [id, made] of rows) if (!runs.some(run => run.id === id)) { made.element.remove(); rows.delete(id); }
    order.forEach((run, k) => {
      if (!rows.has(run.id)) rows.set(run.id, row(run));
      const { element } = rows.get(run.id);
      if (list.children[k] !== element) list.insertBefore(element, list.children[k] ?? null); // those in place keep the focus
      fill(rows.get(run.id), run);
    });
    const working = runs.filter(run => run.state === "running").length, queued = runs.filter(run => run.state === "queued").length;
    state(runs.length ? `${working ? "1 running" : "none running"}, ${queued} queued` : "");
    root.firstChild.classList.toggle("none", !runs.length);
    if (!runs.length) {
      shown?.leave();
      shown = chosen = null;
      place.replaceChildren(empty("Nothing has run here yet. A run goes on when this page is closed, and when the studio is.",
        h("a", { class: "button main", href: "#/runs?new", text: "Start a run" })));
      return;
    }
    const found = runs.find(run => run.id === chosen);
    if (!found) return choose(order[0].id);
    if (!shown) return choose(chosen);
    shown.update(found, runs);
  }

  const step = by => {
    const ids = [...list.children].map(li => [...rows].find(([, made]) => made.element === li)[0]);
    const id = ids[ids.indexOf(chosen) + by];
    if (id) { choose(id); rows.get(id).button.focus(); }
  };
  const off = keys({
    n: ["a new run", () => { location.hash = "#/runs?new"; }],
    ArrowDown: ["the next run", () => step(1)], ArrowUp: ["the run before", () => step(-1)],
    s: ["stop this run", actions.stop], r: ["resume this run", actions.resume], Delete: ["remove it from the list", actions.remove],
    "alt+ArrowUp": ["earlier in the queue", () => move(-1)], "alt+ArrowDown": ["later in the queue", () => move(1)],
  });

  update((await get("/api/runs/list")).runs);
  const stream = new EventSource("/api/runs/events");
  stream.addEventListener("runs", event => update(JSON.parse(event.data).runs));
  stream.addEventListener("error", () => state("waiting for the studio"));
  return () => { stream.close(); shown?.leave(); off(); state(""); };
}

// what works first, then the queue, then what has ended, the latest first
const rank = run => ({ running: 0, queued: 1 })[run.state] ?? 2;
