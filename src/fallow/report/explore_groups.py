"""Groups in the report of `explore`: coarse ones first, each with the finer ones inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fallow.report.explore_map import group_name
from fallow.report.page import Html, Page, element
from fallow.report.sections import row

TYPICAL = 8  # pictures of a coarse group: one row
FINER = 6  # finer groups shown at once; the others are folded
FEW = 5  # pictures of a finer group
UNCLEAR = (
    "The borders are not clear: one group passes into the next, and another number of groups would "
    "be as good. Ask for a number with groups=…, or try a better encoder."
)

UNSTEADY = "Does not form again when half of the images are grouped alone."


class Pieces(NamedTuple):
    """How a report draws one picture, a button that copies paths, and a group's colour."""

    tile: Callable[[int, int], Html]  # a picture and its side
    copy: Callable[[Iterable[int], str], Html]
    colour: Callable[[int], str]
    members: Mapping[int, Sequence[int]]  # of each coarse group


def groups_section(page: Page, found: Mapping[str, Any], pieces: Pieces) -> None:
    """One card per coarse group; inside it, rows of finer groups."""
    groups = sorted(
        found.get("groups", []), key=lambda group: (group["group"] < 0, -group.get("size", 0))
    )
    unclear = found.get("clear_groups") is False and len(groups) > 1
    page.section(
        "Groups",
        element("div", element("p", UNCLEAR), class_="notice", role="note") if unclear else None,
        *(_card(group, pieces) for group in groups),
        count=len([group for group in groups if group["group"] >= 0]),
        intro="Images that look alike, with the ones most typical of each group, and what sets it "
        "apart from the others. Finer groups are inside.",
        empty="The images form no groups.",
    )


def listed(groups: Sequence[Mapping[str, Any]]) -> list[int]:
    """The pictures this section shows.

    >>> inner = {"representatives": [7, 8]}
    >>> listed([{"representatives": [1, 2], "inside": [inner]}])
    [1, 2, 7, 8]
    """
    shown: list[int] = []
    for group in groups:
        shown += group.get("representatives", [])[:TYPICAL]
        for finer in group.get("inside", []):
            shown += finer.get("representatives", [])[:FEW]
            for finest in finer.get("inside", []):
                shown += finest.get("representatives", [])[:1]
    return shown


def titled(group: Mapping[str, Any]) -> str:
    """A group's number and the words that set it apart.

    >>> titled({"group": 1, "apart": ["dark", "blue"]}), titled({"group": 0})
    ('Group 2: dark, blue', 'Group 1')
    """
    name = group_name(int(group["group"]))
    said = ", ".join(group.get("apart", []))
    return f"{name}: {said}" if said else name


def unsteady(group: Mapping[str, Any]) -> bool:
    """Whether other pictures would draw this group otherwise.

    >>> unsteady({"steady": 0.4}), unsteady({"steady": 0.9}), unsteady({})
    (True, False, False)
    """
    share = group.get("steady")
    return share is not None and share <= 0.5


def mostly(labels: Mapping[Any, int], size: int) -> str:
    """Which labels a group has.

    >>> mostly({"cat": 6, "dog": 3, "cow": 1}, 10)
    'cat 60%, dog 30%, cow 10%'
    """
    order = sorted(labels.items(), key=lambda pair: -pair[1])
    named = [(name, count / max(size, 1)) for name, count in order[:3] if count >= 0.01 * size]
    rest = len(order) - len(named)
    more = f" and {rest} more label{'s' if rest > 1 else ''}" if rest else ""
    return ", ".join(f"{name} {share:.0%}" for name, share in named) + more


def _card(group: Mapping[str, Any], pieces: Pieces) -> Html:
    number, size = int(group["group"]), int(group.get("size", 0))
    inside = group.get("inside", [])
    swatch = element("span", class_="swatch", style=f"background:{pieces.colour(number)}")
    about = element(
        "div",
        element("h3", swatch, titled(group)),
        element("p", f"{size:,} images"),
        element("p", mostly(group["labels"], size)) if group.get("labels") else None,
        element("p", UNSTEADY, class_="hint") if unsteady(group) else None,
        element("button", "Show on map", type="button", data_show_group=number),
        " ",
        pieces.copy(pieces.members.get(number, []), "Copy paths"),
    )
    typical = row([pieces.tile(i, 96) for i in group.get("representatives", [])[:TYPICAL]])
    finer = [_finer(each, pieces) for each in inside]
    folded = finer[FINER:]
    more = (
        element("details", element("summary", f"Show {len(folded):,} more finer groups"), *folded)
        if folded
        else None
    )
    return element(
        "article",
        about,
        element("div", typical, *finer[:FINER], more),
        class_="group",
    )


def _finer(group: Mapping[str, Any], pieces: Pieces) -> Html:
    """A line of pictures, what sets them apart within their group, and what is inside them."""
    finest = group.get("inside", [])
    said = ", ".join(group.get("apart", []))
    parts = [f"{int(group.get('size', 0)):,} images", said]
    if finest:
        parts.append(f"{len(finest)} groups inside")
    shown = [pieces.tile(i, 64) for i in group.get("representatives", [])[:FEW]]
    if finest:  # one picture for each of the finest
        shown = [pieces.tile(each["representatives"][0], 64) for each in finest[: FEW + 3]]
    return element(
        "div",
        element("p", " · ".join(part for part in parts if part)),
        row(shown),
        class_="finer",
    )
