"""The report of `curate`: what became of every picture, stage by stage; what was not checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import build_atlas
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import closing, file_name, opening, subtitle

SIDE = 128
SHOWN = 60  # pictures to look at in the page; all of them are in review.csv


def curate_page(found: Mapping[str, Any]) -> str:
    """One run of `curate` as one HTML text.

    `found` may hold: source, created, headlines, notes, numbers {what: count}, funnel [stage],
    review [{path, stage, reason}], pictures (rows, side) -> JPEG bytes, licences {name: count},
    problems, settings.

    >>> page = curate_page({"review": [{"path": "a<b.jpg", "stage": "faces", "reason": "a face"}]})
    >>> "a&lt;b.jpg" in page and "No licence is known" in page
    True
    """
    page = Page(str(found.get("source", "images")), subtitle=subtitle(found, "created"))
    page.lead(
        opening(found.get("numbers") or {}, found.get("headlines", []), found.get("notes") or [])
    )
    funnel = found.get("funnel") or []
    lines = [
        [one["stage"], one["status"], one["in"], one["dropped"], one["review"], one["kept"],
         ", ".join(f"{reason} {count}" for reason, count in one["reasons"].items())]
        for one in funnel
    ]  # fmt: skip
    head = ["stage", "status", "came", "left out", "to look at", "stayed", "why"]
    page.section(
        "Stage by stage",
        table(head, lines) if lines else None,
        intro="A stage that was not checked says nothing about the pictures: they are not clean "
        "in that respect, they are unknown.",
        empty="No stage ran.",
    )
    _review(page, found)
    licences = (found.get("licences") or {}).items()
    page.section(
        "Licences of what is kept",
        table(["licence", "pictures"], [[name or "unknown", count] for name, count in licences])
        if licences
        else None,
        empty="No licence is known.",
    )
    closing(page, found, found.get("settings"))
    return page.html()


def _review(page: Page, found: Mapping[str, Any]) -> None:
    """What a person should look at, the riskiest first."""
    review: Sequence[Mapping[str, Any]] = found.get("review") or []
    some = review[:SHOWN]
    read = found.get("pictures")
    pictures = list(read([one["row"] for one in some], SIDE)) if callable(read) and some else []
    atlas = build_atlas(pictures, {SIDE: range(len(pictures))})
    tiles = [_tile(atlas.picture(place, one["path"], SIDE) if pictures else None, one)
             for place, one in enumerate(some)]  # fmt: skip
    page.section(
        "To look at",
        element("div", *tiles, class_="tiles") if tiles else None,
        count=len(review) or None,
        intro="The riskiest first. Write what you say of them into verdicts.csv; the next run "
        "follows it.",
        empty="Nothing waits for a person.",
    )
    page.tail(atlas.style())


def _tile(picture: Html | None, one: Mapping[str, Any]) -> Html:
    return element(
        "figure",
        picture,
        element("figcaption", file_name(one["path"]), ": ", one["reason"]),
        class_="tile",
        title=one["path"],
    )
