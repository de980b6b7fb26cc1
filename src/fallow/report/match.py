"""The reports of `match`: pieces laid together, or photos found by a sketch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallow.report.figures import inline_image, line_chart
from fallow.report.page import Html, Page, element, table
from fallow.report.sections import closing, opening, subtitle

PAPER = np.array([236, 234, 228])  # what lies below what is clear
LARGE, SMALL, SHOWN = 900, 150, 24


def pieces_page(found: Mapping[str, Any]) -> str:
    """One run of `match` on pieces as one HTML text.

    `found` may hold: source, created, pieces, laid, groups, joins, items, headlines, notes,
    problems, settings; assembled(longest) -> pictures with opacity, matched(count, longest) ->
    (name, picture), seen(piece, longest) -> picture.

    >>> "No pieces fit" in pieces_page({"pieces": 2})
    True
    """
    page = Page(str(found.get("source", "pieces")), subtitle=subtitle(found, "created", "learnt"))
    groups: Sequence[Mapping[str, Any]] = found.get("groups", [])
    numbers = {
        "pieces": found.get("pieces", 0),
        "groups": len(groups),
        "laid": found.get("laid", 0),
    }
    page.lead(opening(numbers, found.get("headlines", [])[1:4], found.get("notes") or []))
    made = found["assembled"](LARGE) if found.get("assembled") else []
    page.section(
        "Groups",
        *(
            _group(k, one, shown)
            for k, (one, shown) in enumerate(zip(groups, made, strict=True), 1)
        ),
        intro="Pieces that fit, laid together. Each group is a PNG at full size in groups/.",
        empty="No pieces fit together.",
        count=len(groups) or None,
    )
    matched = found["matched"](SHOWN, 420) if found.get("matched") else []
    page.section(
        "Matches",
        _row([element("figure", _on_paper(shown, name), element("figcaption", name), class_="tile")
              for name, shown in matched], 330),
        intro="The surest pairs, with lines between some of the points that met.",
        empty="No two outlines met.",
    )  # fmt: skip
    joins: Sequence[Mapping[str, Any]] = found.get("joins", [])
    page.section(
        "Joins",
        _joins(joins) if joins else None,
        intro="Lengths in pixels of the pieces; held: part of a group. The rest is in joins.csv.",
        empty="There are none.",
        count=len(joins) or None,
    )
    items: Sequence[Mapping[str, Any]] = found.get("items", [])
    page.section(
        "Neighbours",
        *(_neighbours(k, items, found["seen"]) for k in range(min(SHOWN, len(items))))
        if items and found.get("seen")
        else (),
        intro="Each piece and those most like neighbours of it, whether they fit or not.",
        empty="Nothing is known of the pieces.",
    )
    closing(page, found, {"scale": found.get("scale"), **found.get("settings", {})})
    return page.html()


def _group(number: int, group: Mapping[str, Any], shown: np.ndarray) -> Html:
    names = group["pieces"]
    said = (
        f"Group {number}: {len(names)} pieces, {group['overlap']:.1%} on each other, "
        f"{group['gap']:.1f} pixels between them"
    )
    return element(
        "figure", _on_paper(shown, said), element("figcaption", said), style="margin:0 0 28px"
    )


def _on_paper(shown: np.ndarray, alt: str) -> Html:
    """A picture with opacity, on plain paper."""
    share = shown[..., 3:] / 255
    flat = np.rint(shown[..., :3] * share + PAPER * (1 - share)).astype(np.uint8)
    return inline_image(flat, alt, quality=88)


def _row(tiles: Sequence[Html], width: int) -> Html | None:
    if not tiles:
        return None
    style = f"display:grid;gap:18px;grid-template-columns:repeat(auto-fill,minmax({width}px,1fr))"
    return element("div", *tiles, style=style)


def _joins(joins: Sequence[Mapping[str, Any]]) -> Html:
    header = ["piece", "other", "score", "touching", "gap", "overlap", "turn", "held"]
    rows = [
        [j["piece"], j["other"], round(j["score"], 1), round(j["touching"]), round(j["gap"], 2),
         f"{j['overlap']:.1%}", f"{j['turn']:.1f}°", j["held"]]
        for j in joins[:60]
    ]  # fmt: skip
    return table(header, rows)


def _neighbours(place: int, items: Sequence[Mapping[str, Any]], seen: Any) -> Html:
    """A piece beside its likeliest neighbours."""
    where = {item["piece"]: k for k, item in enumerate(items)}
    item = items[place]
    shown = [_tile(seen, place, item["piece"], f"group {item['group'] or '–'}")]
    shown += [
        _tile(seen, where[name], name, f"{likeness:.2f}")
        for name, likeness in list(zip(item["neighbours"], item["likeness"], strict=True))[:5]
    ]
    style = "display:flex;gap:16px;flex-wrap:wrap;margin:0 0 14px"
    return element("div", *shown, style=style)


def _tile(seen: Any, piece: int, name: str, said: str) -> Html:
    return element(
        "figure",
        _on_paper(seen(piece, SMALL), name),
        element("figcaption", f"{name}, {said}"),
        style="margin:0;max-width:150px;overflow-wrap:anywhere",
    )


def sketches_page(found: Mapping[str, Any]) -> str:
    """One run of `match` with sketches as one HTML text.

    `found` may hold: source, created, encoder, photos, items [{sketch, rank, row, path, distance}],
    found {sketch: ranks while drawn}, measured, headlines, notes, problems, settings;
    drawn(sketch) -> picture, photo(row, longest) -> picture.

    >>> "No sketch was asked about" in sketches_page({})
    True
    """
    page = Page(str(found.get("source", "photos")), subtitle=subtitle(found, "created", "encoder"))
    items: Sequence[Mapping[str, Any]] = found.get("items", [])
    names = list(dict.fromkeys(str(item["sketch"]) for item in items))
    numbers = {"photos": found.get("photos", 0), "sketches": len(names)}
    page.lead(opening(numbers, found.get("headlines", []), found.get("notes") or []))
    page.section(
        "Found",
        *(_sketch(name, [i for i in items if i["sketch"] == name], found) for name in names),
        intro="Each sketch, and the photos nearest to it.",
        empty="No sketch was asked about.",
    )
    curves = {
        name: ([100 * (k + 1) / len(ranks) for k, r in enumerate(ranks) if r],
               [float(r) for r in ranks if r])
        for name, ranks in found.get("found", {}).items()
    }  # fmt: skip
    page.section(
        "While it was drawn",
        line_chart(
            curves, "Rank of the photo that is first in the end", x_label="% of the points drawn",
            y_label="rank", include=(1,),
        )
        if curves
        else None,
        intro="Where nothing is drawn in the chart, the photo was not among those listed yet.",
        empty="No sketch was asked about.",
    )  # fmt: skip
    measured = found.get("measured")
    page.section(
        "Measured",
        table(list(measured), [list(measured.values())]) if measured else None,
        intro="Known sketches that were not learnt from; photos as near as the right one count "
        "as before it.",
        empty="Nothing was measured: too few photos were drawn to keep some aside.",
    )
    closing(page, found, found.get("settings"))
    return page.html()


def _sketch(name: str, items: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> Html:
    drawing = np.repeat(found["drawn"](name)[..., None], 3, 2)
    shown = [_photo(drawing, name, "drawn")]
    shown += [
        _photo(found["photo"](int(i["row"]), 2 * SMALL), str(i["path"]),
               f"{i['rank']}: {i['distance']:.3f}")
        for i in items
    ]  # fmt: skip
    style = "display:flex;gap:16px;flex-wrap:wrap;margin:0 0 22px"
    return element("div", *shown, style=style)


def _photo(pixels: np.ndarray, name: str, said: str) -> Html:
    return element(
        "figure",
        inline_image(pixels, name),
        element("figcaption", f"{said}, {name}"),
        style="margin:0;width:150px;overflow-wrap:anywhere",
    )
