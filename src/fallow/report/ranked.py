"""The report of `spot --for quality` and `--for tampering`: the first to look at, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fallow.report.atlas import build_atlas
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import closing, file_name, opening

SIDE = 200


def ranked_page(found: Mapping[str, Any]) -> str:
    """One ranking as one HTML text.

    `found` may hold: name, headlines, notes, what, shown [(path, score, JPEG, [JPEG])], tiers,
    settings, problems.

    >>> "of &lt;x&gt;" in ranked_page({"name": "quality of <x>"})
    True
    """
    page = Page(str(found.get("name", "spot")))
    page.lead(opening({}, found.get("headlines", []), found.get("notes", [])))
    shown = found.get("shown") or []
    jpegs = [part for _, _, whole, parts in shown for part in (whole, *parts)]
    atlas = build_atlas(jpegs, {SIDE: range(len(jpegs))})
    rows: list[Html] = []
    place = 0
    for path, score, _, parts in shown:
        pictures = [
            atlas.picture(place + k, f"{path}{', ' * bool(k)}{'part' * bool(k)}", SIDE)
            for k in range(1 + len(parts))
        ]
        place += 1 + len(parts)
        said = element("p", f"{file_name(path)}, {score:.3f}", class_="hint")
        rows.append(element("article", element("div", *pictures, class_="row"), said))
    page.section(
        "First to look at",
        *rows,
        intro=f"Each photo, and beside it {found.get('what', 'what decided')}.",
        empty="There are no photos.",
    )
    tiers = found.get("tiers") or []
    names = list(dict.fromkeys(name for row in tiers for name in row))
    page.section(
        "Beside ratings",
        table(names, [[row.get(name) for name in names] for row in tiers]) if tiers else None,
        intro="Numbers as they are, and after a bend that was fitted to these very ratings.",
        empty="Nothing was rated.",
    )
    closing(page, found, found.get("settings"))
    page.tail(atlas.style())
    return page.html()
