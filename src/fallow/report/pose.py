"""The report of `pose`: what to label next, every picture with its points, and the videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import Atlas
from fallow.report.figures import line_chart
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import (
    gallery,
    of_training,
    opening,
    pair_atlas,
    step_curves,
    subtitle,
    to_label_next,
)

NEXT = 12
SHOWN = 120  # pictures in the page; all are in the folder
SIDE = 176
CURVES = {
    "loss": "Loss",
    "peak": "Mean peak of the heat maps of unmarked pictures: it must not fade",
}


def pose_page(found: Mapping[str, Any]) -> str:
    """One run of `pose` as one HTML text.

    `found` may hold: source, created, method, headlines, notes, counts {name: number}, points
    [{name, marked, hit, confidence, moves}], items [{path, given, doubt, confidence}] with the
    next to label first, pictures [[picture, drawing]] as JPEG bytes, tracks [{name, seconds,
    confidence, notes}], metrics, settings, machine, problems.

    >>> page = pose_page({"items": [{"path": "a<b.png", "given": False, "doubt": 1.5}]})
    >>> "a&lt;b.png" in page and "Label next" in page
    True
    """
    items: Sequence[Mapping[str, Any]] = found.get("items", [])
    page = Page(str(found.get("source", "pictures")), subtitle=subtitle(found, "created", "method"))
    headlines, notes = found.get("headlines", []), found.get("notes") or []
    page.lead(opening(found.get("counts") or {}, headlines, notes))
    pictures = list(found.get("pictures", []))[: SHOWN + NEXT]
    atlas = pair_atlas(pictures, SIDE)
    made = to_label_next(
        atlas, items, ("points of ", "close-up of "),
        lambda item: f"{float(item['doubt']):.1f} %", most=NEXT, side=SIDE,
    )  # fmt: skip
    page.section(
        "Label next",
        made,
        intro="Where points move most when the picture is turned a little (in percent of its "
        "diagonal), marking them by hand teaches most; of pictures posed alike one is enough. "
        "Rings are points the network is unsure of.",
        empty="Every picture is marked by hand.",
    )
    page.section(
        "Pictures",
        drawings(atlas, items, len(pictures)),
        intro="Points as the network finds them, close up, the most doubtful first; marked ones at "
        "the end.",
        empty="There are no pictures in this page.",
        count=len(items),
    )
    page.section(
        "Points",
        points(found.get("points", [])),
        intro="Found again counts within a tenth of the size of what is marked, on the very "
        "pictures that were learnt from: a low share means too short a training, a high one says "
        "nothing of other pictures.",
        empty="No points were recorded.",
    )
    if found.get("tracks"):
        page.section(
            "Videos",
            videos(found["tracks"]),
            intro="How sure the network is along each video, whose points are in the folder "
            "tracks; where the line dips, frames are worth marking.",
        )
    of_training(page, found, step_curves(found.get("metrics") or [], CURVES), atlas)
    return page.html()


def drawings(atlas: Atlas, items: Sequence[Mapping[str, Any]], shown: int) -> Html | None:
    """The first pictures with their points, and how many more there are."""
    tiles = [
        (2 * k + 1, "close-up of ", str(item["path"]),
         "marked" if item["given"] else f"{float(item['doubt']):.1f} %")
        for k, item in enumerate(items[:shown])
    ]  # fmt: skip
    return gallery(atlas, tiles, 124, len(items), "drawings")


def points(known: Sequence[Mapping[str, Any]]) -> Html | None:
    """How often each point was marked, found again, and how sure the network is."""
    rows = [
        [
            one["name"],
            one["marked"],
            "-" if one["hit"] is None else f"{one['hit']:.0%}",
            f"{one['confidence']:.2f}",
            f"{one['moves']:.1f}",
        ]
        for one in known
    ]
    header = ["point", "marked", "found again", "mean peak", "moves when turned (pixels)"]
    return table(header, rows) if rows else None


def videos(tracks: Sequence[Mapping[str, Any]]) -> Html:
    """A line for every video."""
    charts = [
        line_chart(
            {"mean peak": (one["seconds"], one["confidence"])}, str(one["name"]), x_label="seconds"
        )
        for one in tracks
    ]
    return element("div", *charts, class_="charts")
