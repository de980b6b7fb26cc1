"""The report of `spot`: images from oddest to most ordinary, and a threshold to move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallow.report.page import Html, Page, data, element, join, table
from fallow.report.sections import (
    card,
    cards,
    closing,
    opening,
    pair_atlas,
    scale,
    subtitle,
)

SHOWN = 240  # pictures in the page; all scores are in it
SIDE = 176
BARS = 48


def spot_page(found: Mapping[str, Any]) -> str:
    """One run of `spot` as one HTML text.

    `found` may hold: source, created, images, flagged, threshold, heat (low, high), headlines,
    expected_interval (low, high), notes [sentence],
    items [{path, score, odd (1, 0, -1), label}] from the oddest on, pictures
    (count, side) -> pairs of JPEG bytes, measured {what: {measure: value}}, settings, sight.

    >>> page = spot_page({"items": [{"path": "a<b.jpg", "score": 0.5, "odd": -1, "label": ""}]})
    >>> "a&lt;b.jpg" in page and "Nothing was measured" in page
    True
    """
    items: Sequence[Mapping[str, Any]] = found.get("items", [])
    others = found.get("compared with")
    about = {**found, "others": f"compared with {others}" if others else None}
    page = Page(
        str(found.get("source", "images")),
        subtitle=subtitle(about, "created", "encoder", "others"),
        scripts=["spot.js"],
    )
    numbers: dict[str, object] = {"images": len(items), "stand_out": int(found.get("flagged", 0))}
    if bounds := found.get("expected_interval"):
        numbers["odd ones expected"] = f"{bounds[0]:,} to {bounds[1]:,}"
    page.lead(opening(numbers, found.get("headlines", [])[:1], found.get("notes") or []))
    threshold = float(found.get("threshold", 0.0))
    low, high = found.get("heat", (0.0, 1.0))
    atlas = pair_atlas(list(found["pictures"](SHOWN, SIDE)) if found.get("pictures") else [], SIDE)
    made = [
        card(
            atlas, k, ("", "heat map of "), str(item["path"]), f"{item['score']:.3f}", rank=k + 1,
            side=SIDE, said=_known(item), above=item["score"] > threshold, place=k,
        )
        for k, item in enumerate(items[:SHOWN])
    ]  # fmt: skip
    page.section(
        "Ranking",
        slider(items, threshold) if items else None,
        scale(f"Heat from {low:.3f}", f"to {high:.3f}, the same for all images.") if made else None,
        cards(made, len(items) - len(made), "ordinary images are in scores.csv."),
        intro="From the oddest image on. Move the threshold: everything above it stands out.",
        empty="There are no images.",
    )
    measured = measures_table(found.get("measured") or {})
    page.section(
        "Measures",
        measured,
        intro="Labels and masks were only used here, never for the scores. AUPRO goes up to a "
        "false-positive rate of 0.3. Undefined: a class is missing.",
        empty="Nothing was measured: there are neither labels nor masks.",
    )
    settings = {
        **{name: found.get(name) for name in ("mode", "encoder", "compared with", "seconds")},
        **found.get("sight", {}),
        **found.get("settings", {}),
    }
    closing(page, found, settings)
    held = {
        "scores": [round(float(item["score"]), 6) for item in items],
        "odd": [int(item.get("odd", -1)) for item in items],
        "paths": [str(item["path"]) for item in items],
        "threshold": threshold,
    }
    page.tail(atlas.style(), data(held, "spotted"))
    return page.html()


def measures_table(measured: Mapping[str, Mapping[str, float | None]]) -> Html | None:
    """A row for each kind of scores that were measured."""
    from fallow.measure.truth import MEASURES  # torch comes with it, which other pages do without

    rows = [
        [kind, *("undefined" if values.get(key) is None else values[key] for key in MEASURES)]
        for kind, values in measured.items()
    ]
    return table(["", *MEASURES.values()], rows) if rows else None


def _known(item: Mapping[str, Any]) -> str | None:
    """What the labels say of an image, if anything."""
    said = {1: "odd", 0: "good"}.get(int(item.get("odd", -1)))
    return str(item.get("label") or said) if said else None


def slider(items: Sequence[Mapping[str, Any]], threshold: float) -> Html:
    """The scores as a histogram with the threshold below it."""
    scores = np.array([float(item["score"]) for item in items])
    odd = np.array([int(item.get("odd", -1)) for item in items])
    low, high = float(scores.min()), max(float(scores.max()), threshold)  # within its reach
    if high <= low:
        low, high = low - 0.5, high + 0.5
    bins = ((scores - low) / (high - low) * BARS).astype(int).clip(0, BARS - 1)
    counts = np.bincount(bins, minlength=BARS)
    marked = np.bincount(bins[odd == 1], minlength=BARS)
    step = (high - low) / 1000
    return element(
        "div",
        element(
            "svg",
            element("title", f"{len(items)} scores from {low:.3f} to {high:.3f}"),
            *_bars(counts, counts.max(), "all"),
            *_bars(marked, counts.max(), "known"),
            element("line", x1=0, x2=0, y1=0, y2=60, id="cut"),
            viewBox=f"0 0 {BARS * 10} 60",
            preserveAspectRatio="none",
            role="img",
            class_="histogram",
        ),
        element(
            "input", type="range", id="threshold", min=f"{low - step:.6g}", max=f"{high:.6g}",
            step=f"{step:.6g}", value=f"{threshold:.6g}", aria_label="threshold",
        ),
        element(
            "div",
            element("output", id="counted", for_="threshold"),
            element("span", class_="space"),
            element("button", "Back to the computed threshold", type="button", id="computed"),
            element("button", "Copy the paths above", type="button", id="above"),
            class_="bar",
        ),
        element(
            "p",
            join(["Bars: all images", ", darker: those labelled odd" if marked.any() else ""]),
            class_="hint",
        ),
        class_="slider",
    )  # fmt: skip


def _bars(counts: np.ndarray, tallest: int, kind: str) -> list[Html]:
    heights = 60 * counts / max(1, tallest)
    return [
        element("rect", x=place * 10 + 1, width=8, y=f"{60 - height:.1f}", height=f"{height:.1f}",
                class_=kind)
        for place, height in enumerate(heights)
        if height
    ]  # fmt: skip
