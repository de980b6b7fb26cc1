"""The report of `discover`: new groups to name, images that could go either way, and the count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import Atlas, build_atlas
from fallow.report.confusion import confusion_chart, mixed_up
from fallow.report.page import Html, Page, element, table, tiles
from fallow.report.sections import closing, group, opening, row, subtitle

SIDE = 96
CARDS = 80  # groups with pictures; the others are named in the table of all groups


def discover_page(found: Mapping[str, Any]) -> str:
    """One run of `discover` as one HTML text.

    `found` may hold: source, created, headlines, notes, images, labelled, classes, known_classes,
    new_classes, interval, counted, starts, groups [{name, new, images, labelled, confidence,
    shown [row], doubt [{row, group, confidence, second, second_confidence}]}], either [as doubt],
    unsure, paths, pictures (rows, side) -> JPEG bytes, accuracy, judged, true_classes, confusion,
    problems, settings, method, mode, encoder, seconds.

    >>> page = discover_page({"groups": [{"name": "a<b", "new": True, "images": 3}]})
    >>> "a&lt;b" in page and "Nothing was judged" in page
    True
    """
    groups: Sequence[Mapping[str, Any]] = found.get("groups", [])
    new = [one for one in groups if one.get("new")]
    old = [one for one in groups if not one.get("new")]
    either: Sequence[Mapping[str, Any]] = found.get("either", [])
    seen = _Seen(found, [*new[:CARDS], *old[:CARDS], {"doubt": either}])
    page = Page(
        str(found.get("source", "images")), subtitle=subtitle(found, "created", "method", "encoder")
    )
    low, high = found.get("interval", (0, 0))
    numbers = {
        "classes": found.get("classes", len(groups)),
        "likely" if found.get("counted") else "from_other_starts": (
            f"{low} to {high}" if low < high else None
        ),
        "new": len(new),
        "images_sorted": found.get("images", 0) - found.get("labelled", 0),
        "either_way": found.get("unsure", 0),
    }
    page.lead(opening(numbers, found.get("headlines", [])[:3], found.get("notes") or []))
    page.section(
        "New groups",
        *(_group(seen, one) for one in new[:CARDS]),
        count=len(new),
        intro="No label names these. The surest images come first; below them, those that might "
        "belong elsewhere. To keep a group, give it a name: fallow discover RUN "
        '--accept "new 1=oak" writes labels.csv for the next round.',
        empty="No new group was found: everything looks like one of the known classes.",
    )
    page.section(
        "Either way",
        element("div", *map(seen.doubtful, either), class_="tiles") if either else None,
        count=found.get("unsure") or None,
        intro="The images whose first and second choice are closest. A label here helps most.",
        empty="Every image clearly belongs to its group.",
    )
    page.section(
        "Known classes",
        *(_group(seen, one) for one in old[:CARDS]),
        count=len(old),
        intro="Unlabelled images that were put into a class with labels.",
        empty="There are no known classes.",
    )
    page.section("How many classes", *_counting(found), empty="There are no groups.")
    page.section(
        "Against the truth",
        *_judged(found),
        intro=f"{found.get('judged', 0):,} unlabelled images whose class is known, matched once "
        f"over all groups. In truth they and the labelled ones have {found.get('true_classes')} "
        f"classes; the estimate is {numbers['classes']}. The truth was used here only.",
        empty="Nothing was judged: the truth about the unlabelled images is not known.",
    )
    named = {name: found.get(name) for name in ("method", "mode", "encoder", "seed", "seconds")}
    closing(page, found, named | dict(found.get("settings") or {}))
    page.tail(seen.atlas.style())
    return page.html()


class _Seen:
    """The pictures of all rows that some groups show."""

    def __init__(self, found: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> None:
        rows = [
            one
            for each in groups
            for one in (*each.get("shown", []), *(doubt["row"] for doubt in each.get("doubt", [])))
        ]
        self.places = {one: place for place, one in enumerate(dict.fromkeys(rows))}
        read = found.get("pictures")
        pictures = list(read(list(self.places), SIDE)) if read is not None else []
        self.atlas: Atlas = build_atlas(pictures, {SIDE: range(len(pictures))})
        self.paths: Sequence[str] = found.get("paths", [])

    def tile(self, one: int, *said: object) -> Html:
        path = self.paths[one] if one < len(self.paths) else str(one)
        picture = self.atlas.picture(self.places.get(one, -1), path, SIDE)
        return element("span", picture, *said, class_="tile", title=path)

    def doubtful(self, one: Mapping[str, Any]) -> Html:
        return self.tile(
            one["row"],
            element("span", f"{one['group']} {one['confidence']:.0%}", class_="name"),
            element("span", f"or {one['second']} {one['second_confidence']:.0%}", class_="note"),
        )


def _group(seen: _Seen, one: Mapping[str, Any]) -> Html:
    new, count, given = one.get("new"), int(one.get("images", 0)), int(one.get("labelled", 0))
    images = "image" if count == 1 else "images"
    lines = [f"{count:,} {images}" if new else f"{given:,} labelled, {count - given:,} sorted here"]
    if one.get("confidence") is not None:
        lines.append(f"{one['confidence']:.0%} sure on average")
    button = element("button", "Copy the command that names it", type="button",
                     data_copy=f'--accept "{one["name"]}="')  # fmt: skip
    doubt = one.get("doubt", [])
    return group(
        str(one["name"]),
        lines,
        row([seen.tile(each) for each in one.get("shown", [])]),
        element("p", "Unsure:", class_="sub") if doubt else None,
        row([seen.doubtful(each) for each in doubt]),
        more=button if new else None,
    )


def _counting(found: Mapping[str, Any]) -> list[Html]:
    """Every start and where it ended, and every group and its size."""
    groups: Sequence[Mapping[str, Any]] = found.get("groups", [])
    starts = [str(count) for count in found.get("starts") or []]
    if not groups:
        return []
    rows = [
        [one["name"], "new" if one.get("new") else "known",
         *(one.get(name) for name in ("images", "labelled", "confidence"))]
        for one in groups
    ]  # fmt: skip
    low, high = found.get("interval", (0, 0))
    if found.get("counted"):
        said = (
            f"The known classes say how near images of one class are and how large a class is; "
            f"from that there are {found.get('classes', len(groups))} classes. On collections "
            f"whose truth is known, a range as that from {low} to {high} held it eight times of "
            "ten."
        )
    elif len(starts) > 1:
        said = (
            f"The starts ended with {', '.join(starts)} classes; the estimate is "
            f"{found.get('classes', len(groups))}."
        )
    else:
        said = "The number of classes was given or searched for once."
    every = table(["group", "", "images", "labelled", "mean chance"], rows)
    summary = element("summary", f"All {len(groups):,} groups")
    return [element("p", said), element("details", summary, every)]


def _judged(found: Mapping[str, Any]) -> list[Html]:
    confusion, accuracy = found.get("confusion"), found.get("accuracy")
    if not confusion or not accuracy:
        return []
    mixed = mixed_up(confusion)
    shown = [
        tiles({name: value for name, value in accuracy.items() if value == value}),
        confusion_chart(confusion),
    ]
    header = ["images", "are", "were put into", "which stands for"]
    return [*shown, *([table(header, mixed)] if mixed else [])]
