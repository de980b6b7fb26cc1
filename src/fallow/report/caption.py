"""The report of `caption`: pictures beside what was written of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import build_atlas
from fallow.report.figures import line_chart
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import closing, opening

EACH, SIDE = 24, 128  # shown of the best and of the worst


def caption_page(found: Mapping[str, Any]) -> str:
    """One run of `caption` as one HTML text.

    `found` may hold: name, headlines, notes, captions [{row, path, caption, similarity, phrases}]
    from the best to the worst, read (rows, side -> JPEGs), measured, learnt, problems.

    >>> "captions of &lt;x&gt;" in caption_page({"name": "captions of <x>"})
    True
    """
    page = Page(str(found.get("name", "captions")))
    page.lead(opening({}, found.get("headlines", []), found.get("notes", [])))
    captions: Sequence[Mapping[str, Any]] = found.get("captions") or []
    best = list(captions[:EACH])
    worst = [one for one in captions[::-1][:EACH] if one not in best]
    shown = [*best, *worst]
    read = found.get("read")
    jpegs = list(read([one["row"] for one in shown], SIDE)) if read and shown else []
    atlas = build_atlas(jpegs, {SIDE: range(len(jpegs))})
    rows = [_caption(atlas, place, one) for place, one in enumerate(shown)] if jpegs else []
    page.section(
        "Captions that fit best",
        element("div", *rows[: len(best)], class_="captions") if rows else None,
        element("style", Html(STYLE)) if rows else None,
        intro="Each with the phrases nearest to the picture, and how near picture and caption are.",
        empty="There are no captions.",
    )
    page.section(
        "Captions that fit least",
        element("div", *rows[len(best) :], class_="captions") if rows[len(best) :] else None,
        intro="The least likely from the end: look here before trusting the others.",
        empty="All are above.",
    )
    measured = found.get("measured") or {}
    page.section(
        "Beside true captions",
        table(["measure", "value"], [[name, value] for name, value in measured["measures"].items()])
        if measured
        else None,
        intro="True captions were only used here.",
        empty="There are no true captions to measure by.",
    )
    learnt = found.get("learnt") or {}
    history = [line for line in learnt.get("history") or [] if "loss" in line]
    curve = ([line["step"] for line in history], [line["loss"] for line in history])
    page.section(
        "Training",
        line_chart({"loss": curve}, "Loss", x_label="step") if history else None,
        element("p", f"A picture is as near as {learnt['gap']:.3f} to its nearest sentence; the "
                     "noise has to bridge what is missing to 1.") if "gap" in learnt else None,
        empty="An earlier run wrote them.",
    )  # fmt: skip
    closing(page, found, learnt.get("settings"))
    page.tail(atlas.style())
    return page.html()


STYLE = """.captions article{display:flex;gap:1rem;align-items:flex-start;margin:.6rem 0}
.captions p{margin:.1rem 0}"""


def _caption(atlas: Any, place: int, one: Mapping[str, Any]) -> Html:
    said = element(
        "div",
        element("p", element("b", one["caption"] or "(nothing)")),
        element("p", ", ".join(one["phrases"]), class_="hint"),
        element("p", f"{one['path']}, {one['similarity']:.3f}", class_="hint"),
    )
    return element("article", atlas.picture(place, str(one["path"]), SIDE), said)
