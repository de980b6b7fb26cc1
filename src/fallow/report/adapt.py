"""The report of `adapt`: which model to use, why, and how answers changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.figures import line_chart
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import (
    card,
    cards,
    of_training,
    opening,
    pair_atlas,
    subtitle,
)

SHOWN = 60  # pictures in the page; all are in the folder
SIDE = 176
CURVES = {
    "loss": "Loss", "labels": "Loss of labels", "own": "Loss of own labels",
    "contrast": "Contrast with references", "compared": "Share of places that could be compared",
    "undecided": "Undecided pixels", "residual": "Mean of what relighting adds",
    "kept": "Share of pictures that were sure",
}  # fmt: skip


def adapt_page(found: Mapping[str, Any]) -> str:
    """One run of `adapt` as one HTML text.

    `found` may hold: source, created, method, advice {say, why, kind, keep}, headlines, notes,
    counts, checks [{check, before, after, low, high, says, counts, "with labels"}], measures,
    classes [{name, colour, before, after, "IoU before", "IoU after"}], items [{path, changed,
    said}] with the most changed first, pictures [[before, after]] as JPEG bytes, metrics,
    settings, machine, problems.

    >>> advice = {"say": "keep the old model", "why": "a < b", "kind": "an estimate", "keep": True}
    >>> page = adapt_page({"advice": advice})
    >>> "Keep the old model" in page and "a &lt; b" in page
    True
    """
    page = Page(str(found.get("source", "pictures")), subtitle=subtitle(found, "created", "method"))
    notes = found.get("notes") or []
    page.lead(
        advice(found.get("advice") or {}),
        opening(found.get("counts") or {}, (found.get("headlines") or [])[1:], notes),
    )
    page.section(
        "Checks",
        checks(found.get("checks") or []),
        intro="Both models, asked about the same pictures; the interval is that of the change. "
        "Agreement with itself: do answers stay the same for a larger mirror image. Agreement with "
        "references: with the old model's answers for the same places in the old condition. What "
        "training itself drives down, such as indecision, is shown but does not decide. Without "
        "labels two checks must be better and none worse; even then they can be wrong: label a "
        "few pictures to know.",
        empty="Nothing was checked.",
    )
    measures = found.get("measures") or {}
    page.section(
        "Measured with labels",
        measured(measures),
        empty="There were no labels: name some with --labels to know more than an estimate.",
    )
    items: Sequence[Mapping[str, Any]] = found.get("items") or []
    pictures = list(found.get("pictures") or [])[:SHOWN]
    atlas = pair_atlas(pictures, SIDE)
    made = [
        card(
            atlas, k, ("before: ", "after: "), str(item["path"]), f"{float(item['changed']):.0%}",
            rank=k + 1, side=SIDE, said=item.get("said"),
        )
        for k, item in enumerate(items[: len(pictures)])
    ]  # fmt: skip
    page.section(
        "Before and after",
        cards(made, len(items) - len(made), "are in the folder overlays." if made else ""),
        intro="The old model's answer and the adapted one's, the most changed first.",
        empty="There are no pictures in this page.",
        count=len(items) or None,
    )
    page.section(
        "Classes",
        classes(found.get("classes") or []),
        intro="Shares of all answers. A class that nearly vanished is a sign of collapse.",
        empty="No classes were recorded.",
    )
    of_training(page, found, curves(found.get("metrics") or []), atlas)
    return page.html()


def advice(said: Mapping[str, Any]) -> Html | None:
    """Which model to use, before anything else."""
    if not said:
        return None
    word = str(said["say"])
    return element(
        "div",
        element("h2", word[:1].upper() + word[1:]),
        element("p", f"{said['why']} ({said['kind']})."),
        class_="notice",
        role="note",
    )


def checks(rows: Sequence[Mapping[str, Any]]) -> Html | None:
    """Every check, the interval of its change, and what it says."""
    if not rows:
        return None
    header = ["check", "before", "after", "change from", "to", "says", "decides"]
    shown = [
        [
            row["check"] + (" (labels)" if row["with labels"] else ""),
            *(_number(row[name]) for name in ("before", "after", "low", "high")),
            row["says"],
            "yes" if row["counts"] else "no",
        ]
        for row in rows
    ]
    return table(header, shown)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def measured(measures: Mapping[str, Any]) -> Html | None:
    """What labels say, for both models."""
    rows = [
        [name, *(_number(value) for value in measures[name])]
        for name in ("mIoU", "accuracy", "worst group", "F1-macro")
        if name in measures
    ]
    if not rows:
        return None
    return table(["measure", "before", "after"], rows, f"on {measures['pictures']:,} pictures")


def classes(known: Sequence[Mapping[str, Any]]) -> Html | None:
    """How often each class is answered, and how well where that is known."""
    swatch = "display:inline-block;width:1em;height:1em;background:"
    scored = any(one.get("IoU before") is not None for one in known)
    coloured = any(one.get("colour") for one in known)
    header = ["class", *(["colour"] if coloured else []), "share before", "share after"]
    header += ["IoU before", "IoU after"] if scored else []
    rows = [
        [
            one["name"],
            *([element("i", style=swatch + str(one["colour"]))] if coloured else []),
            _number(one["before"]),
            _number(one["after"]),
            *([_number(one["IoU before"]), _number(one["IoU after"])] if scored else []),
        ]
        for one in known
    ]
    return table(header, rows) if rows else None


def curves(metrics: Sequence[Mapping[str, Any]]) -> Html | None:
    """How training went."""
    charts = []
    for key, title in CURVES.items():
        used = [row for row in metrics if key in row and "step" in row]
        if used:
            line = ([row["step"] for row in used], [row[key] for row in used])
            charts.append(line_chart({title: line}, title, x_label="step"))
    return element("div", *charts, class_="charts") if charts else None
