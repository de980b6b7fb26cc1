"""The labels of an explored collection: doubts with the pictures for and against, and names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fallow.report.page import Html, Page, element, join, table

LISTED = 24  # doubts shown with their pictures; the others only as tiles
SHOWN = 180
SIDE = 72

Tile = Callable[..., Html]


def labels_section(page: Page, found: Mapping[str, Any], tile: Tile, copy: Html) -> None:
    """Suspected wrong labels; `tile` draws one picture, `copy` copies the list of paths."""
    labelled = any(item.get("label") is not None for item in found.get("items", []))
    suspects = found.get("suspects", [])
    about = found.get("labels") or {}
    agreement = found.get("label_agreement")
    said = []
    if suspects:
        said.append("The label as given, and what the pictures say; the most doubtful first.")
    if about.get("judged") and suspects:
        low, high = about["interval"]
        said.append(
            f"About {round(about['expected']):,} labels are expected to be wrong, "
            f"between {low:,} and {high:,} in eight cases of ten."
        )
    if agreement is not None:
        said.append(f"Neighbours confirm the label of {agreement:.0%} of the labelled images.")
    empty = "No label looks wrong." if labelled else "The images have no labels to check."
    if labelled and about.get("unjudged"):
        empty = f"The labels were not judged: {about['unjudged']}."
    parts = [
        element("div", *(doubt(one, tile) for one in suspects[:LISTED])) if suspects else None,
        _rest(suspects[LISTED:SHOWN], tile),
        _classes(about),
        _names(about.get("variants", [])),
    ]
    page.section(
        "Suspected wrong labels",
        *(part for part in parts if part is not None),
        count=len(suspects),
        intro=" ".join(said) if any(part is not None for part in parts) else None,
        tools=copy,
        empty=" ".join([empty, *(said if labelled else [])]),
    )


def doubt(one: Mapping[str, Any], tile: Tile) -> Html:
    """One doubtful label, between pictures that argue for another and those of its own."""
    change = join([element("del", one["label"]), " → ", element("b", one["suggested"])])
    stays = one.get("stays")
    held = None
    if stays is not None:
        held = "half the labels agree" if stays >= 1 else "half the labels do not agree"
    row = element(
        "div",
        tile(one["item"], change, f"{float(one['confidence']):.0%} sure", held),
        _argue(f"like {one['suggested']}", one.get("for", []), tile),
        _argue(f"the nearest {one['label']}", one.get("against", []), tile),
        class_="row",
        style="align-items:flex-start;gap:1.5rem",
    )
    return element("article", row, class_="set")


def _argue(title: str, rows: Sequence[int], tile: Tile) -> Html | None:
    if not rows:
        return None
    pictures = element("div", *(tile(row, side=SIDE) for row in rows), class_="row")
    return element("div", element("p", title, class_="hint"), pictures)


def _rest(suspects: Sequence[Mapping[str, Any]], tile: Tile) -> Html | None:
    if not suspects:
        return None
    made = [
        tile(
            one["item"],
            join([element("del", one["label"]), " → ", element("b", one["suggested"])]),
            f"{float(one['confidence']):.0%} sure",
        )
        for one in suspects
    ]
    summary = element("summary", f"Show {len(made):,} more")
    return element("details", summary, element("div", *made, class_="tiles"))


def _classes(about: Mapping[str, Any]) -> Html | None:
    lines = [
        f"{one} and {two} are hardly told apart by looks." for one, two, _ in about.get("alike", [])
    ]
    lines += [
        f"{part:.0%} of the pictures of {name} look like other labels: it says something that "
        "looks do not, such as a broader kind. They are not listed one by one."
        for name, part in about.get("unlike", [])
    ]
    if not lines:
        return None
    more = [f"{len(lines) - 12:,} more such labels."] if len(lines) > 12 else []
    said = [element("p", line) for line in lines[:12] + more]
    return element("div", element("h3", "Labels that looks do not tell", class_="sub"), *said)


def _names(variants: Sequence[Mapping[str, Any]]) -> Html | None:
    if not variants:
        return None
    rows = [
        (
            ", ".join(
                f"{name} ({count:,})"
                for name, count in zip(one["names"], one["counts"], strict=True)
            ),
            one["why"],
            "too few to say" if one["mixed"] is None else "mixed" if one["alike"] else "apart",
        )
        for one in variants
    ]
    return element(
        "div",
        element("h3", "Names that may mean one label", class_="sub"),
        element("p", "Nothing was merged; where pictures are apart, they may well be two.",
                class_="hint"),
        table(["names", "differ in", "their pictures"], rows),
    )  # fmt: skip


def shown_rows(found: Mapping[str, Any]) -> list[int]:
    """Places of all pictures this section draws."""
    rows = []
    for place, one in enumerate(found.get("suspects", [])[:SHOWN]):
        rows.append(one["item"])
        if place < LISTED:
            rows += [*one.get("for", []), *one.get("against", [])]
    return rows
