"""The report of `grade`: what recognisers made of an enhancer's pictures, and of others'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fallow.report.develop import beside
from fallow.report.page import Page, join, table
from fallow.report.sections import closing, opening, subtitle


def grade_page(found: Mapping[str, Any]) -> str:
    """One run of `grade` as one HTML text.

    `found` may hold: source, created, enhancer, encoder, headlines, notes, rows, order, samples
    [{path, before, after}], settings.

    >>> "Nothing was judged" in grade_page({})
    True
    """
    page = Page(
        str(found.get("source", "images")),
        subtitle=subtitle(found, "created", "enhancer", "encoder"),
        scripts=["beside.js"],
    )
    page.lead(opening({}, found.get("headlines") or [], found.get("notes") or []))
    for title, key, intro in (
        ("Order", "order", "By LRAP over all recognisers; intervals from pictures drawn again."),
        ("Measures", "rows", "A difference whose interval holds 0 shows nothing."),
    ):
        rows = found.get(key) or []
        made = table(list(rows[0]), [list(row.values()) for row in rows]) if rows else None
        page.section(title, made, intro=intro, empty="Nothing was judged.")
    samples = found.get("samples") or []
    shown = [beside(one["before"], one["after"], str(one["path"])) for one in samples]
    page.section("Before and after", join(shown) if shown else None)
    closing(page, found, found.get("settings"))
    return page.html()
