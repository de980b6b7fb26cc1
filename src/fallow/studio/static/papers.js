// The papers: searched, filtered, one by one, date by date; a feed and a subscription.
import { busy, empty, get, h, keys, post, problem, toast } from "./parts.js";
import { desk, state } from "./studio.js";

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const VERDICTS = ["shown", "tie", "contradicted"];
const EVIDENCE = { shown: "something shown", tie: "a tie", contradicted: "something contradicted", measured: "measured", none: "not measured yet" };
const FILTERS = ["query", "verb", "evidence", "year"];
const at = asked => `#/papers?${new URLSearchParams(asked)}`;
const dated = date => date.includes("-") ? `${MONTHS[date.slice(5) - 1]} ${date.slice(0, 4)}` : date;

export async function show(root, words) {
  if (words.has("card")) return whole(root, words.get("card"));
  if (words.has("date")) return ofDate(root, words.get("date"));
  return list(root, words);
}

// --- all of them ---

async function list(root, words) {
  const first = await get("/api/papers/cards", Object.fromEntries(FILTERS.map(name => [name, words.get(name) ?? ""])));
  const search = h("input", {
    type: "search", id: "papers-query", maxlength: 500, autocomplete: "off", value: words.get("query") ?? "",
    placeholder: "What do you want to do? scratches on products, no labels", oninput: later,
  });
  const choice = (name, label, none, rows) => h("label", {}, h("span", { text: label }), h("select", { dataset: { filter: name }, onchange: ask },
    h("option", { value: "", text: none }), ...rows.map(([value, text]) => h("option", { value, text, selected: value === words.get(name) }))));
  const filters = [
    choice("verb", "Verb", "any", first.verbs.map(verb => [verb, verb])),
    choice("evidence", "Evidence", "any", first.evidence.map(one => [one, EVIDENCE[one] ?? one])),
    choice("year", "Year", "any", first.years.map(year => [String(year), String(year)])),
  ];
  const count = h("p", { class: "papers-count", role: "status", "aria-live": "polite" });
  const results = h("ol", { class: "papers-list" });
  root.append(h("div", { class: "sheet papers" },
    h("form", { class: "papers-ask", role: "search", onsubmit: event => { event.preventDefault(); ask(); } },
      h("label", { class: "hidden-label", for: "papers-query", text: "Search the papers by words and by meaning" }), search, ...filters),
    h("div", { class: "papers-columns" }, h("div", {}, count, results), h("aside", {}, byDate(first.dates), keepUp()))));

  let timer = null, turn = null;
  function later() { clearTimeout(timer); timer = setTimeout(ask, 180); }
  function asked() {
    const said = { query: search.value.trim() };
    for (const select of root.querySelectorAll("select[data-filter]")) said[select.dataset.filter] = select.value;
    return Object.fromEntries(Object.entries(said).filter(([, value]) => value));
  }
  async function ask() {
    clearTimeout(timer);
    turn?.abort();
    turn = new AbortController();
    const said = asked();
    history.replaceState(null, "", Object.keys(said).length ? at(said) : "#/papers");
    try { fill((await get("/api/papers/cards", said, turn.signal)).cards, said); } catch (error) {
      if (error.name !== "AbortError") results.replaceChildren(problem(error.message));
    }
  }
  function fill(cards, said) {
    if (!said.query) cards.sort((a, b) => b.date.localeCompare(a.date));
    const number = `${cards.length || "no"} paper${cards.length === 1 ? "" : "s"}`;
    count.textContent = !cards.length ? "" : said.query ? `${number}, the best first` : `${number}, the newest first`;
    state(number);
    const clear = h("button", { type: "button", text: "Show all papers", onclick: () => { location.hash = "#/papers"; } });
    results.replaceChildren(...(cards.length ? cards.map(item) : [h("li", {}, empty("No paper answers that. Ask with other words, or with fewer filters.", clear))]));
  }
  fill(first.cards, asked());
  const step = by => {
    const links = [...results.querySelectorAll("h2 a")], here = links.indexOf(document.activeElement);
    links[Math.min(Math.max(here + by, 0), links.length - 1)]?.focus();
  };
  const gone = keys({
    "/": ["search", () => { search.focus(); search.select(); }],
    j: ["next paper", () => step(1)], k: ["paper before", () => step(-1)],
    Escape: ["leave the search field", () => document.activeElement?.blur()],
  });
  return () => { gone(); clearTimeout(timer); turn?.abort(); };
}

