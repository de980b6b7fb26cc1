"""The report of `segment`: what to label next, and every mask laid over its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import Atlas
from fallow.report.figures import line_chart
from fallow.report.page import Html, Page, element, join, table
from fallow.report.sections import (
    card,
    cards,
    closing,
    file_name,
    filled,
    opening,
    pair_atlas,
    scale,
    subtitle,
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
    free = [k for k, item in enumerate(items) if not item["given"]]
    made = [
        card(
            atlas, k, ("mask of ", "disagreement about "), str(items[k]["path"]),
            f"{float(items[k]['disagreement']):.4f}", rank=rank, side=SIDE,
        )
        for rank, k in enumerate(free[:NEXT], start=1)
    ]  # fmt: skip
    ends = ("Disagreement from 0", "to 0.5 and more, the same for all pictures.")
    page.section(
        "Label next",
        scale(*ends) if made else None,
        cards(made),
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
    page.section("Training", curves(found.get("metrics") or []), empty="There are no curves.")
    closing(page, found, found.get("settings"))
    page.section("Machine", filled(found.get("machine")), empty="The machine was not recorded.")
    page.tail(atlas.style())
    return page.html()


def masks(atlas: Atlas, items: Sequence[Mapping[str, Any]], shown: int) -> Html | None:
    """The first masks over their pictures, and how many more there are."""
    tiles = []
    for index, item in enumerate(items[:shown]):
        path = str(item["path"])
        said = "given" if item["given"] else f"{float(item['uncertainty']):.3f} uncertain"
        note = element("span", f"{file_name(path)}, {said}", class_="note", title=path)
        picture = atlas.picture(2 * index, f"mask of {path}", 124)
        tiles.append(element("div", picture, note, class_="tile"))
    if not tiles:
        return None
    rest = f"{len(items) - len(tiles):,} more are in the folder overlays."
    more = element("p", rest, class_="hint") if len(tiles) < len(items) else None
    return join([element("div", *tiles, class_="tiles"), more])


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


def curves(metrics: Sequence[Mapping[str, Any]]) -> Html | None:
    """How training went."""
    charts = [
        line_chart(
            {title: ([row["step"] for row in used], [row[key] for row in used])},
            title,
            x_label="step",
        )
        for key, title in CURVES.items()
        if (used := [row for row in metrics if key in row and "step" in row])
    ]
    return element("div", *charts, class_="charts") if charts else None
