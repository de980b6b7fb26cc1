"""The report of `discover` for pixels: classes and groups, what stands for them, coloured maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.colours import palette
from fallow.report.atlas import Atlas, build_atlas
from fallow.report.page import (
    Html,
    Page,
    bullets,
    element,
    facts,
    join,
    paragraphs,
    table,
    tiles,
)

MAPS = 24  # images shown beside their maps
MAP_SIDE, REGION_SIDE = 320, 96


def discover_pixels_page(found: Mapping[str, Any]) -> str:
    """One run of `discover` for pixels as one HTML text.

    `found` may hold: source, created, encoder, headlines, notes [sentence], counts, classes
    [{number, value, name, known, regions, pixels, images, agreement}], pictures (count, side) ->
    (path, picture, map), examples (side) -> (name, [picture]), measured, problems, settings.

    >>> one = {
    ...     "number": 0,
    ...     "value": 4,
    ...     "name": "ro<ad",
    ...     "known": True,
    ...     "regions": 3,
    ...     "pixels": 9,
    ...     "images": 1,
    ...     "agreement": 0.5,
    ... }
    >>> page = discover_pixels_page({"classes": [one]})
    >>> "ro&lt;ad" in page and "Nothing was measured" in page
    True
    """
    page = Page(str(found.get("source", "images")), subtitle=_subtitle(found))
    page.lead(
        tiles(found["counts"]) if found.get("counts") else None,
        bullets(_headlines(found), class_="findings"),
        element("div", paragraphs(found["notes"]), class_="notice", role="note")
        if found.get("notes")
        else None,
    )
    pictures = list(found["pictures"](MAPS, MAP_SIDE)) if callable(found.get("pictures")) else []
    groups = list(found["examples"](REGION_SIDE)) if callable(found.get("examples")) else []
    thumbnails = [jpeg for _, picture, laid in pictures for jpeg in (picture, laid)]
    wide = len(thumbnails)
    thumbnails += [jpeg for _, some in groups for jpeg in some]
    atlas = build_atlas(
        thumbnails, {MAP_SIDE: range(wide), REGION_SIDE: range(wide, len(thumbnails))}
    )
    classes: Sequence[Mapping[str, Any]] = found.get("classes", [])
    _classes(page, classes)
    _groups(page, groups, classes, atlas, wide)
    _maps(page, pictures, atlas)
    _measures(page, found.get("measured") or {})
    _confusion(page, found.get("measured") or {}, classes)
    page.unreadable(found.get("problems") or [])
    settings = {
        **{
            k: found[k] for k in ("method", "threshold", "encoder", "seconds", "seed") if k in found
        },
        **{k: v for k, v in found.get("settings", {}).items() if v is not None},
        **{f"regions {k}": v for k, v in found.get("regions", {}).items()},
        **{f"segmenter {k}": v for k, v in (found.get("segmenter") or {}).items()},
    }
    page.section(
        "Settings",
        facts(settings) if settings else None,
        empty="Everything ran with the defaults.",
    )
    page.tail(atlas.style())
    return page.html()


def _subtitle(found: Mapping[str, Any]) -> str:
    return ", ".join(str(found[k]) for k in ("created", "encoder") if found.get(k))


def _headlines(found: Mapping[str, Any]) -> list[str]:
    said = set(found.get("notes", []))
    return [line for line in found.get("headlines", []) if line not in said]


def _swatch(number: int, count: int) -> Html:
    round_ = "display:inline-block;width:11px;height:11px;border-radius:50%;margin-right:8px"
    return element("span", style=f"{round_};background:{palette(count)[number]}")


def _classes(page: Page, classes: Sequence[Mapping[str, Any]]) -> None:
    total = max(1, sum(one["pixels"] for one in classes))
    rows = [
        [
            join([_swatch(int(one["number"]), len(classes)), str(one["name"])]),
            "known" if one["known"] else "new",
            int(one["value"]),
            int(one["regions"]),
            int(one["images"]),
            f"{one['pixels'] / total:.1%}",
            one["agreement"],
        ]
        for one in classes
    ]
    header = ["class", "kind", "value in maps", "regions", "images", "pixels", "agreement"]
    page.section(
        "Classes",
        table(header, rows) if rows else None,
        intro="Agreement is the share of a region's most similar regions that were sorted like it.",
        empty="There are no classes.",
    )


def _groups(
    page: Page,
    groups: Sequence[tuple[str, Sequence[bytes]]],
    classes: Sequence[Mapping[str, Any]],
    atlas: Atlas,
    first: int,
) -> None:
    numbers = {one["name"]: one for one in classes}
    shown: list[object] = []
    unsure: Html | None = None
    place = first
    for name, some in groups:
        row = element(
            "div",
            *(
                element("div", atlas.picture(place + k, f"a region of {name}", REGION_SIDE),
                        class_="tile")
                for k in range(len(some))
            ),
            class_="row",
        )  # fmt: skip
        place += len(some)
        if name == "unsure":
            unsure = row if some else None
            continue
        one = numbers[name]
        about = element(
            "div",
            element("h3", _swatch(one["number"], len(classes)), name),
            element("p", f"{one['regions']:,} regions in {one['images']:,} images"),
        )
        shown.append(element("div", about, row, class_="group"))
    page.section(
        "New groups",
        *(shown or [None]),
        intro="Large regions whose neighbours agree. Two groups may be parts of one class: give "
        "them the same name.",
        empty="No group was formed: nothing is new at this threshold.",
        count=len(shown) or None,
    )
    page.section(
        "Could go either way",
        unsure,
        intro="The largest regions whose neighbours were mostly sorted otherwise.",
        empty="The neighbours of every region mostly agree.",
    )


def _maps(page: Page, pictures: Sequence[tuple[str, bytes, bytes]], atlas: Atlas) -> None:
    cards: list[object] = [
        element(
            "article",
            element(
                "div",
                atlas.picture(2 * k, path, MAP_SIDE),
                atlas.picture(2 * k + 1, f"classes in {path}", MAP_SIDE),
                class_="row",
            ),
            element("p", path),
            class_="set",
        )
        for k, (path, _, _) in enumerate(pictures)
    ]
    page.section("Maps", *(cards or [None]), empty="No image was sorted.", count=len(cards) or None)


def _confusion(
    page: Page, measured: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]
) -> None:
    rows = []
    names = list(measured.get("classes", []))
    for one, counts in zip(classes, measured.get("confusion", []), strict=False):
        total = sum(counts)
        stands = measured.get("matched", {}).get(one["number"], -1)
        rows.append(
            [
                one["name"],
                "" if one["known"] else names[stands] if stands >= 0 else "unmatched",
                *(f"{count / total:.0%}" if count else "" for count in counts),
            ]
        )
    page.section(
        "What they hold",
        table(["sorted as", "matched with", *names], rows) if rows else None,
        intro="Of the pixels of each class and group, the share that truly is of each class.",
        empty="This can be said only where masks of all classes are given.",
    )


def _measures(page: Page, measured: Mapping[str, Any]) -> None:
    maps: Mapping[str, Any] = measured.get("maps", {})
    rows = [
        [kind, over, *(values[over][part] for part in ("all", "known", "new"))]
        for kind, values in maps.items()
        for over in ("dataset", "image")
    ]
    each = [
        [name, *(values["class"][name] for values in maps.values())]
        for name in measured.get("classes", [])
    ]
    page.section(
        "Measures",
        table(["maps", "IoU over", "all", "known", "new"], rows) if rows else None,
        table(["class", *maps], each, caption="IoU of each class over the whole data set")
        if each
        else None,
        intro="New groups were matched to new classes only, one to one; a group without a match "
        "is wrong everywhere. IoU over images is the mean over the images that hold a class.",
        empty="Nothing was measured: no masks of all classes were given.",
    )