function item(card) {
  return h("li", {}, h("article", {},
    h("h2", {}, h("a", { href: at({ card: card.slug }), text: card.name })),
    h("p", { class: "papers-title", text: card.title === card.name ? "" : card.title }),
    card.idea ? h("p", { text: card.idea }) : null,
    h("p", { class: "papers-facts" }, ...facts(card)), evidence(card)));
}

const facts = card => [
  card.verb ? h("span", { class: "papers-verb", text: card.verb }) : h("span", { class: "papers-verb", text: "your own" }),
  card.date ? h("a", { href: at({ date: card.date }), text: card.when }) : null,
  card.authors ? h("span", { text: `${card.authors} author${card.authors === 1 ? "" : "s"}` }) : null,
  card.venue ? h("span", { text: card.venue }) : null,
  card.built || card.mine ? null : h("span", { class: "papers-missing", text: "not built yet" }),
];

// What was measured: a bar for the eye, the same as words for everybody.
function evidence(card) {
  const total = VERDICTS.reduce((sum, verdict) => sum + (card.evidence[verdict] ?? 0), 0);
  if (!total) return h("p", { class: "papers-evidence none", text: card.mine ? "" : card.figures });
  const held = VERDICTS.filter(verdict => card.evidence[verdict]);
  return h("p", { class: "papers-evidence" },
    h("span", { class: "papers-bar", "aria-hidden": "true" }, ...held.map(verdict => h("i", { class: verdict, style: { "flex-grow": card.evidence[verdict] } }))),
    h("span", { title: "What was measured here of what it claims: shown, no difference (a tie), or contradicted", text: held.map(verdict => `${card.evidence[verdict]} ${verdict}${verdict === "tie" && card.evidence.tie > 1 ? "s" : ""}`).join(" · ") }));
}

function byDate(dates) {
  const years = Map.groupBy ? Map.groupBy(dates, date => date.slice(0, 4)) : new Map();
  return h("nav", { class: "papers-dates", "aria-label": "Papers by date" }, h("h2", { text: "By date" }),
    h("dl", {}, ...[...years].reverse().flatMap(([year, some]) => [h("dt", { text: year }),
      h("dd", {}, ...some.map(date => h("a", { href: at({ date }), text: date.includes("-") ? MONTHS[date.slice(5) - 1].slice(0, 3) : "undated", "aria-label": dated(date) })))])));
}

function keepUp() {
  const address = h("input", { type: "email", id: "papers-address", required: true, autocomplete: "email", placeholder: "you@example.org" });
  const said = h("p", { role: "status", "aria-live": "polite", class: "note" });
  const form = h("form", {
    onsubmit: async event => {
      event.preventDefault();
      try { said.textContent = (await post("/api/papers/subscribe", { address: address.value })).said; form.reset(); } catch (error) { said.textContent = error.message; }
    },
  }, h("label", { for: "papers-address", text: "Your mail address" }), h("div", {}, address, h("button", { type: "submit", text: "Subscribe" })), said);
  const feed = async () => new URL((await post("/api/papers/feed-address")).path, location.href).href;
  return h("section", { class: "papers-news", "aria-labelledby": "papers-news" }, h("h2", { id: "papers-news", text: "Keep up" }),
    h("p", { class: "note" }, "Hear of papers and measurements that come. The list stays on this machine; mails leave it when you run ", h("code", { class: "papers-word", text: "fallow papers --digest" }), "."),
    form,
    h("p", {}, h("span", { text: "Atom feed" }), h("button", { type: "button", text: "Copy its address", onclick: () => feed().then(copy, error => toast(error.message, true)) })));
}

async function copy(text) {
  try { await navigator.clipboard.writeText(text); toast("Copied."); } catch { toast("The browser does not allow copying here.", true); }
}

// --- one ---

