"""The report of `develop`: every picture before and after, brightness, and how learning went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallow.report.figures import inline_image, line_chart
from fallow.report.page import Html, Page, element, escape, facts, join
from fallow.report.sections import closing, opening, subtitle


def develop_page(found: Mapping[str, Any]) -> str:
    """One run of `develop` as one HTML text.

    `found` may hold: source, created, headlines, notes, pairs [{path, before, after}],
    histograms {name: shares of brightness}, history [{step, loss by name}], facts, problems,
    settings.

    >>> "Nothing was developed" in develop_page({"facts": {"method": "plain"}})
    True
    """
    about = found.get("facts") or {}
    page = Page(
        str(found.get("source", "files")),
        subtitle=subtitle({**found, **about}, "created", "method"),
        scripts=["beside.js"],
    )
    numbers = {"files": len(found.get("items") or [])}
    page.lead(opening(numbers, found.get("headlines") or [], found.get("notes") or []))
    pairs: Sequence[Mapping[str, Any]] = found.get("pairs") or []
    page.section(
        "Before and after",
        join([beside(pair["before"], pair["after"], str(pair["path"])) for pair in pairs])
        if pairs
        else None,
        intro="Move the slider: left of it as it was, right of it as it has become.",
        empty="Nothing was developed.",
    )
    spread = dict(found.get("histograms") or {})
    if "real nights" in about:
        spread["real nights"] = about["real nights"]
    page.section(
        "Brightness",
        line_chart(
            {name: percent(shares) for name, shares in spread.items()},
            "Pixels by brightness",
            x_label="brightness",
            y_label="%",
            include=[0.0],
        )
        if spread
        else None,
        empty="Nothing was developed.",
    )
    history = found.get("history") or []
    page.section(
        "Learning",
        curves(history) if history else None,
        intro="Each loss alone; where all pull alike, only their course says anything.",
        empty="Nothing had to be learnt.",
    )
    known = {k: v for k, v in about.items() if not isinstance(v, dict | list)}
    page.section("What does it", facts(known) if known else None)
    closing(page, found, {**(found.get("settings") or {}), **(about.get("settings") or {})})
    return page.html()


def percent(shares: Sequence[float]) -> tuple[list[float], list[float]]:
    """Brightness from 0 to 1, and how many per cent of all pixels have it.

    >>> percent([0.5, 0.5])
    ([0.0, 1.0], [50.0, 50.0])
    """
    places = np.linspace(0, 1, len(shares))
    return places.tolist(), (100 * np.asarray(shares, np.float64)).tolist()


def beside(before: np.ndarray, after: np.ndarray, name: str) -> Html:
    """Two pictures over each other, and a slider that says how much is seen of which.

    >>> black = np.zeros((4, 6, 3), np.uint8)
    >>> beside(black, black, "a<b").count("a&lt;b") > 0
    True
    """
    frame = "position:relative;display:inline-block;line-height:0"
    over = "position:absolute;inset:0;clip-path:inset(0 50% 0 0);overflow:hidden"
    pictures = element(
        "div",
        inline_image(after, f"{name}, after"),
        element("div", inline_image(_as_large(before, after), f"{name}, before"), style=over,
                class_="before"),
        style=frame,
    )  # fmt: skip
    slider = element(
        "input", type="range", min=0, max=100, value=50, class_="beside",
        aria_label=f"share of {name} shown as it was", style="width:100%",
    )  # fmt: skip
    return element(
        "figure",
        pictures,
        element("figcaption", slider, escape(name)),
        style="display:inline-block;margin:0 1rem 1rem 0;vertical-align:top",
    )


def _as_large(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cut to the other's size: a row or column may have gone for the pattern's sake."""
    if picture.shape == other.shape:
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize(other.shape[1::-1]))


def curves(history: Sequence[Mapping[str, float]]) -> Html:
    """A chart of every loss over the steps at which it is known.

    >>> "Losses" in curves([{"step": 1, "a": 2.0}, {"step": 2, "a": 1.0}])
    True
    """
    names = dict.fromkeys(name for line in history for name in line if name != "step")
    series = {
        name: (
            [line["step"] for line in history if name in line],
            [line[name] for line in history if name in line],
        )
        for name in names
    }
    return line_chart(series, "Losses", x_label="steps", log=True)
