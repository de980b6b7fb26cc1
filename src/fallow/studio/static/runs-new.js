// A new run: choose a verb, fill its form, see what it means, start it.
import { busy, coded, failed, get, h, keys, post } from "./parts.js";
import { copyable } from "./runs-details.js";

const ENCODERS = ["tiny", "lite", "resnet18", "resnet8", "vit-tiny/4", "hf:facebook/dinov2-small", "untrained"];
const plain = name => name.replace(/_$/, "").replaceAll("_", " ");

export async function show(root, words) {
  const verb = words.get("new");
  return verb ? fill(root, verb, words) : choose(root);
}

async function choose(root) {
  const { groups } = await get("/api/runs/verbs");
  const link = (title, [name, what]) => h("a", { class: "verb", href: `#/runs?new=${name}`, dataset: { words: `${title} ${name} ${what}`.toLowerCase() } }, h("b", { text: name }), h("span", { text: what }));
  const sections = groups.map(({ title, verbs }) => h("section", { class: "purpose", "aria-label": title || "Verbs" },
    title ? h("h3", { text: title }) : null, h("div", { class: "verbs" }, ...Object.entries(verbs).map(one => link(title, one)))));
  const none = h("p", { class: "empty", hidden: true, text: "No verb speaks of that." });
  const find = h("input", { type: "search", placeholder: "What do you want to do?", "aria-label": "Find a verb", oninput: () => {
    const asked = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const section of sections) {
      const links = [...section.lastChild.children];
      for (const one of links) one.hidden = !asked.every(word => one.dataset.words.includes(word));
      section.hidden = links.every(one => one.hidden);
    }
    none.hidden = sections.some(section => !section.hidden);
  } });
  root.append(h("div", { class: "sheet" }, crumbs("New run"), find, ...sections, none));
  find.focus();
  return keys({ Escape: ["back to the runs", () => { location.hash = "#/runs"; }] });
}

const crumbs = title => h("div", { class: "run-crumbs" }, h("h2", {}, h("a", { href: "#/runs", text: "Runs" }), " / ", title));