async function whole(root, slug) {
  root.append(busy());
  const { card, claims } = await get(`/api/papers/card/${encodeURIComponent(slug)}`);
  document.title = `${card.name} · ${document.title}`;
  state(card.name);
  root.replaceChildren(h("article", { class: "sheet papers paper" },
    h("p", {}, h("a", { href: "#/papers", text: "← All papers" })),
    h("h2", { class: "papers-head", text: card.title }),
    h("p", { class: "papers-facts" }, ...facts(card), card.link ? h("a", { href: card.link, rel: "noreferrer", target: "_blank", text: card.arxiv ? `arXiv ${card.arxiv}` : `doi ${card.doi}` }) : null),
    card.asked ? h("p", { class: "papers-asked", text: card.asked }) : null,
    card.idea ? h("p", { class: "papers-idea", text: card.idea }) : null,
    running(card),
    card.mine || !card.built ? null : h("section", { "aria-labelledby": "papers-known" }, h("h3", { id: "papers-known", text: "What was measured" }), evidence(card), claims.length ? measured(claims) : null)));
  return keys({ Escape: ["all papers", () => { location.hash = "#/papers"; }] });
}

function running(card) {
  if (!card.systems.length) return null;
  const shell = card.run.startsWith("fallow ");
  const form = (options, text, main) => h("a", {
    class: main ? "papers-run main" : "papers-run", text, href: `#/runs?${new URLSearchParams({ new: card.verb, ...options })}`,
  });
  const others = card.systems.length > 1 ? card.systems.map(one => one.split("/")[1]).filter(one => one !== card.options.method) : [];
  const choice = card.verb === "distil" ? "host" : "method";
  return h("section", { "aria-labelledby": "papers-run" }, h("h3", { id: "papers-run", text: "Run it" }),
    card.built ? null : h("p", { class: "notice", text: "This one is not built yet." }),
    card.run && card.built ? h("p", { class: "papers-line" }, h("code", { text: card.run }), h("button", { type: "button", text: "Copy", onclick: () => copy(card.run) })) : null,
    card.built && shell && desk.pages.includes("runs") ? h("p", {}, form(card.options, "Run it on my folder", true)) : null,
    others.length && card.built && shell && desk.pages.includes("runs") ? h("p", { class: "papers-others" }, h("span", { class: "note", text: "Also on this card: " }), ...others.map(one => form({ [choice]: one }, one))) : null);
}

// Every claim with its interval beside zero, all on one scale.
function measured(claims) {
  const bounds = claims.flatMap(one => one.interval.map(Math.abs)).sort((a, b) => a - b);
  const most = Math.max(bounds[Math.floor(.9 * (bounds.length - 1))], 1e-6);
  const place = value => 50 + 50 * Math.max(-1, Math.min(1, value / most));
  const signed = value => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  const interval = one => h("span", { class: `papers-interval ${one.verdict}`, "aria-hidden": "true" },
    h("i", { style: { left: `${place(one.interval[0])}%`, width: `${place(one.interval[1]) - place(one.interval[0])}%` } }), h("b", { style: { left: `${place(one.difference)}%` } }));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Claims" }, h("table", { class: "papers-claims" },
    h("thead", {}, h("tr", {}, ...["Claim", "Verdict", "Difference", "90 % interval", "Does not ← → holds", "Seeds"].map(name => h("th", { scope: "col", text: name })))),
    h("tbody", {}, ...claims.map(one => h("tr", {},
      h("td", {}, one.claim, h("span", { class: "note", text: ` ${one.data}${one.images ? `, ${one.images} images` : ""}` })),
      h("td", {}, h("span", { class: `papers-verdict ${one.verdict}`, text: one.verdict })),
      h("td", { class: "number", text: signed(one.difference) }),
      h("td", { class: "number", text: `${signed(one.interval[0])} to ${signed(one.interval[1])}` }),
      h("td", {}, interval(one)), h("td", { class: "number", text: String(one.seeds) }))))));
}

// --- those of one date ---

async function ofDate(root, date) {
  const { cards, dates } = await get("/api/papers/cards", {});
  const some = cards.filter(card => card.date === date), here = dates.indexOf(date);
  const way = (other, text, rel) => other ? h("a", { href: at({ date: other }), rel, text }) : h("span");
  state(dated(date));
  root.append(h("div", { class: "sheet papers" },
    h("p", {}, h("a", { href: "#/papers", text: "← All papers" })),
    h("h2", { class: "papers-head", text: here < 0 ? "No papers of that date" : dated(date) }),
    h("ol", { class: "papers-list" }, ...some.map(item)),
    h("nav", { class: "papers-ways", "aria-label": "Other dates" }, way(dates[here - 1], `← ${dated(dates[here - 1] ?? "")}`, "prev"), here < 0 ? null : way(dates[here + 1], `${dated(dates[here + 1] ?? "")} →`, "next"))));
  return keys({ Escape: ["all papers", () => { location.hash = "#/papers"; }] });
}
