"""The report of `curate --merge`: what several sources say together, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.colours import ramp
from fallow.report.figures import bar_chart
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import closing, opening

CLASSES, PAIRS, RELATIONS = 15, 12, 12  # shown of each


def unified_page(found: Mapping[str, Any]) -> str:
    """One run of `curate --merge` as one HTML text.

    `found` may hold: source, headlines, notes, conflicts, conflict_count, statistics (of
    `annotations.summary`, plain), problems, settings.

    >>> "contradict each other nowhere" in unified_page({})
    True
    """
    said = found.get("statistics") or {}
    page = Page(str(found.get("source", "annotations")), subtitle="annotations of several sources")
    page.lead(opening({}, found.get("headlines") or [], found.get("notes") or []))
    rows = found.get("conflicts") or []
    page.section(
        "Conflicts",
        table(list(rows[0]), [list(row.values()) for row in rows]) if rows else None,
        count=found.get("conflict_count"),
        intro="People count for more than machines, an earlier source for more than a later one.",
        empty="The sources contradict each other nowhere.",
    )
    page.section("Classes", _classes(said.get("classes") or []))
    page.section("Boxes", _boxes(said))
    page.section("Together", _together(said))
    page.section("Who said so", _sources(said.get("sources") or {}))
    closing(page, found, found.get("settings"))
    return page.html()


def _classes(classes: Sequence[Mapping[str, Any]]) -> Html | None:
    if not classes:
        return None
    first = classes[:CLASSES]
    charts = [
        bar_chart({row["name"]: row[what] for row in first}, f"The first classes, {what}")
        for what in ("images", "boxes")
        if any(row[what] for row in first)
    ]
    return element("div", *charts, class_="charts")


def _boxes(said: Mapping[str, Any]) -> Html | None:
    sizes = said.get("box_sizes") or []
    if not said.get("boxes_per_image", {}).get("mean"):
        return None
    steps = {f"{(k + 1) / len(sizes):.1f} of the picture": share for k, share in enumerate(sizes)}
    bits = {f"of {name}": value for name, value in said["entropy"].items()}
    return element(
        "div",
        bar_chart(steps, "Share of boxes whose side is at most"),
        bar_chart(bits, "Entropy", x_label="bits"),
        _centres(said["centres"]),
        class_="charts",
    )


def _centres(shares: Sequence[Sequence[float]]) -> Html:
    """Where boxes have their middle, as a square of heat."""
    most = max(max(row) for row in shares) or 1.0
    side, steps = len(shares), ramp(101)
    cells = [
        element(
            "rect", x=x, y=y, width=1, height=1,
            style=f"fill:{steps[round(100 * shares[y][x] / most)]}",
        )
        for y in range(side)
        for x in range(side)
    ]  # fmt: skip
    picture = element(
        "svg", element("title", "Where boxes have their middle"), *cells,
        viewBox=f"0 0 {side} {side}", role="img", class_="chart", shape_rendering="crispEdges",
    )  # fmt: skip
    return element(
        "figure", element("figcaption", "Where boxes have their middle"), picture, class_="chart"
    )


def _together(said: Mapping[str, Any]) -> Html | None:
    pairs = {" and ".join(row["classes"]): row["images"] for row in said.get("together") or []}
    triplets = {" ".join(row["triplet"]): row["count"] for row in said.get("triplets") or []}
    charts = [
        bar_chart(dict(list(values.items())[:most]), title)
        for values, most, title in (
            (pairs, PAIRS, "Pictures that show both"),
            (triplets, RELATIONS, "Relations"),
        )
        if values
    ]
    return element("div", *charts, class_="charts") if charts else None


def _sources(sources: Mapping[str, Mapping[str, int]]) -> Html | None:
    rows = [[what, who, count] for what, each in sources.items() for who, count in each.items()]
    return table(["of", "said by", "rows"], rows) if rows else None
