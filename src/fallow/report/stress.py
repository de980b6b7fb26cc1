"""The report of `stress`: what fell, by class, the patches, and what the defences give back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fallow.report.figures import bar_chart, contact_sheet, inline_image, line_chart
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import closing, filled, opening

CELL = 128


def stress_page(found: Mapping[str, Any]) -> str:
    """One run of `stress` as one HTML text.

    >>> page = stress_page({"name": "stress of <x>", "headlines": ["fell"], "notes": []})
    >>> "stress of &lt;x&gt;" in page
    True
    """
    page = Page(str(found.get("name", "stress")))
    page.lead(opening({}, found.get("headlines", []), found.get("notes", [])))
    rows = found.get("patches") or []
    page.section(
        "Under a patch",
        bar_chart({row["patch"]: row["accuracy"] for row in rows}, "Share of right answers")
        if rows
        else None,
        table(["patch", "right", "retrieval", "nearest is right", "answers changed"],
              [list(row.values()) for row in rows]) if rows else None,
        intro="The same square on every picture. The classifier and the search were built on clean "
        "pictures, and no patch was learnt from them. Plain squares are the floor.",
        empty="Nothing was tried.",
    )  # fmt: skip
    page.section("Pictures", *_pictures(found), empty="There are no pictures.")
    falls = (found.get("by class") or {}).get(found.get("strongest"), {})
    ordered = sorted(falls.items(), key=lambda pair: pair[1][1] - pair[1][0])
    page.section(
        "Class by class",
        table(["class", "right without", "right with", "fall"],
              [[name, a, b, a - b] for name, (a, b) in ordered]) if falls else None,
        intro=f"Under the {found.get('strongest')} patch, the deepest fall first.",
        empty="No classes.",
    )  # fmt: skip
    defences = found.get("defences") or []
    where = found.get("located")
    page.section(
        "Defences",
        table(list(defences[0]), [list(row.values()) for row in defences]) if defences else None,
        element("p", f"Covering parts of the picture one after the other finds the patch in "
                     f"{where:.0%} of the pictures.") if where is not None else None,
        intro="What each gives back under the strongest patch, and what it costs without one.",
        empty="None was tried.",
    )  # fmt: skip
    history = found.get("history") or []
    curve = ([row["epoch"] for row in history], [row["away"] for row in history])
    page.section(
        "Search",
        line_chart({"away": curve}, "Objective of the generator", x_label="epoch")
        if history
        else None,
        empty="No patch was learnt.",
    )
    page.section("Area", filled({"share of the picture": found.get("area")}))
    closing(page, found, found.get("settings"))
    return page.html()


def _pictures(found: Mapping[str, Any]) -> list[Html]:
    before, after = found.get("pictures") or ((), ())
    if not len(before):
        return []
    sheet = contact_sheet([*before, *after], columns=len(before), cell=CELL)
    patches = found.get("patches shown") or {}
    squares = contact_sheet(list(patches.values()), columns=len(patches), cell=CELL)
    return [
        inline_image(sheet, "pictures without and with the strongest patch", quality=90),
        element("p", "Patches: " + ", ".join(patches)),
        inline_image(squares, "the patches", quality=90),
    ]