async function fill(root, verb, words) {
  root.append(busy());
  const from = words.get("from") ? (await get(`/api/runs/${words.get("from")}`)).given : {};
  const told = { ...from };
  for (const [name, value] of words) if (!["new", "from"].includes(name)) told[name] = value;
  const first = await get(`/api/runs/form/${verb}`, { system: "" });
  const schema = first.schema;
  for (const [name, value] of Object.entries(first.open)) told[name] ??= value;
  const said = { ...(told.settings ?? {}) }, fields = new Map(), touched = new Set();
  delete told.settings;
  let form = first, pending = 0, turn = 0;

  // --- the fields ---

  function field(name, label, description, input, many = "") {
    const wrong = h("p", { class: "wrong", id: `wrong-${name}` }), help = h("p", { class: "note", id: `help-${name}` }, coded(description ?? ""));
    input.id = `field-${name}`;
    input.setAttribute("aria-describedby", `help-${name} wrong-${name}`);
    const changed = () => { touched.add(name); later(); };
    input.addEventListener("input", changed);
    input.addEventListener("change", changed);
    const row = h("div", { class: `field-row${input.type === "checkbox" ? " check" : ""}` }, h("label", { for: input.id, text: label }), h("div", {}, input, help, wrong));
    fields.set(name, { input, wrong, row, many });
    return row;
  }

  function control(name, one) {
    const value = told[name], required = schema.required.includes(name);
    if (one.enum) return options(one.enum, value ?? one.default);
    if (one.type === "boolean") {
      if (one.default === undefined) return options(["true", "false"], value === undefined ? "" : String(value), { "": "decided for you", true: "yes", false: "no" });
      return h("input", { type: "checkbox", checked: value === undefined ? one.default : String(value) === "true" });
    }
    if (["array", "object"].includes(one.type)) return h("textarea", { rows: 2, placeholder: one.type === "array" ? "one on a line" : "name=value, one on a line", value: Array.isArray(value) ? value.join("\n") : value ?? "" });
    const lists = name === form.system ? "systems" : name === "encoder" ? "encoders" : name === "preset" ? "presets" : null;
    return h("input", { type: "text", value: value ?? "", placeholder: one.default !== undefined ? String(one.default) : null, required, autocomplete: "off", spellcheck: "false",
      inputmode: ["integer", "number"].includes(one.type) ? "decimal" : null, list: lists });
  }

  function options(choices, value, names = {}) {
    const all = "" in names ? ["", ...choices] : choices;
    return h("select", {}, ...all.map(one => h("option", { value: one, text: names[one] ?? one, selected: String(value ?? "") === one })));
  }

  // --- the settings of the chosen system ---

  const inner = h("div", { class: "settings" }), settingsTitle = h("summary"), settingsBox = h("details", {}, settingsTitle, inner);
  const lists = h("div", { hidden: true });

  function suggestions() {
    const list = (id, values) => h("datalist", { id }, ...values.map(value => h("option", { value })));
    lists.replaceChildren(list("systems", form.systems), list("encoders", ENCODERS), list("presets", form.presets));
  }

  function settings() {
    for (const name of [...fields.keys()]) if (name.startsWith("settings.")) fields.delete(name);
    settingsBox.hidden = !form.systems.length;
    settingsTitle.textContent = form.shown ? `Settings of ${form.shown}` : "Settings";
    const kept = Object.keys(said).filter(name => !form.settings.some(one => one.name === name));
    const rows = form.settings.map(one => setting(one.name, one.description, one.default, one.choices));
    rows.push(...kept.map(name => setting(name, form.shown ? `${form.shown} has no such setting` : "", "", [])));
    const several = !form.system && form.systems.length > 1 && form.settings.length;
    if (several) rows.unshift(h("label", { class: "which" }, "Settings of ", options_of(form.systems, form.shown)));
    if (!form.settings.length) rows.unshift(h("p", { class: "note", text: form.system ? `Choose a ${plain(form.system)} above to see what it can be told.` : "It has none." }));
    inner.replaceChildren(...rows);
  }

  function options_of(systems, value) {
    const choice = options(systems, value);
    choice.addEventListener("change", () => system(choice.value));
    return choice;
  }

  function setting(name, description, usual, choices) {
    const input = choices.length ? options(choices, said[name] ?? "", { "": usual ? `${usual} (default)` : "default" })
      : h("input", { type: "text", value: said[name] ?? "", placeholder: usual || null, autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => { if (input.value) said[name] = input.value; else delete said[name]; });
    return field(`settings.${name}`, plain(name), description, input);
  }

  async function system(name) {
    const mine = ++turn;
    try {
      const found = await get(`/api/runs/form/${verb}`, { system: name });
      if (mine !== turn || found.shown === form.shown) return;
      form = found;
      suggestions();
      settings();
      later();
    } catch (error) { failed(error); }
  }

  // --- what it means, judged while one types ---

  const command = copyable("As a command", ""), python = copyable("As Python", "");
  const needed = h("p", { class: "note" }), start = h("button", { type: "submit", class: "main", text: "Start" });
  const panel = h("aside", { class: "meaning", "aria-label": "What this means" }, command.element, python.element,
    h("div", { class: "go" }, start, needed), h("p", { class: "note", text: "It joins the queue, and goes on when this page or the studio is closed." }));

  function values() {
    const given = {};
    for (const [name, { input }] of fields) {
      if (name.startsWith("settings.")) continue;
      const one = schema.properties[name];
      if (one.type === "boolean" && input.type === "checkbox") { if (input.checked !== one.default) given[name] = input.checked; continue; }
      if (!input.value.trim() || input.value === String(one.default)) continue;
      given[name] = ["array", "object"].includes(one.type) ? input.value.split("\n").filter(text => text.trim()) : input.value;
    }
    if (Object.keys(said).length) given.settings = { ...said };
    return given;
  }

  function later() { clearTimeout(pending); pending = setTimeout(judge, 180); }
  let judging = 0;
  async function judge(all = false) {
    clearTimeout(pending);
    const mine = ++judging;
    try {
      const found = await post("/api/runs/judge", { verb, given: values() });
      if (mine !== judging) return found;
      const wrong = Object.entries(found.problems);
      for (const [name, { input, wrong: place, row }] of fields) {
        const text = found.problems[name] ?? "", shown = text && (all || touched.has(name) || input.value);
        place.textContent = shown ? text : "";
        input.setAttribute("aria-invalid", shown ? "true" : "false");
        row.classList.toggle("bad", Boolean(shown));
      }
      const missing = wrong.map(([name]) => plain(name.replace("settings.", "")));
      needed.textContent = wrong.length ? `Still to be put right: ${missing.join(", ")}` : "";
      command.set(found.command);
      python.set(found.python);
      if (fields.has("out")) fields.get("out").input.placeholder = found.out || "chosen for you";
      return found;
    } catch (error) { failed(error); return null; }
  }

  async function go(event) {
    event.preventDefault();
    start.disabled = true;
    const found = await judge(true), bad = found ? Object.keys(found.problems) : [];
    if (found && !bad.length) {
      try {
        const { id } = await post("/api/runs/start", { verb, given: values() });
        location.hash = `#/runs?run=${id}`;
        return;
      } catch (error) { failed(error); }
    }
    start.disabled = false;
    const place = bad.map(name => fields.get(name)).find(Boolean);
    if (!place) return;
    for (let box = place.row.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    place.input.focus();
  }

  // --- the page ---

  const order = form.order, folded = new Set(form.seldom);
  const row = name => field(name, plain(name), schema.properties[name].description, control(name, schema.properties[name]));
  const main = order.filter(name => !folded.has(name)).map(row), few = order.filter(name => folded.has(name)).map(row);
  const seldom = few.length ? h("details", { open: form.seldom.some(name => name in told) }, h("summary", { text: "Seldom needed" }), ...few) : null;
  suggestions();
  settings();
  const [sentence, ...rest] = schema.description.split("\n\n");
  const page = h("form", { class: "run-form", onsubmit: go, novalidate: true },
    h("div", { class: "fields" }, h("p", { class: "intro" }, coded(sentence)), rest.length ? h("details", {}, h("summary", { text: "More about it" }), ...rest.map(text => h("p", {}, coded(text)))) : null,
      ...main, settingsBox, seldom), panel, lists);
  root.replaceChildren(h("div", { class: "sheet wide" }, crumbs(verb), page));
  if (form.system && fields.has(form.system)) {
    const { input } = fields.get(form.system);
    input.addEventListener("change", () => system(input.value.trim()));
    if (input.value.trim()) await system(input.value.trim());
  }
  if (Object.keys(said).length) settingsBox.open = true;
  const blank = order.map(name => fields.get(name).input).find(input => !input.value);
  blank?.focus();
  await judge();
  return keys({ Escape: ["back to the verbs", () => { location.hash = "#/runs?new"; }] });
}
