"""The report of `explore`: what is in a folder, on one page that opens offline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fallow.colours import palette
from fallow.report.atlas import Atlas, build_atlas
from fallow.report.explore_copies import Draw, copies_sections
from fallow.report.explore_copies import listed as listed_among_copies
from fallow.report.explore_groups import Pieces, groups_section
from fallow.report.explore_groups import listed as listed_in_groups
from fallow.report.explore_labels import labels_section, shown_rows
from fallow.report.explore_map import colourings, map_data, map_section
from fallow.report.explore_sure import sure_section
from fallow.report.page import (
    Html,
    Page,
    bullets,
    data,
    element,
    facts,
    join,
    paragraphs,
    show,
    table,
    tiles,
    words,
)

LISTED = 48  # pictures a list shows at once
SHOWN = 180  # and with its folded part; the rest is only copied
LARGE, MEDIUM, SMALL = 128, 96, 64  # sides of listed pictures, of others, of others among many
MANY = 3000  # images from which the map makes do with small pictures
PICTURES = 9000  # pictures embedded at most: keeps 20,000 images well below 25 MB

QUALITY = {
    "blurry": ("Blurry", "least sharp first", "No image is blurry."),
    "dark": ("Dark", "darkest first", "No image is too dark."),
    "bright": ("Bright", "brightest first", "No image is too bright."),
    "low_resolution": ("Low resolution", "smallest first", "No image has a low resolution."),
    "odd_aspect": ("Odd shape", "most unusual first", "No image has an unusual shape."),
}


def explore_page(findings: Mapping[str, Any]) -> str:
    """The whole report as one HTML text; write it as UTF-8.

    >>> page = explore_page({"name": "empty folder", "items": []})
    >>> "No image could be read" in page
    True
    """
    found = {name: value for name, value in findings.items() if value is not None}
    items = found.get("items", [])
    report = _Report(found, items)
    page = Page(
        str(found.get("name", "images")),
        subtitle=_subtitle(found),
        scripts=["explore.js"] if items else [],
    )
    page.lead(*report.lead())
    map_section(page, items, len(report.atlas.tiles), report.colourings)
    report.groups(page)
    copies_sections(page, found, Draw(report.tile, report.size, report.copy))
    report.outliers(page)
    report.quality(page)
    suspects = [one["item"] for one in found.get("suspects", [])]
    labels_section(page, found, report.tile, report.copy(suspects))
    sure_section(page, found)
    report.problems(page)
    page.section(
        "Settings",
        facts(found["settings"]) if found.get("settings") else None,
        element("h3", "Encoder", class_="sub") if found.get("encoder") else None,
        paragraphs([found["encoder"].get("name", ""), found["encoder"].get("note", "")])
        if found.get("encoder")
        else None,
        empty="Everything ran with the defaults.",
    )
    if items:
        page.tail(report.atlas.style(), data(report.map(), "data"))
    return page.html()


def _subtitle(found: Mapping[str, Any]) -> str:
    parts = [f"{len(found.get('items', [])):,} images explored"]
    if found.get("created"):
        parts.append(str(found["created"]))
    return " · ".join(parts)


class _Report:
    """The findings with their thumbnails laid out once, and one method per section."""

    def __init__(self, found: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
        self.found, self.items = found, items
        thumbnails = found.get("thumbnails", [])
        self.chosen = _cells(found, items, thumbnails)
        self.atlas: Atlas = build_atlas(thumbnails, self.chosen)
        groups = found.get("groups", [])
        order = sorted(groups, key=lambda group: (group["group"] < 0, -group.get("size", 0)))
        self.groups_in_order = order
        self.group_names = [int(group["group"]) for group in order if group["group"] >= 0]
        self.colours = palette(24)
        self.colourings = colourings(items, self.group_names)

    # --- pieces ---

    def tile(self, index: int, *notes: object, keep: bool = False, side: int = 112) -> Html:
        """One picture of a list: opens its details when scripts run."""
        path = str(self.items[index]["path"])
        return element(
            "button",
            self.atlas.picture(index, path, side),
            element("span", "proposed to keep", class_="mark") if keep else None,
            element("span", _last(path), class_="name", aria_hidden="true"),
            *(element("span", note, class_="note") for note in notes if note is not None),
            type="button",
            class_="tile",
            title=path,
            data_item=index,
        )

    def listing(self, indices: Sequence[int], notes: Mapping[int, str] | None = None) -> Html:
        """Pictures in a grid; a long list keeps its second part folded."""
        notes = notes or {}

        def grid(part: Iterable[int]) -> Html:
            made = (self.tile(index, notes.get(index)) for index in part)
            return element("div", *made, class_="tiles")

        first, second = indices[:LISTED], indices[LISTED:SHOWN]
        unseen = len(indices) - len(first) - len(second)
        summary = f"Show {len(second):,} more"
        if unseen:
            summary += f" ({unseen:,} further ones are only in the copied list)"
        folded = element("details", element("summary", summary), grid(second)) if second else None
        return join([grid(first), folded])

    def copy(self, indices: Iterable[int], title: str = "Copy list of paths") -> Html:
        listed = " ".join(map(str, indices))
        return element("button", title, type="button", data_paths=listed)

    def size(self, index: int) -> str:
        item = self.items[index]
        return f"{item['width']} × {item['height']}, {_bytes(item.get('bytes'))}"

    def map(self) -> dict[str, Any]:
        return map_data(self.items, self.atlas, self.groups_in_order, self.colourings, self.colours)

    # --- sections ---

    def lead(self) -> list[Html | None]:
        counts, note = self.found.get("counts"), self.found.get("encoder", {}).get("note")
        counts = {name: count for name, count in (counts or {}).items() if count}
        headlines = [line for line in self.found.get("headlines", []) if line != note]
        headlines += self.found.get("notes", [])
        return [
            tiles(counts) if counts else None,
            bullets(headlines, class_="findings") if headlines else None,
            element("div", element("p", note), class_="notice", role="note") if note else None,
        ]

    def groups(self, page: Page) -> None:
        members: dict[int, list[int]] = {}
        for i, item in enumerate(self.items):
            members.setdefault(int(item.get("group", -1)), []).append(i)

        def drawn(index: int, side: int) -> Html:
            return self.tile(index, side=side)

        groups_section(page, self.found, Pieces(drawn, self.copy, self.colour, members))

    def colour(self, group: int) -> str:
        if group not in self.group_names:
            return "var(--quiet)"
        return self.colours[self.group_names.index(group) % len(self.colours)]

    def outliers(self, page: Page) -> None:
        ranked = self.found.get("outliers", [])
        page.section(
            "Outliers",
            self.listing(ranked) if ranked else None,
            count=len(ranked),
            intro="Unlike everything else here, the strangest first: rare finds or strays.",
            tools=self.copy(ranked),
            empty="No image stands far from the others.",
        )

    def quality(self, page: Page) -> None:
        lists = self.found.get("quality", {})
        names = list(QUALITY) + [name for name in lists if name not in QUALITY]
        parts: list[Html] = []
        total = set()
        for name in names:
            title, order, empty = QUALITY.get(name, (words(name).capitalize(), "", "None."))
            indices = lists.get(name, [])
            total |= set(indices)
            if not indices:
                parts.append(element("p", empty, class_="empty"))
                continue
            head = element(
                "h3",
                title,
                element("span", f" {len(indices):,}, {order}" if order else "", class_="count"),
            )
            notes = {index: self.quality_note(name, index) for index in indices[:SHOWN]}
            parts.append(
                element(
                    "div",
                    element("div", head, self.copy(indices), class_="head sub"),
                    self.listing(indices, notes),
                )
            )
        # full lists first, the empty ones as closing lines
        parts.sort(key=lambda part: part.startswith("<p"))
        page.section("Quality", element("div", *parts, class_="quality"), count=len(total))

    def quality_note(self, name: str, index: int) -> str:
        item = self.items[index]
        measure = {"blurry": "focus", "dark": "brightness", "bright": "brightness"}.get(name)
        if measure and item.get(measure) is not None:
            return f"{measure} {show(float(item[measure]))}"
        return f"{item['width']} × {item['height']}"

    def problems(self, page: Page) -> None:
        problems = self.found.get("problems", [])
        rows = [(problem["path"], problem["reason"]) for problem in problems]
        whole = "\n".join(str(path) for path, _ in rows)
        page.section(
            "Files that could not be read",
            table(["file", "reason"], rows) if rows else None,
            count=len(rows),
            tools=element("button", "Copy list of paths", type="button", data_copy=whole),
            empty="Every file could be read.",
        )


def _cells(
    found: Mapping[str, Any], items: Sequence[Mapping[str, Any]], thumbnails: Sequence[bytes]
) -> dict[int, list[int]]:
    """Which pictures to embed and how large: listed ones first, then a spread over the map."""
    if not thumbnails:
        return {}
    listed: dict[int, None] = {}
    listed |= dict.fromkeys(listed_in_groups(found.get("groups", [])))
    listed |= dict.fromkeys(listed_among_copies(found))
    listed |= dict.fromkeys(found.get("outliers", [])[:SHOWN])
    for indices in found.get("quality", {}).values():
        listed |= dict.fromkeys(indices[:SHOWN])
    listed |= dict.fromkeys(shown_rows(found))
    room = max(0, PICTURES - len(listed))
    others = [index for index in range(len(items)) if index not in listed]
    # every k-th along the map, so that each region keeps pictures
    others.sort(key=lambda i: (items[i].get("group") or 0, items[i].get("x") or 0.0))
    if len(others) > room:
        others = [others[int(k)] for k in np.linspace(0, len(others) - 1, room)] if room else []
    side = SMALL if len(items) > MANY else MEDIUM
    # neighbours on the map share a sheet, so that a close view decodes few of them
    return {LARGE: list(listed), side: others}


def _last(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def _bytes(size: int | None) -> str:
    if size is None:
        return "–"
    for unit, scale in (("MB", 1e6), ("KB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
