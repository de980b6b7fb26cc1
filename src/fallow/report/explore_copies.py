"""Copies in the report of `explore`: identical files, changed ones, and what is much alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fallow.report.page import Html, Page, element, join

SETS = 60  # sets of duplicates drawn; all of them are copied
BESIDE = 8  # pictures of a set shown side by side


class Beside(NamedTuple):
    """Pictures shown side by side."""

    rows: Sequence[int]
    keep: int | None  # the one marked
    title: str
    said: Mapping[int, str]  # below some of them


class Draw(NamedTuple):
    """How a report draws one picture with its notes, a picture's size, a button that copies."""

    tile: Callable[..., Html]
    size: Callable[[int], str]
    copy: Callable[..., Html]


def copies_sections(page: Page, found: Mapping[str, Any], draw: Draw) -> None:
    """Three sections, from files that are the same to pictures that are none."""
    _exact(page, found, draw)
    _changed(page, found, draw)
    _alike(page, found, draw)


def listed(found: Mapping[str, Any]) -> list[int]:
    """The pictures these sections show.

    >>> listed({"exact_duplicates": [[4, 5]], "much_alike": [{"keep": 2, "items": [1, 2]}]})
    [4, 5, 2, 1, 2]
    """
    shown: list[int] = []
    for same in found.get("exact_duplicates", [])[:SETS]:
        shown += same[:BESIDE]
    for group in [*found.get("changed_copies", [])[:SETS], *found.get("much_alike", [])[:SETS]]:
        shown += [group["keep"], *group["items"][:BESIDE]]
    return shown


def _exact(page: Page, found: Mapping[str, Any], draw: Draw) -> None:
    sets = found.get("exact_duplicates", [])
    spare = [index for same in sets for index in same[1:]]
    page.section(
        "Exact duplicates",
        _sets(draw, [Beside(same, same[0], f"{len(same)} identical files", {}) for same in sets])
        if sets
        else None,
        count=len(sets),
        intro=f"Byte for byte the same. {len(spare):,} files could go without losing anything.",
        tools=draw.copy(spare, "Copy paths of the spare copies"),
        empty="No two files are identical.",
    )


def _changed(page: Page, found: Mapping[str, Any], draw: Draw) -> None:
    sets = found.get("changed_copies", [])
    spare = [row for group in sets for row in group["items"] if row != group["keep"]]
    page.section(
        "Changed copies",
        _sets(draw, [_kept_first(group) for group in sets]) if sets else None,
        count=len(sets),
        intro="The same picture, changed: below each copy is what was done to the one to keep. "
        "Pictures were laid over each other to see that nothing in them moved. Nothing was "
        "changed; which one to keep is a proposal.",
        tools=draw.copy(spare, "Copy paths of the other copies"),
        empty="No file is a changed copy of another.",
    )


def _alike(page: Page, found: Mapping[str, Any], draw: Draw) -> None:
    sets = found.get("much_alike", [])
    rows = [row for group in sets for row in group["items"]]
    page.section(
        "Much alike",
        _sets(draw, [Beside(group["items"], None, _images(group), {}) for group in sets])
        if sets
        else None,
        count=len(sets),
        intro="No copies: something moved, or too little can be seen to tell. Frames of one "
        "scene, or one thing taken twice. All are on the list of images to keep.",
        tools=draw.copy(rows),
        empty="No two images that are no copies look nearly the same.",
    )


def _sets(draw: Draw, sets: Sequence[Beside]) -> Html:
    """Pictures side by side, below each what is said of it."""
    cards = []
    for same, keep, text, said in sets[:SETS]:
        row = [
            draw.tile(index, said.get(index) or None, draw.size(index), keep=index == keep)
            for index in same[:BESIDE]
        ]
        more = f"; {len(same) - BESIDE:,} more not shown" if len(same) > BESIDE else ""
        cards.append(
            element(
                "div", element("p", text + more), element("div", *row, class_="row"),
                class_="set",
            )
        )  # fmt: skip
    rest = len(sets) - SETS
    note = f"{rest:,} more sets are only in the copied list." if rest > 0 else None
    return join(
        [
            element("div", *cards, class_="sets"),
            element("p", note, class_="note") if note else None,
        ]
    )


def _kept_first(group: Mapping[str, Any]) -> Beside:
    """A group of copies, the one to keep first."""
    items, keep = group["items"], group["keep"]
    said = dict(zip(items, group["changes"], strict=True))
    return Beside([keep, *(row for row in items if row != keep)], keep, _images(group), said)


def _images(group: Mapping[str, Any]) -> str:
    return f"{len(group['items'])} images"
