"""The report of a training run, and of several runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import Atlas, build_atlas
from fallow.report.figures import bar_chart, contact_sheet, inline_image, line_chart
from fallow.report.page import (
    Html,
    Page,
    bullets,
    element,
    facts,
    join,
    paragraphs,
    table,
    tiles,
    words,
)

# a metric's title and how its axis is drawn; metrics not named here are drawn as they are
CURVES: dict[str, tuple[str, dict[str, Any]]] = {
    "loss": ("Loss", {}),
    "loss_of_trivial": ("Loss against its trivial value (1 = nothing learnt)", {"include": (1,)}),
    "spread": ("Spread of the embeddings (0 = collapsed)", {"include": (0,)}),
    "knn": ("k-NN accuracy", {}),
    "probe": ("Linear probe accuracy", {}),
    "rate": ("Learning rate", {"include": (0,)}),
    "images_per_second": ("Images per second", {"include": (0,)}),
    "gradient_norm": ("Gradient norm", {"log": True}),
}
TIMES = ("minutes", "epoch", "step")  # what a curve may run over, best first
NOT_CURVES = {*TIMES, "progress", "rank", "seconds", "time"}
SHOWN = 12  # pictures per cluster


def learn_page(run: Mapping[str, Any]) -> str:
    """One training run as one HTML text.

    `run` may hold: name, created, counts {name: number}, chosen [sentence], warnings [sentence],
    metrics [row as in metrics.jsonl], scores [{"name": ..., measure: value, ...}],
    thumbnails [JPEG bytes], clusters [[thumbnail index]], neighbours [[query, nearest, ...]],
    figures {title: [[picture as an array]]}, settings, machine.

    >>> page = learn_page({"name": "simclr", "metrics": [{"minutes": 0.1, "loss": 5.2}]})
    >>> "Loss from 5.2 to 5.2" in page and "No warnings" in page
    True
    """
    run = {name: value for name, value in run.items() if value is not None}
    page = Page(str(run.get("name", "run")), subtitle=str(run.get("created", "")))
    page.lead(
        tiles(run["counts"]) if run.get("counts") else None,
        bullets(run["chosen"], class_="findings") if run.get("chosen") else None,
        element("div", paragraphs(run["warnings"]), class_="notice", role="note")
        if run.get("warnings")
        else element("p", "No warnings during the run.", class_="subtitle"),
    )
    charts = _charts({str(run.get("name", "run")): run.get("metrics", [])}, alone=True)
    page.section(
        "Curves",
        element("div", *charts, class_="charts") if charts else None,
        empty="The run ended before its first measurement.",
    )
    _scores(page, run.get("scores", []))
    for title, rows in run.get("figures", {}).items():
        flat = [picture for row in rows for picture in row]
        sheet = contact_sheet(flat, columns=len(rows[0]) * min(3, len(rows)))
        page.section("What the method makes of images", inline_image(sheet, title), intro=title)
    atlas = build_atlas(run.get("thumbnails", []), {96: range(len(run.get("thumbnails", [])))})
    clusters = run.get("clusters", [])
    page.section(
        "Clusters",
        *(_row(atlas, members, f"Cluster {k + 1}") for k, members in enumerate(clusters)),
        count=len(clusters),
        intro="Images the encoder puts together; nobody told it what they show.",
        empty="No clusters were drawn for this run.",
    )
    neighbours = run.get("neighbours", [])
    page.section(
        "Neighbours",
        *(_row(atlas, row, f"Query {k + 1}", query=True) for k, row in enumerate(neighbours)),
        count=len(neighbours),
        intro="An image, then the images nearest to it.",
        empty="No neighbours were drawn for this run.",
    )
    page.section("Settings", facts(run["settings"]) if run.get("settings") else None,
                 empty="Everything ran with the defaults.")  # fmt: skip
    page.section("Machine", facts(run["machine"]) if run.get("machine") else None,
                 empty="The machine was not recorded.")  # fmt: skip
    page.tail(atlas.style())
    return page.html()


def compare_page(runs: Sequence[Mapping[str, Any]], title: str = "Runs compared") -> str:
    """Several runs on one page: final values, curves over each other, settings that differ.

    >>> runs = [{"name": n, "metrics": [{"minutes": 1, "loss": 2.0}]} for n in ("a", "b")]
    >>> "2 runs" in compare_page(runs)
    True
    """
    named = _distinct(runs)
    page = Page(title, subtitle=f"{len(runs)} runs: " + ", ".join(named))
    last = {name: _last(run.get("metrics") or []) for name, run in named.items()}
    measures = list(dict.fromkeys(key for values in last.values() for key in values))
    rows = [[name, *(values.get(key) for key in measures)] for name, values in last.items()]
    page.section(
        "Final values",
        table(["run", *map(words, measures)], rows) if measures else None,
        empty="None of the runs has measured anything yet.",
    )
    scores: dict[str, dict[str, float]] = {}
    for name, run in named.items():
        for row in run.get("scores") or []:
            own = str(row.get("name", ""))
            for measure, value in row.items():
                if measure != "name" and _is_number(value):
                    scores.setdefault(measure, {})[f"{name}: {own}" if own else name] = value
    bars = [bar_chart(values, _title(measure)) for measure, values in scores.items()]
    page.section("Scores", element("div", *bars, class_="charts") if bars else None,
                 empty="No scores were measured.")  # fmt: skip
    charts = _charts({name: run.get("metrics") or [] for name, run in named.items()})
    page.section("Curves", element("div", *charts, class_="charts") if charts else None,
                 empty="There are no curves to compare.")  # fmt: skip
    settings = {name: run.get("settings") or {} for name, run in named.items()}
    keys = list(dict.fromkeys(key for values in settings.values() for key in values))
    differing = [
        key for key in keys if len({str(values.get(key)) for values in settings.values()}) > 1
    ]
    rows = [[words(key), *(values.get(key) for values in settings.values())] for key in differing]
    page.section("Settings that differ", table(["setting", *named], rows) if rows else None,
                 empty="All runs had the same settings.")  # fmt: skip
    return page.html()


def _distinct(runs: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Runs by name; a name that comes twice is numbered."""
    named: dict[str, Mapping[str, Any]] = {}
    for number, run in enumerate(runs, 1):
        name = str(run.get("name", f"run {number}"))
        named[f"{name} ({number})" if name in named else name] = run
    return named


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _last(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last known value of every metric."""
    final: dict[str, Any] = {}
    for row in metrics:
        final |= {key: value for key, value in row.items() if _is_number(value)}
    return {key: value for key, value in final.items() if key not in NOT_CURVES - {"minutes"}}


def _charts(runs: Mapping[str, Sequence[Mapping[str, Any]]], alone: bool = False) -> list[Html]:
    """One chart per metric with a curve per run."""
    rows = [row for metrics in runs.values() for row in metrics]
    present = {key for row in rows for key, value in row.items() if _is_number(value)} - NOT_CURVES
    over = next((time for time in TIMES if any(_is_number(row.get(time)) for row in rows)), None)
    if over is None:
        return []
    charts = []
    for key in [*(k for k in CURVES if k in present), *sorted(present - set(CURVES))]:
        title, axis = CURVES.get(key, (words(key).capitalize(), {}))
        series = {}
        for name, metrics in runs.items():
            used = [r for r in metrics if _is_number(r.get(key)) and _is_number(r.get(over))]
            shown_name = words(key).capitalize() if alone else name
            series[shown_name] = ([row[over] for row in used], [row[key] for row in used])
        charts.append(line_chart(series, title, x_label=over, **axis))
    return charts


def _scores(page: Page, scores: Sequence[Mapping[str, Any]]) -> None:
    measures = list(dict.fromkeys(key for row in scores for key in row if key != "name"))
    rows = [[row.get("name", ""), *(row.get(key) for key in measures)] for row in scores]
    charts = []
    for key in measures:
        known = {str(row.get("name", "")): row[key] for row in scores if _is_number(row.get(key))}
        charts += [bar_chart(known, _title(key))] if known else []
    page.section(
        "Scores",
        table(["encoder", *map(_title, measures)], rows) if rows else None,
        element("div", *charts, class_="charts sub") if charts else None,
        empty="No labels, so no scores: curves, clusters and neighbours are the evidence.",
    )


def _title(measure: str) -> str:
    return CURVES[measure][0] if measure in CURVES else words(measure).capitalize()


def _row(atlas: Atlas, indices: Sequence[int], name: str, query: bool = False) -> Html:
    """A line of pictures; the first is the question when `query`."""
    pictures = []
    for place, index in enumerate(indices[:SHOWN]):
        role = "query" if query and not place else f"nearest {place}" if query else f"{place + 1}"
        picture = atlas.picture(index, f"{name}, {role}", side=88)
        asked = element("span", "query", class_="mark") if query and not place else None
        pictures.append(element("span", picture, asked, class_="tile"))
    count = f"{len(indices):,} images" if len(indices) > SHOWN else None
    heading = join([element("h3", name), element("p", count) if count else None])
    return element(
        "article",
        element("div", heading),
        element("div", *pictures, class_="row"),
        class_="group",
    )
