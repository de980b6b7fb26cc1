"""The map of `explore`: its section, and the places, colourings and details its script reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallow.colours import ramp
from fallow.report.atlas import Atlas
from fallow.report.page import Page, element, words

RAMPED = ("sharpness", "brightness", "outlier")


def map_section(
    page: Page,
    items: Sequence[Mapping[str, Any]],
    drawn: int,
    colourings: Sequence[Mapping[str, Any]],
) -> None:
    """The map's place on the page, which its script fills; `drawn` images have a picture."""
    if not items:
        page.section("Map", empty="No image could be read, so there is no map.")
        return
    options = [
        element("option", colouring["title"], value=number)
        for number, colouring in enumerate(colourings)
    ]
    without = len(items) - drawn
    hint = (
        "Drag to move. Click the map, then scroll or pinch to zoom; close up the images "
        "themselves appear. Keys: arrows, + and −, 0 for everything, Enter for the image "
        "nearest the middle."
    )
    if without:
        hint += (
            f" To keep this file small, {without:,} of {len(items):,} images "
            "are shown as dots only."
        )
    bar = element(
        "div",
        element(
            "label",
            "Find",
            element(
                "input", type="search", id="find", placeholder="part of a file name",
                autocomplete="off", spellcheck="false",
            ),
            class_="find",
        ),
        element("output", id="matches", aria_live="polite"),
        element("button", "Copy matching paths", type="button", id="copy-matches", hidden=True),
        element("span", class_="space"),
        element("label", "Colour by", element("select", *options, id="colour")),
        element("button", "+", type="button", id="closer", aria_label="Zoom in"),
        element("button", "−", type="button", id="farther", aria_label="Zoom out"),
        element("button", "Show all", type="button", id="whole"),
        class_="bar",
    )  # fmt: skip
    canvas = element(
        "canvas",
        id="map-canvas",
        tabindex=0,
        role="application",
        aria_label=f"Map of {len(items):,} images; images that look alike are close. "
        "The lists below hold the same findings as text.",
    )
    page.section(
        "Map",
        bar,
        element("div", canvas, element("div", id="hover", hidden=True), class_="field"),
        element("div", id="legend"),
        element("p", hint, class_="hint"),
        element("aside", id="detail", aria_label="Image details", tabindex=-1, hidden=True),
        intro="Each dot is an image; images that look alike lie close together.",
    )


def colourings(
    items: Sequence[Mapping[str, Any]], group_names: Sequence[int]
) -> list[dict[str, Any]]:
    """What dots can be coloured by: categories (codes, names) or measures (values)."""
    made: list[dict[str, Any]] = []
    if group_names:
        group_codes = {number: code for code, number in enumerate(group_names)}
        codes = [group_codes.get(item.get("group", -1), -1) for item in items]
        names = [group_name(number) for number in group_names]
        made.append({"title": "group", "codes": codes, "names": names, "rest": "no group"})
    given = [item.get("label") for item in items]
    if any(label is not None for label in given):
        counts: dict[Any, int] = {}
        for label in given:
            if label is not None:
                counts[label] = counts.get(label, 0) + 1
        order = sorted(counts, key=lambda label: -counts[label])
        label_codes = {label: code for code, label in enumerate(order)}
        codes = [label_codes.get(label, -1) for label in given]
        names = [str(label) for label in order]
        made.append({"title": "label", "codes": codes, "names": names, "rest": "no label"})
    flags = [(item.get("flags") or [None])[0] for item in items]
    kinds = list(dict.fromkeys(flag for flag in flags if flag is not None))
    if kinds:
        codes = [-1 if flag is None else kinds.index(flag) for flag in flags]
        names = [words(kind) for kind in kinds]
        made.append({"title": "finding", "codes": codes, "names": names, "rest": "none"})
    for name in RAMPED:
        values = [item.get(name) for item in items]
        if any(value is not None for value in values):
            made.append({"title": name, "values": [_short(value) for value in values]})
    megapixels = [_short(item["width"] * item["height"] / 1e6) for item in items]
    made.append({"title": "megapixels", "values": megapixels})
    return made


def map_data(
    items: Sequence[Mapping[str, Any]],
    atlas: Atlas,
    groups_in_order: Sequence[Mapping[str, Any]],
    colourings: Sequence[Mapping[str, Any]],
    colours: Sequence[str],
) -> dict[str, Any]:
    """Where every picture is, how it may be coloured, and what is said when it is opened."""
    places = _stretched(items)
    tiles_ = [atlas.tiles.get(index) for index in range(len(items))]
    first = [i for group in groups_in_order for i in group.get("representatives", [])]
    return {
        "path": [str(item["path"]) for item in items],
        "width": [item["width"] for item in items],
        "height": [item["height"] for item in items],
        "bytes": [item.get("bytes") for item in items],
        "flags": {
            str(i): [words(flag) for flag in item["flags"]]
            for i, item in enumerate(items)
            if item.get("flags")
        },
        "x": places[0],
        "y": places[1],
        "tile": [[t.sheet, t.x, t.y, t.width, t.height] if t is not None else 0 for t in tiles_],
        "first": first,
        "colourings": colourings,
        "palette": list(colours),
        "ramp": ramp(32),
        "groups": [int(g["group"]) for g in groups_in_order if g["group"] >= 0],
    }


def _stretched(items: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Map positions in 0…1 on both axes; the axes themselves mean nothing."""
    columns = []
    for name in ("x", "y"):
        values = np.array([item.get(name) for item in items], float)
        known = values[np.isfinite(values)]
        low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
        spread = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
        columns.append(np.nan_to_num(spread, nan=0.5).round(5).tolist())
    return columns[0], columns[1]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{float(value):.4g}")


def group_name(number: int) -> str:
    """What a group is called; -1 is none."""
    return f"Group {number + 1}" if number >= 0 else "No group"
