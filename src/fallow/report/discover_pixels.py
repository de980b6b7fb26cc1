"""The report of `discover` for pixels: classes and groups, what stands for them, coloured maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.colours import palette
from fallow.report.atlas import Atlas, build_atlas
from fallow.report.page import Html, Page, element, join, table
from fallow.report.sections import closing, group, opening, row, subtitle

MAPS = 24  # images shown beside their maps
MAP_SIDE, REGION_SIDE = 320, 96


def discover_pixels_page(found: Mapping[str, Any]) -> str:
    """One run of `discover` for pixels as one HTML text.

    `found` may hold: source, created, encoder, headlines, notes [sentence], counts, classes
    [{number, value, name, known, regions, pixels, images, agreement}], pictures (count, side) ->
    (path, picture, map), examples (side) -> (name, [picture]), measured, problems, settings.

    >>> one = {"number": 0, "value": 4, "name": "ro<ad", "known": True, "regions": 3, "pixels": 9}
    >>> page = discover_pixels_page({"classes": [one | {"images": 1, "agreement": 0.5}]})
    >>> "ro&lt;ad" in page and "Nothing was measured" in page
    True
    """
    page = Page(str(found.get("source", "images")), subtitle=subtitle(found, "created", "encoder"))
    notes = found.get("notes") or []
    lines = [line for line in found.get("headlines", []) if line not in notes]
    page.lead(opening(found.get("counts") or {}, lines, notes))
    pictures = list(found["pictures"](MAPS, MAP_SIDE)) if found.get("pictures") else []
    examples = list(found["examples"](REGION_SIDE)) if found.get("examples") else []
    every = [one for _, *pair in pictures for one in pair]
    wide = len(every)
    every += [one for _, some in examples for one in some]
    atlas = build_atlas(every, {MAP_SIDE: range(wide), REGION_SIDE: range(wide, len(every))})
    classes: Sequence[Mapping[str, Any]] = found.get("classes", [])
    measured: Mapping[str, Any] = found.get("measured") or {}
    page.section(
        "Classes",
        _classes(classes),
        intro="Agreement is the share of a region's most similar regions that were sorted like it.",
        empty="There are no classes.",
    )
    rows = _rows(atlas, wide, examples)
    unsure = rows.pop("unsure", None)
    new = [one for one in classes if not one["known"] and one["name"] in rows]
    groups = [_group(one, rows[one["name"]], len(classes)) for one in new]
    page.section(
        "New groups",
        *groups,
        intro="Large regions whose neighbours agree. Two groups may be parts of one class: give "
        "them the same name.",
        empty="No group was formed: nothing is new at this threshold.",
        count=len(groups) or None,
    )
    page.section(
        "Could go either way",
        unsure,
        intro="The largest regions whose neighbours were mostly sorted otherwise.",
        empty="The neighbours of every region mostly agree.",
    )
    page.section(
        "Maps",
        *(_map(atlas, k, path) for k, (path, *_) in enumerate(pictures)),
        empty="No image was sorted.",
        count=len(pictures) or None,
    )
    page.section(
        "Measures",
        *_measures(measured),
        intro="New groups were matched to new classes only, one to one; a group without a match "
        "is wrong everywhere. IoU over images is the mean over the images that hold a class.",
        empty="Nothing was measured: no masks of all classes were given.",
    )
    page.section(
        "What they hold",
        _confusion(measured, classes),
        intro="Of the pixels of each class and group, the share that truly is of each class.",
        empty="This can be said only where masks of all classes are given.",
    )
    settings = {
        **{k: found.get(k) for k in ("method", "threshold", "encoder", "seconds", "seed")},
        **{k: v for k, v in found.get("settings", {}).items() if v is not None},
        **{f"regions {k}": v for k, v in found.get("regions", {}).items()},
        **{f"segmenter {k}": v for k, v in (found.get("segmenter") or {}).items()},
    }
    closing(page, found, settings)
    page.tail(atlas.style())
    return page.html()


def _swatch(number: int, count: int) -> Html:
    return element("span", class_="swatch", style=f"background:{palette(count)[number]}")


def _classes(classes: Sequence[Mapping[str, Any]]) -> Html | None:
    total = max(1, sum(one["pixels"] for one in classes))
    rows = [
        [
            join([_swatch(one["number"], len(classes)), str(one["name"])]),
            "known" if one["known"] else "new",
            *(int(one[name]) for name in ("value", "regions", "images")),
            f"{one['pixels'] / total:.1%}",
            one["agreement"],
        ]
        for one in classes
    ]
    header = ["class", "kind", "value in maps", "regions", "images", "pixels", "agreement"]
    return table(header, rows) if rows else None


def _rows(
    atlas: Atlas, first: int, examples: Sequence[tuple[str, Sequence[bytes]]]
) -> dict[str, Html | None]:
    """The pictures of each group, which lie in the atlas one after another."""
    rows = {}
    for name, some in examples:
        pictures = [
            atlas.picture(first + k, f"a region of {name}", REGION_SIDE) for k in range(len(some))
        ]
        rows[name] = row([element("div", one, class_="tile") for one in pictures])
        first += len(some)
    return rows


def _group(one: Mapping[str, Any], pictures: Html | None, count: int) -> Html:
    title = join([_swatch(one["number"], count), str(one["name"])])
    lines = [f"{one['regions']:,} regions in {one['images']:,} images"]
    return group(title, lines, pictures)


def _map(atlas: Atlas, index: int, path: str) -> Html:
    picture = atlas.picture(2 * index, path, MAP_SIDE)
    laid = atlas.picture(2 * index + 1, f"classes in {path}", MAP_SIDE)
    return element("article", row([picture, laid]), element("p", path), class_="set")


def _measures(measured: Mapping[str, Any]) -> list[Html]:
    maps: Mapping[str, Any] = measured.get("maps", {})
    rows = [
        [kind, over, *(values[over][part] for part in ("all", "known", "new"))]
        for kind, values in maps.items()
        for over in ("dataset", "image")
    ]
    each = [[name, *(values["class"][name] for values in maps.values())]
            for name in measured.get("classes", [])]  # fmt: skip
    if not rows:
        return []
    caption = "IoU of each class over the whole data set"
    return [
        table(["maps", "IoU over", "all", "known", "new"], rows),
        table(["class", *maps], each, caption=caption),
    ]


def _confusion(measured: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]) -> Html | None:
    names, rows = list(measured.get("classes", [])), []
    for one, counts in zip(classes, measured.get("confusion", []), strict=False):
        stands = measured.get("matched", {}).get(one["number"], -1)
        meant = "" if one["known"] else names[stands] if stands >= 0 else "unmatched"
        shares = (f"{count / sum(counts):.0%}" if count else "" for count in counts)
        rows.append([one["name"], meant, *shares])
    return table(["sorted as", "matched with", *names], rows) if rows else None
