"""The report of `spot`: images from oddest to most ordinary, and a threshold to move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallow.colours import ramp
from fallow.report.atlas import Atlas, build_atlas
from fallow.report.page import (
    Html,
    Page,
    bullets,
    data,
    element,
    facts,
    join,
    paragraphs,
    table,
    tiles,
)

SHOWN = 240  # pictures in the page; all scores are in it
SIDE = 176
BARS = 48
MEASURES = {"auroc": "AUROC", "ap": "AP", "f1_max": "F1-max", "aupro": "AUPRO"}


def spot_page(found: Mapping[str, Any]) -> str:
    """One run of `spot` as one HTML text.

    `found` may hold: source, created, images, flagged, threshold, heat (low, high), headlines,
    notes [sentence], items [{path, score, odd (1, 0, -1), label}] from the oddest on, pictures
    (count, side) -> pairs of JPEG bytes, measured {what: {measure: value}}, settings, sight.

    >>> page = spot_page({"items": [{"path": "a<b.jpg", "score": 0.5, "odd": -1, "label": ""}]})
    >>> "a&lt;b.jpg" in page and "Nothing was measured" in page
    True
    """
    items: Sequence[Mapping[str, Any]] = found.get("items", [])
    page = Page(
        str(found.get("source", "images")),
        subtitle=_subtitle(found),
        scripts=["spot.js"],
    )
    page.lead(
        tiles({"images": len(items), "stand_out": int(found.get("flagged", 0))}),
        bullets(found.get("headlines", [])[:1], class_="findings"),
        element("div", paragraphs(found["notes"]), class_="notice", role="note")
        if found.get("notes")
        else None,
    )
    pictures = found["pictures"](SHOWN, SIDE) if callable(found.get("pictures")) else []
    pairs = list(pictures)
    atlas = build_atlas([jpeg for pair in pairs for jpeg in pair], {SIDE: range(2 * len(pairs))})
    _ranking(page, found, items, atlas)
    measured = found.get("measured") or {}
    rows = [
        [kind, *(_value(values.get(key)) for key in MEASURES)] for kind, values in measured.items()
    ]
    page.section(
        "Measures",
        table(["", *MEASURES.values()], rows) if rows else None,
        intro="Labels and masks were only used here, never for the scores. AUPRO goes up to a "
        "false-positive rate of 0.3. Undefined: a class is missing.",
        empty="Nothing was measured: there are neither labels nor masks.",
    )
    page.unreadable(found.get("problems") or [])
    settings = {
        **{k: found[k] for k in ("mode", "encoder", "compared with", "seconds") if k in found},
        **found.get("sight", {}),
        **{k: v for k, v in found.get("settings", {}).items() if v is not None},
    }
    page.section("Settings", facts(settings) if settings else None,
                 empty="Everything ran with the defaults.")  # fmt: skip
    page.tail(
        atlas.style(),
        data(
            {
                "scores": [round(float(item["score"]), 6) for item in items],
                "odd": [int(item.get("odd", -1)) for item in items],
                "paths": [str(item["path"]) for item in items],
                "threshold": float(found.get("threshold", 0.0)),
            },
            "spotted",
        ),
    )
    return page.html()


def _subtitle(found: Mapping[str, Any]) -> str:
    parts = [found.get("created"), found.get("encoder")]
    if found.get("compared with"):
        parts.append(f"compared with {found['compared with']}")
    return ", ".join(str(part) for part in parts if part)


def _value(value: float | None) -> object:
    return "undefined" if value is None else float(value)


def _ranking(
    page: Page,
    found: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    atlas: Atlas,
) -> None:
    threshold = float(found.get("threshold", 0.0))
    cards = [_card(atlas, k, item, threshold) for k, item in enumerate(items[:SHOWN])]
    rest = len(items) - len(cards)
    low, high = found.get("heat", (0.0, 1.0))
    scale = element(
        "p",
        f"Heat from {low:.3f} ",
        element(
            "span", class_="scale", style=f"background:linear-gradient(90deg,{','.join(ramp())})"
        ),
        f" to {high:.3f}, the same for all images.",
        class_="hint",
    )
    page.section(
        "Ranking",
        _slider(items, threshold) if items else None,
        scale if cards else None,
        element("div", *cards, class_="odd") if cards else None,
        element("p", f"{rest:,} more ordinary images are in scores.csv.", class_="hint")
        if rest and cards
        else None,
        intro="From the oddest image on. Move the threshold: everything above it stands out.",
        empty="There are no images.",
    )


def _card(atlas: Atlas, place: int, item: Mapping[str, Any], threshold: float) -> Html:
    path = str(item["path"])
    name = path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path
    known = {1: item.get("label") or "odd", 0: item.get("label") or "good"}
    said = known.get(int(item.get("odd", -1)))
    return element(
        "article",
        element(
            "div",
            atlas.picture(2 * place, path, SIDE),
            atlas.picture(2 * place + 1, f"heat map of {path}", SIDE),
            class_="pair",
        ),
        element(
            "p",
            element("b", f"{place + 1}"),
            element("span", name, class_="name", title=path),
            element("span", f"{float(item['score']):.3f}", class_="number"),
            element("span", said, class_="said") if said else None,
        ),
        class_="spotted" + (" above" if float(item["score"]) > threshold else ""),
        data_place=place,
    )


def _slider(items: Sequence[Mapping[str, Any]], threshold: float) -> Html:
    """The scores as a histogram with the threshold below it."""
    scores = np.array([float(item["score"]) for item in items])
    odd = np.array([int(item.get("odd", -1)) for item in items])
    low, high = float(scores.min()), float(scores.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    bins = ((scores - low) / (high - low) * BARS).astype(int).clip(0, BARS - 1)
    counts = np.bincount(bins, minlength=BARS)
    marked = np.bincount(bins[odd == 1], minlength=BARS)
    tallest = max(1, int(counts.max()))
    bars = []
    for place in range(BARS):
        for kind, count in (("all", counts[place]), ("known", marked[place])):
            if count:
                height = 60 * count / tallest
                bars.append(
                    element("rect", x=place * 10 + 1, width=8, y=f"{60 - height:.1f}",
                            height=f"{height:.1f}", class_=kind)
                )  # fmt: skip
    picture = element(
        "svg",
        element("title", f"{len(items)} scores from {low:.3f} to {high:.3f}"),
        *bars,
        element("line", x1=0, x2=0, y1=0, y2=60, id="cut"),
        viewBox=f"0 0 {BARS * 10} 60",
        preserveAspectRatio="none",
        role="img",
        class_="histogram",
    )
    step = (high - low) / 1000
    return element(
        "div",
        picture,
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
