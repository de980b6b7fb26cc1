// One run, and another beside it: curves, views, notes, settings, log, report.
import { failed, get, h } from "./parts.js";
import { charts } from "./runs-chart.js";
import { facts } from "./runs-words.js";

const shown = value => typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "–");

const WATCHED = 50; // steps before the watch says anything
const verdict = ({ state, latest }) => latest.step >= WATCHED ? "No warnings: nothing looks like a collapse."
  : state === "running" ? `It judges from step ${WATCHED} on.` : `It judges from step ${WATCHED} on, which this run did not reach.`;
const watched = latest => latest.spread !== undefined || latest.loss_of_trivial !== undefined;

// A text with a button that copies it.
export function copyable(name, text, note = "") {
  const code = h("code"), box = h("pre", { tabindex: 0, "aria-label": name }, code);
  const button = h("button", { type: "button", class: "quiet", text: "Copy", "aria-label": `Copy ${name}` });
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(code.textContent); } catch { // not on a page that is served to others
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
      return;
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
  const element = h("div", { class: "copyable" }, h("div", { class: "copy-head" }, h("h3", { text: name }), button), box, note ? h("p", { class: "note", text: note }) : null);
  // lines break between words and behind a bracket, not behind the dashes of an option
  const set = now => code.replaceChildren(...now.split(/(?<=[ (])/).flatMap(word => [h("span", { text: word.trimEnd() }), word.endsWith(" ") ? " " : ""]));
  set(text);
  return { element, set };
}

const section = (title, ...children) => h("section", { "aria-label": title }, h("h3", { class: "run-section", text: title }), ...children);

// Shows run `id` in `root`; `update(run, runs)` when the list has changed.
export function details(root, id, beside, actions) {
  const title = h("h2"), line = h("p", { class: "run-line" }), buttons = h("div", { class: "run-actions" });
  const trouble = h("div", { class: "notice", role: "note", hidden: true });
  const bar = h("progress", { max: 1, "aria-label": "Progress of the run" });
  const curves = h("div", { class: "charts" }), legend = h("p", { class: "run-legend", hidden: true });
  const curveBox = section("Curves", legend, curves), body = h("div");
  const report = h("div"), begins = h("p", { class: "note", hidden: true, text: "It begins: what it says, and curves if it trains, appear here." });
  curveBox.hidden = true;
  root.replaceChildren(h("header", { class: "run-title" }, title, buttons), line, bar, trouble, begins, report, curveBox, body);
  const draw = charts(curves);
  let seen = {}, left = false, other = null, told = null, drawn = "", open = false;

  async function look(run) {
    const wanted = run.size !== seen.size || run.state !== seen.state || run.said !== seen.said;
    if (!wanted || open) return;
    open = true;
    const grew = run.size !== seen.size;
    seen = run;
    try {
      const [now, its] = await Promise.all([get(`/api/runs/${id}`), grew ? get(`/api/runs/${id}/curves`) : null]);
      if (beside && !other) other = await withCurves(beside);
      if (left) return;
      told = now;
      if (its) {
        const series = [{ name: run.name, curves: its }, ...(other ? [other] : [])];
        curveBox.hidden = !draw(series);
        legend.hidden = !other;
        legend.replaceChildren(...series.flatMap((one, k) => [h("i", { class: `key-${k}` }), `${one.name} `]));
      }
      fill();
    } catch (error) { failed(error); } finally { open = false; }
  }

  async function withCurves(which) {
    const [about, its] = await Promise.all([get(`/api/runs/${which}`), get(`/api/runs/${which}/curves`)]);
    return { ...about, curves: its };
  }

  function fill() { // again only when something of it is new: a log that is being read stays
    const text = JSON.stringify([told.views, told.warnings, told.notes, told.settings, told.scores, told.state, told.latest.step >= WATCHED, !told.log && !told.errors]);
    log.set(told.log, told.errors);
    if (text === drawn) return;
    drawn = text;
    const parts = [];
    if (told.warnings.length) parts.push(section("Collapse watch", h("div", { class: "notice", role: "note" }, ...told.warnings.map(said => h("p", { text: said })))));
    else if (watched(told.latest)) parts.push(section("Collapse watch", h("p", { class: "note", text: verdict(told) })));
    if (told.views.length) parts.push(section("Views as the model sees them", ...told.views.map((stream, k) => h("figure", { class: "views" },
      h("img", { src: `/api/runs/${id}/views/${k}?${told.size}`, alt: `Views of ${stream}: a column for an image, a row for a view of it`, loading: "lazy" }),
      told.views.length > 1 ? h("figcaption", { text: stream }) : null)),
      h("p", { class: "note", text: "A column for an image, a row for a view of it; from the first batch of the latest session." })));
    if (told.scores.length) parts.push(section("Scores", scores(told.scores)));
    const settings = other ? differing(told, other) : table(["setting", "value"], Object.entries(told.settings).map(([name, value]) => [name, shown(value)]));
    if (settings) parts.push(other ? section("Settings that differ", settings) : h("details", {}, h("summary", { text: "Settings" }), settings));
    if (told.notes.length) parts.push(h("details", {}, h("summary", { text: "Notes" }), h("ul", {}, ...told.notes.map(said => h("li", { text: said })))));
    body.replaceChildren(...parts, told.log || told.errors ? section("What it said", log.element) : "", copyable("As a command", told.command, `Run in ${told.cwd}`).element);
    if (told.report && !report.firstChild) report.append(page());
  }

  const log = spoken();
  function spoken() {
    const out = h("pre", { class: "log", tabindex: 0, "aria-label": "Output" }), err = h("pre", { class: "log", tabindex: 0, "aria-label": "Errors" });
    const more = h("details", {}, h("summary", { text: "Errors and warnings of the machinery" }), err);
    return { element: h("div", {}, out, more), set(said, wrong) {
      if (out.textContent !== said) {
        const end = out.scrollHeight - out.scrollTop - out.clientHeight < 30;
        out.textContent = said;
        if (end) out.scrollTop = out.scrollHeight;
      }
      out.hidden = !said;
      err.textContent = wrong;
      more.hidden = !wrong;
    } };
  }

  function page() { // a frame without the studio's rights: it has an origin of its own, and reaches nothing
    const frame = h("iframe", { sandbox: "allow-scripts", title: "Report of the run", src: `/api/runs/${id}/report`, loading: "lazy" });
    return h("details", { class: "report", open: !beside }, h("summary", { text: "Report" }), frame,
      h("p", { class: "note" }, h("a", { href: `/api/runs/${id}/report`, target: "_blank", rel: "noopener", text: "Open it by itself" })));
  }

  let said = "";
  function head(run, runs) {
    title.replaceChildren(run.verb, " ", h("span", { class: "run-out", text: run.name === run.verb ? "" : run.name }));
    line.textContent = run.state === "failed" ? "" : facts(run).join(" · ");
    bar.hidden = run.state !== "running";
    begins.hidden = run.state !== "running" || run.waiting || Boolean(run.size || run.said);
    if (run.progress !== null) bar.value = run.progress; else bar.removeAttribute("value");
    trouble.hidden = run.state !== "failed";
    trouble.replaceChildren(h("p", { text: run.sentence }));
    const others = runs.filter(one => one.id !== id && one.size);
    const now = JSON.stringify([run.state, run.stopping, run.goes_on, others.map(one => one.name)]);
    if (now === said) return; // buttons stay under the pointer, and keep the focus
    said = now;
    const button = (text, what, more = {}) => h("button", { type: "button", text, onclick: what, ...more });
    const ended = !["queued", "running"].includes(run.state), at = document.activeElement?.dataset?.act;
    buttons.replaceChildren(...[
      run.size && others.length ? h("label", {}, h("span", { class: "hidden-label", text: "Compare with" }), h("select", { onchange: event => actions.beside(event.target.value || null) },
        h("option", { value: "", text: "Compare with…" }), ...others.map(one => h("option", { value: one.id, text: `${one.verb} ${one.name}`, selected: one.id === beside })))) : null,
      run.state === "queued" ? button("Earlier", () => actions.move(-1), { dataset: { act: "up" } }) : null,
      run.state === "queued" ? button("Later", () => actions.move(1), { dataset: { act: "down" } }) : null,
      ended ? null : button(run.stopping ? "Stopping" : "Stop", actions.stop, { disabled: run.stopping, dataset: { act: "stop" } }),
      ["failed", "stopped"].includes(run.state) ? button(run.goes_on ? "Resume" : "Start again", actions.resume, { class: "main", dataset: { act: "resume" } }) : null,
      h("a", { class: "button", href: `#/runs?new=${run.verb}&from=${id}`, text: "Again, changed" }),
      run.state === "running" ? null : button("Remove", actions.remove, { dataset: { act: "remove" } }),
    ].filter(Boolean));
    if (at) (buttons.querySelector(`[data-act="${at}"]`) ?? buttons.querySelector("button"))?.focus();
  }

  return { update(run, runs) { head(run, runs); look(run); }, leave() { left = true; } };
}

function table(heads, rows) {
  if (!rows.length) return null;
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ...heads.map(text => h("th", { scope: "col", text })))),
    h("tbody", {}, ...rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row", text: first }), ...rest.map(text => h("td", { text })))))));
}

function scores(rows) {
  const measures = [...new Set(rows.flatMap(row => Object.keys(row)))].filter(name => name !== "name");
  return table(["encoder", ...measures], rows.map(row => [row.name, ...measures.map(name => typeof row[name] === "number" ? row[name].toFixed(3) : shown(row[name]))]));
}

function differing(one, two) {
  const names = [...new Set([...Object.keys(one.settings), ...Object.keys(two.settings)])];
  const rows = names.filter(name => JSON.stringify(one.settings[name]) !== JSON.stringify(two.settings[name]));
  if (!rows.length) return h("p", { class: "note", text: "Both runs had the same settings." });
  return table(["setting", one.name, two.name], rows.map(name => [name, shown(one.settings[name]), shown(two.settings[name])]));
}
