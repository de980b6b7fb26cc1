"""The report of `distil`: the synthetic images of each class, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fallow.report.figures import bar_chart, contact_sheet, inline_image, line_chart
from fallow.report.page import Html, Page, bullets, element, facts, paragraphs, table, tiles

CLASSES, EACH = 60, 20  # shown
CELL = 64


def distil_page(found: Mapping[str, Any]) -> str:
    """One run of `distil` as one HTML text.

    `found` may hold: name, created, counts, headlines, notes [sentence], warned, classes [name],
    per_class, pictures {"start", "end"} (N S S 3), metrics [{step, loss}], verified {on: [share]},
    asymmetry, settings, problems.

    >>> page = distil_page({"name": "dm on <x>", "notes": ["Mirrored."]})
    >>> "dm on &lt;x&gt;" in page and "No network was trained" in page
    True
    """
    page = Page(str(found.get("name", "distil")), subtitle=str(found.get("created", "")))
    notes = paragraphs(found.get("notes") or [])
    page.lead(
        tiles(found["counts"]) if found.get("counts") else None,
        bullets(found.get("headlines", [])[:1], class_="findings"),
        element("div", notes, class_="notice" if found.get("warned") else "intro", role="note")
        if notes
        else None,
    )
    page.section(
        "Images",
        *_pictures(found),
        intro="What each class began as (real images drawn at random) and what it became. Colours "
        "are clipped for the eye; networks are trained on the values in set.safetensors.",
        empty="There are no pictures.",
    )
    verified: Mapping[str, list[float]] = found.get("verified") or {}
    rows = [
        [name, float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
         *map(float, scores)]
        for name, scores in verified.items()
    ]  # fmt: skip
    runs = [f"network {k + 1}" for k in range(max(map(len, verified.values()), default=0))]
    means = {name: float(np.mean(scores)) for name, scores in verified.items()}
    page.section(
        "Verified",
        bar_chart(means, "Held-out accuracy of fresh networks") if rows else None,
        table(["trained on", "mean", "deviation", *runs], rows) if rows else None,
        intro="Fresh networks, trained in the same way and with the same augmentation on as many "
        "images each, asked about images that nothing was trained on.",
        empty="No network was trained on the images: ask with --verify.",
    )
    metrics = found.get("metrics") or []
    curve = ([row["step"] for row in metrics], [row["loss"] for row in metrics])
    page.section(
        "Loss",
        line_chart({"loss": curve}, "Loss", x_label="step") if metrics else None,
        empty="Nothing was recorded.",
    )
    page.section(
        "Asymmetry",
        facts(found["asymmetry"]) if found.get("asymmetry") else None,
        intro="Mean squared difference of an image and its mirror image, in units of the spread "
        "of the colours: low means that both halves show the same.",
        empty="It was not measured.",
    )
    page.unreadable(found.get("problems") or [])
    page.section("Settings", facts(found["settings"]) if found.get("settings") else None,
                 empty="Everything ran with the defaults.")  # fmt: skip
    return page.html()


def _pictures(found: Mapping[str, Any]) -> list[Html]:
    pictures = found.get("pictures") or {}
    if "end" not in pictures:
        return []
    per_class = int(found["per_class"])
    shown = min(per_class, EACH)
    rows = []
    for code, name in enumerate(found["classes"][:CLASSES]):
        own = slice(code * per_class, code * per_class + shown)
        strips = [
            inline_image(
                contact_sheet(list(pictures[when][own]), columns=min(shown, 10), cell=CELL, gap=3),
                f"{name}, {words}",
                quality=90,
            )
            for when, words in (("start", "began as"), ("end", "became"))
        ]
        rows.append(
            element("div", element("h3", name), element("div", *strips, class_="sets"),
                    class_="group")
        )  # fmt: skip
    left = len(found["classes"]) - len(rows)
    if left > 0:
        rows.append(element("p", f"{left:,} more classes are in the folder images/."))
    return rows
