"""The report of `protect`: what was measured, the copies beside the originals, the patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallow.report.figures import bar_chart, inline_image
from fallow.report.page import Html, Page, element, facts, table
from fallow.report.sections import opening

SIDE = 160  # px of a picture in the page
LISTED = 200
UNTESTED = "Not tested. With labels, --verify trains a stranger's model on the copies and says."


def protect_page(found: Mapping[str, Any]) -> str:
    """One run of `protect` as one HTML text.

    `found` may hold: source, created, encoder, copies, psnr, ssim, clusters [images of each],
    verdict and notes [sentence], measured {maps, asked, ...}, patterns [uint8 picture], examples
    [(original, copy)], items [{path, copy, cluster, psnr, ssim}], settings, budget, problems.

    >>> page = protect_page({"items": [], "notes": ["Keep <this> to yourself."]})
    >>> "Keep &lt;this&gt;" in page and "Not tested." in page
    True
    """
    items: Sequence[Mapping[str, Any]] = found.get("items", [])
    page = Page(str(found.get("source", "images")), subtitle=_subtitle(found))
    numbers: dict[str, Any] = {"copies": len(items), "patterns": len(found.get("clusters", []))}
    if items:
        numbers |= {
            "PSNR_in_dB": round(float(found.get("psnr", 0)), 1),
            "SSIM": round(float(found.get("ssim", 0)), 3),
        }
    page.lead(opening(numbers, found.get("verdict") or [UNTESTED], found.get("notes") or []))
    _measured(page, found.get("measured") or {})
    examples = [_example(*pair) for pair in found.get("examples", [])]
    page.section(
        "Copies",
        element("div", *examples, class_="tiles pairs") if examples else None,
        element("style", Html(STYLE)) if examples else None,
        intro="The original, its copy, and the change, from black over grey (none) to white at the "
        "most that occurs. Of large pictures the middle, at its own scale.",
        empty="There are no copies.",
    )
    sizes = found.get("clusters", [])
    patterns = [
        element(
            "figure",
            _picture(picture, f"pattern {number}"),
            element(
                "figcaption", f"{number}: {sizes[number] if number < len(sizes) else 0} images"
            ),
            class_="tile",
        )
        for number, picture in enumerate(found.get("patterns", []))
    ]
    page.section(
        "Patterns",
        element("div", *patterns, class_="tiles") if patterns else None,
        intro="One for each cluster, its colours stretched to the full range. They are secret: "
        "who has them can take them off.",
        empty="There are no patterns.",
    )
    worst = sorted(items, key=lambda item: float(item["psnr"]))[:LISTED]
    page.section(
        "Pictures",
        table(
            ["picture", "copy", "pattern", "PSNR", "SSIM"],
            [
                [i["path"], i["copy"], i["cluster"], round(i["psnr"], 1), round(i["ssim"], 3)]
                for i in worst
            ],
        )
        if worst
        else None,
        intro="The most changed first."
        + (f" {len(items) - LISTED:,} more are in table.parquet." if len(items) > LISTED else ""),
        empty="There are no copies.",
        count=len(items) or None,
    )
    page.unreadable(found.get("problems") or [])
    settings = {
        **{k: found[k] for k in ("encoder", "budget", "steps", "seconds", "patterns from")
           if k in found},
        **found.get("settings", {}),
    }  # fmt: skip
    page.section("Settings", facts(settings) if settings else None,
                 empty="A saved protector was applied.")  # fmt: skip
    return page.html()


STYLE = """.tiles img{image-rendering:pixelated;max-width:100%}
.pairs{grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr))}"""


def _subtitle(found: Mapping[str, Any]) -> str:
    parts = [found.get("created"), found.get("encoder")]
    if found.get("copies"):
        parts.append(f"copies in {found['copies']}")
    return ", ".join(str(part) for part in parts if part)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Whole times its size, so that single pixels are seen."""
    times = max(1, SIDE // max(picture.shape[:2]))
    return picture.repeat(times, 0).repeat(times, 1)


def _picture(picture: np.ndarray, alt: str) -> Html:
    return inline_image(_enlarged(np.asarray(picture, np.uint8)), alt, quality=93)


def _example(original: np.ndarray, copy: np.ndarray) -> Html:
    change = copy.astype(np.float32) - original
    most = max(float(np.abs(change).max()), 1.0)
    added = np.rint((change / most + 1) * 127.5).astype(np.uint8)
    gap = np.full((original.shape[0], max(1, original.shape[1] // 20), 3), 244, np.uint8)
    strip = np.concatenate([original, gap, copy, gap, added], 1)
    times = max(1, SIDE // max(original.shape[:2]))
    return element(
        "figure",
        inline_image(strip.repeat(times, 0).repeat(times, 1), "original, copy, change", quality=93),
        class_="tile",
    )


def _measured(page: Page, measured: Mapping[str, Any]) -> None:
    """Accuracies of a stranger's model: label maps down, what it learnt from across."""
    lines, charts = [], []
    for one in measured.get("maps", []):
        scores = one["scores"]
        rows = list(scores)
        for condition in scores[rows[0]]:
            means = [float(np.mean(scores[row][condition])) for row in rows]
            lines.append(
                [f"{one['name']} ({one['groups']})", condition, *means, means[-1] - means[0]]
            )
        first = next(iter(scores[rows[0]]))
        charts.append(
            bar_chart(
                {
                    **{row: round(float(np.mean(scores[row][first])), 3) for row in rows},
                    "always the commonest": round(float(one["chance"]), 3),
                },
                f"{one['name']} ({one['groups']})",
            )
        )
    header = ["labels", "copies", "originals", "random signs", "protected", "difference"]
    page.section(
        "Measured protection",
        table(header, lines) if lines else None,
        element("div", *charts, class_="charts sub") if charts else None,
        intro="Accuracy on clean pictures of a model a stranger trained from scratch; lower is "
        "better protection. The patterns knew none of these labels.",
        empty=UNTESTED,
    )
