"""The report of `segment`: what to label next, and every mask laid over its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import Atlas
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import (
    gallery,
    of_training,
    opening,
    pair_atlas,
    scale,
    step_curves,
    subtitle,
    to_label_next,
)

NEXT = 12
SHOWN = 120  # masks in the page; all are in the folder
SIDE = 176
CURVES = {"loss": "Loss", "marked": "Share of pixels the teacher marks"}


def segment_page(found: Mapping[str, Any]) -> str:
    """One run of `segment` as one HTML text.

    `found` may hold: source, created, method, headlines, notes, counts {name: number}, classes
    [{name, value, colour, given, written}], items [{path, given, disagreement, uncertainty}] with
    the next to label first, pictures [[overlay, disagreement]] as JPEG bytes, metrics, settings,
    machine, problems.

    >>> item = {"path": "a<b.png", "given": False, "disagreement": 0.2, "uncertainty": 0.1}
    >>> page = segment_page({"items": [item]})
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
        atlas, items, ("mask of ", "disagreement about "),
        lambda item: f"{float(item['disagreement']):.4f}", most=NEXT, side=SIDE,
    )  # fmt: skip
    ends = ("Disagreement from 0", "to 0.5 and more, the same for all pictures.")
    page.section(
        "Label next",
        scale(*ends) if made else None,
        made,
        intro="Where the networks disagree most, a mask drawn by hand teaches most.",
        empty="Every picture has a mask drawn by hand.",
    )
    page.section(
        "Masks",
        masks(atlas, items, len(pictures)),
        intro="Masks over their pictures, the most doubtful first; given ones are at the end.",
        empty="There are no pictures in this page.",
        count=len(items),
    )
    page.section(
        "Classes",
        classes(found.get("classes", [])),
        intro="Shares that differ much say that the few masks are unlike the rest, or that "
        "training has gone astray.",
        empty="No classes were recorded.",
    )
    of_training(page, found, step_curves(found.get("metrics") or [], CURVES), atlas)
    return page.html()


def masks(atlas: Atlas, items: Sequence[Mapping[str, Any]], shown: int) -> Html | None:
    """The first masks over their pictures, and how many more there are."""
    tiles = [
        (2 * k, "mask of ", str(item["path"]),
         "given" if item["given"] else f"{float(item['uncertainty']):.3f} uncertain")
        for k, item in enumerate(items[:shown])
    ]  # fmt: skip
    return gallery(atlas, tiles, 124, len(items), "overlays")


def classes(known: Sequence[Mapping[str, Any]]) -> Html | None:
    """What was marked by hand and what by the network, class by class."""
    swatch = "display:inline-block;width:1em;height:1em;background:"
    rows = [
        [one["name"], one["value"], element("i", style=swatch + one["colour"]), one["given"],
         one["written"]]
        for one in known
    ]  # fmt: skip
    header = ["class", "value", "colour", "share of given masks", "share of written"]
    return table(header, rows) if rows else None
