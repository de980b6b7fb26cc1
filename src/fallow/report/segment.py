"""The report of `segment`: what to label next, and every mask laid over its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.colours import ramp
from fallow.report.atlas import Atlas, build_atlas
from fallow.report.figures import line_chart
from fallow.report.page import (
    Html,
    Page,
    bullets,
    element,
    facts,
    paragraphs,
    table,
    tiles,
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

    >>> page = segment_page(
    ...     {
    ...         "items": [
    ...             {"path": "a<b.png", "given": False, "disagreement": 0.2, "uncertainty": 0.1}
    ...         ]
    ...     }
    ... )
    >>> "a&lt;b.png" in page and "Label next" in page
    True
    """
    items: Sequence[Mapping[str, Any]] = found.get("items", [])
    page = Page(
        str(found.get("source", "pictures")),
        subtitle=", ".join(str(found[k]) for k in ("created", "method") if found.get(k)),
    )
    page.lead(
        tiles(found["counts"]) if found.get("counts") else None,
        bullets(found.get("headlines", []), class_="findings"),
        element("div", paragraphs(found["notes"]), class_="notice", role="note")
        if found.get("notes")
        else None,
    )
    pictures = list(found.get("pictures", []))[: SHOWN + NEXT]
    atlas = build_atlas([j for pair in pictures for j in pair], {SIDE: range(2 * len(pictures))})
    free = [k for k, item in enumerate(items) if not item["given"]]
    scale = element(
        "p",
        "Disagreement from 0 ",
        element(
            "span", class_="scale", style=f"background:linear-gradient(90deg,{','.join(ramp())})"
        ),
        " to 0.5 and more, the same for all pictures.",
        class_="hint",
    )
    cards = [_card(atlas, k, items[k], place + 1) for place, k in enumerate(free[:NEXT])]
    page.section(
        "Label next",
        scale if cards else None,
        element("div", *cards, class_="odd") if cards else None,
        intro="Where the networks disagree most, a mask drawn by hand teaches most.",
        empty="Every picture has a mask drawn by hand.",
    )
    shown = [k for k in range(len(items)) if k < len(pictures)]
    page.section(
        "Masks",
        element("div", *(_tile(atlas, k, items[k]) for k in shown), class_="tiles")
        if shown
        else None,
        element("p", f"{len(items) - len(shown):,} more are in the folder overlays.", class_="hint")
        if shown and len(shown) < len(items)
        else None,
        intro="Masks over their pictures, the most doubtful first; given ones are at the end.",
        empty="There are no pictures in this page.",
        count=len(items),
    )
    rows = [
        [one["name"], one["value"], _swatch(one["colour"]), one["given"], one["written"]]
        for one in found.get("classes", [])
    ]
    page.section(
        "Classes",
        table(["class", "value", "colour", "share of given masks", "share of written"], rows)
        if rows
        else None,
        intro="Shares that differ much say that the few masks are unlike the rest, or that "
        "training has gone astray.",
        empty="No classes were recorded.",
    )
    metrics = found.get("metrics") or []
    charts = [
        line_chart(
            {title: ([row["step"] for row in used], [row[key] for row in used])},
            title,
            x_label="step",
        )
        for key, title in CURVES.items()
        if (used := [row for row in metrics if key in row and "step" in row])
    ]
    page.section(
        "Training", element("div", *charts, class_="charts") if charts else None,
        empty="There are no curves.",
    )  # fmt: skip
    page.unreadable(found.get("problems") or [])
    page.section("Settings", facts(found["settings"]) if found.get("settings") else None,
                 empty="Everything ran with the defaults.")  # fmt: skip
    page.section("Machine", facts(found["machine"]) if found.get("machine") else None,
                 empty="The machine was not recorded.")  # fmt: skip
    page.tail(atlas.style())
    return page.html()


def _name(item: Mapping[str, Any]) -> str:
    path = str(item["path"])
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def _card(atlas: Atlas, index: int, item: Mapping[str, Any], place: int) -> Html:
    path = str(item["path"])
    return element(
        "article",
        element(
            "div",
            atlas.picture(2 * index, f"mask of {path}", SIDE),
            atlas.picture(2 * index + 1, f"disagreement about {path}", SIDE),
            class_="pair",
        ),
        element(
            "p",
            element("b", f"{place}"),
            # names are cut at their beginning, from right to left: this one still reads forward
            element("span", element("bdi", _name(item)), class_="name", title=path),
            element("span", f"{float(item['disagreement']):.4f}", class_="number"),
        ),
        class_="spotted above",
    )


def _tile(atlas: Atlas, index: int, item: Mapping[str, Any]) -> Html:
    path = str(item["path"])
    said = "given" if item["given"] else f"{float(item['uncertainty']):.3f} uncertain"
    return element(
        "div",
        atlas.picture(2 * index, f"mask of {path}", 124),
        element("span", f"{_name(item)}, {said}", class_="note", title=path),
        class_="tile",
    )


def _swatch(colour: str) -> Html:
    return element("i", style=f"display:inline-block;width:1em;height:1em;background:{colour}")
