"""The report of `discover`: new groups to name, images that could go either way, and the count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.atlas import Atlas, build_atlas
from fallow.report.page import (
    Html,
    Page,
    element,
    join,
    paragraphs,
    show,
    table,
    tiles,
)
from fallow.report.sections import closing, opening

SIDE = 96
CARDS = 80  # groups with pictures; the others are named in the table of all groups
CELLS = 150  # classes a side of the confusion picture


def discover_page(found: Mapping[str, Any]) -> str:
    """One run of `discover` as one HTML text.

    `found` may hold: source, created, headlines, notes, images, labelled, classes, known_classes,
    new_classes, interval, starts, groups [{name, new, images, labelled, confidence, shown [row],
    doubt [{row, group, confidence, second, second_confidence}]}], either [as doubt], unsure,
    paths, pictures (rows, side) -> JPEG bytes, accuracy, judged, true_classes, confusion,
    problems, settings, method, mode, encoder, seconds.

    >>> page = discover_page({"groups": [{"name": "a<b", "new": True, "images": 3}]})
    >>> "a&lt;b" in page and "Nothing was judged" in page
    True
    """
    groups: Sequence[Mapping[str, Any]] = found.get("groups", [])
    new = [group for group in groups if group.get("new")]
    old = [group for group in groups if not group.get("new")]
    either: Sequence[Mapping[str, Any]] = found.get("either", [])
    wanted = [row for group in [*new[:CARDS], *old[:CARDS]] for row in _rows(group)]
    wanted = list(dict.fromkeys([*wanted, *(one["row"] for one in either)]))
    pictures = list(found["pictures"](wanted, SIDE)) if callable(found.get("pictures")) else []
    atlas = build_atlas(pictures, {SIDE: range(len(pictures))})
    seen = _Seen(atlas, {row: place for place, row in enumerate(wanted)}, found.get("paths", []))
    page = Page(str(found.get("source", "images")), subtitle=_subtitle(found))
    low, high = found.get("interval", (0, 0))
    numbers = {
        "classes": found.get("classes", len(groups)),
        "from_other_starts": f"{low} to {high}" if low < high else None,
        "new": len(new),
        "images_sorted": found.get("images", 0) - found.get("labelled", 0),
        "either_way": found.get("unsure", 0),
    }
    page.lead(opening(numbers, found.get("headlines", [])[:3], found.get("notes") or []))
    page.section(
        "New groups",
        *(_group(seen, group) for group in new[:CARDS]),
        count=len(new),
        intro="No label names these. The surest images come first; below them, those that might "
        "belong elsewhere. To keep a group, give it a name: fallow discover RUN "
        '--accept "new 1=oak" writes labels.csv for the next round.',
        empty="No new group was found: everything looks like one of the known classes.",
    )
    page.section(
        "Either way",
        element("div", *(_doubtful(seen, one) for one in either), class_="tiles")
        if either
        else None,
        count=found.get("unsure") or None,
        intro="The images whose first and second choice are closest. A label here helps most.",
        empty="Every image clearly belongs to its group.",
    )
    page.section(
        "Known classes",
        *(_group(seen, group) for group in old[:CARDS]),
        count=len(old),
        intro="Unlabelled images that were put into a class with labels.",
        empty="There are no known classes.",
    )
    _counting(page, found)
    _judged(page, found)
    about = {k: found.get(k) for k in ("method", "mode", "encoder", "seed", "seconds")}
    closing(page, found, {**about, **(found.get("settings") or {})})
    page.tail(atlas.style())
    return page.html()


class _Seen:
    """The pictures of some rows."""

    def __init__(self, atlas: Atlas, places: Mapping[int, int], paths: Sequence[str]) -> None:
        self.atlas, self.places, self.paths = atlas, places, paths

    def path(self, row: int) -> str:
        return self.paths[row] if row < len(self.paths) else str(row)

    def tile(self, row: int, *said: object) -> Html:
        path = self.path(row)
        picture = self.atlas.picture(self.places.get(row, -1), path, SIDE)
        return element("span", picture, *said, class_="tile", title=path)


def _rows(group: Mapping[str, Any]) -> list[int]:
    return [*group.get("shown", []), *(one["row"] for one in group.get("doubt", []))]


def _subtitle(found: Mapping[str, Any]) -> str:
    parts = [found.get("created"), found.get("method"), found.get("encoder")]
    return ", ".join(str(part) for part in parts if part)


def _group(seen: _Seen, group: Mapping[str, Any]) -> Html:
    name, count = str(group["name"]), int(group.get("images", 0))
    sorted_here = count - int(group.get("labelled", 0))
    lines = [f"{count:,} images" if group.get("new") else
             f"{group.get('labelled', 0):,} labelled, {sorted_here:,} sorted here"]  # fmt: skip
    if group.get("confidence") is not None:
        lines.append(f"{group['confidence']:.0%} sure on average")
    button = element("button", "Copy the command that names it", type="button",
                     data_copy=f'--accept "{name}="')  # fmt: skip
    doubt = group.get("doubt", [])
    return element(
        "article",
        element(
            "div",
            element("h3", name),
            *(element("p", line) for line in lines),
            button if group.get("new") else None,
        ),
        element(
            "div",
            element("div", *(seen.tile(row) for row in group.get("shown", [])), class_="row"),
            element("p", "Unsure:", class_="sub") if doubt else None,
            element("div", *(_doubtful(seen, one) for one in doubt), class_="row")
            if doubt
            else None,
        ),
        class_="group",
    )


def _doubtful(seen: _Seen, one: Mapping[str, Any]) -> Html:
    return seen.tile(
        one["row"],
        element("span", f"{one['group']} {one['confidence']:.0%}", class_="name"),
        element("span", f"or {one['second']} {one['second_confidence']:.0%}", class_="note"),
    )


def _counting(page: Page, found: Mapping[str, Any]) -> None:
    """Every start and where it ended, and every group and its size."""
    groups: Sequence[Mapping[str, Any]] = found.get("groups", [])
    starts = found.get("starts") or []
    rows = [
        [g["name"], "new" if g.get("new") else "known", g.get("images"), g.get("labelled"),
         g.get("confidence")]
        for g in groups
    ]  # fmt: skip
    page.section(
        "How many classes",
        paragraphs(
            [
                f"The starts ended with {', '.join(str(count) for count in starts)} classes; the "
                f"estimate is {found.get('classes', len(groups))}."
                if len(starts) > 1
                else "The number of classes was given or searched for once."
            ]
        )
        if groups
        else None,
        element(
            "details",
            element("summary", f"All {len(groups):,} groups"),
            table(["group", "", "images", "labelled", "mean chance"], rows),
        )
        if groups
        else None,
        empty="There are no groups.",
    )


def _judged(page: Page, found: Mapping[str, Any]) -> None:
    confusion, accuracy = found.get("confusion"), found.get("accuracy")
    if not confusion or not accuracy:
        page.section(
            "Against the truth",
            empty="Nothing was judged: the truth about the unlabelled images is not known.",
        )
        return
    truth, groups = confusion["truth"], confusion["groups"]
    counts, matched = confusion["counts"], confusion["matched"]
    # every group at the place of the class it stands for, the others behind
    order = sorted(range(len(groups)), key=lambda k: (matched[k] is None, matched[k] or 0, k))
    sizes = [max(1, sum(row)) for row in counts]
    mixed = sorted(
        (
            (
                counts[c][k],
                truth[c],
                groups[k],
                truth[matched[k]] if matched[k] is not None else "–",
            )
            for c in range(len(truth))
            for k in range(len(groups))
            if counts[c][k] and matched[k] != c
        ),
        reverse=True,
    )[:12]
    page.section(
        "Against the truth",
        tiles({name: value for name, value in accuracy.items() if value == value}),
        _picture(confusion, order, sizes)
        if len(truth) <= CELLS and len(groups) <= CELLS
        else element("p", f"{len(truth)} classes are too many for a picture.", class_="hint"),
        table(["images", "are", "were put into", "which stands for"], mixed) if mixed else None,
        intro=f"{found.get('judged', 0):,} unlabelled images whose class is known, matched once "
        f"over all groups. In truth they and the labelled ones have "
        f"{found.get('true_classes', len(truth))} classes; the estimate is "
        f"{found.get('classes', len(groups))}. The truth was used here only.",
    )


def _picture(confusion: Mapping[str, Any], order: Sequence[int], sizes: Sequence[int]) -> Html:
    """The confusion of classes (down) and groups (across): dark where images are."""
    truth, groups = confusion["truth"], confusion["groups"]
    counts, old = confusion["counts"], confusion["old"]
    cell = max(5, min(18, 720 // max(len(truth), len(order))))
    named = cell >= 11
    left = 150 if named else 8
    parts = []
    for c, name in enumerate(truth):
        y = c * cell
        if named:
            short = name if len(name) <= 20 else name[:19] + "…"
            parts.append(element("text", short, x=left - 6, y=f"{y + cell * 0.75:g}",
                                 text_anchor="end"))  # fmt: skip
        for at, k in enumerate(order):
            count = counts[c][k]
            if count:
                title = f"{name} in {groups[k]}: {count} of {sizes[c]}"
                parts.append(
                    element(
                        "rect", element("title", title), x=left + at * cell, y=y,
                        width=cell - 1, height=cell - 1,
                        fill_opacity=f"{0.08 + 0.92 * count / sizes[c]:.2f}", class_="cell",
                    )
                )  # fmt: skip
    width, height = left + len(order) * cell, len(truth) * cell
    line = old * cell - 0.5
    parts.append(element("line", x1=left, x2=width, y1=line, y2=line, class_="grid"))
    summary = f"{len(truth)} classes against {len(order)} groups; old classes above the line"
    return element(
        "div",
        element(
            "svg",
            element("title", summary),
            *parts,
            viewBox=f"0 0 {width} {height + 2}",
            width=width,
            role="img",
            class_="chart confusion",
        ),
        element(
            "p",
            join([f"Down: the {len(truth)} classes, known ones above the line. Across: the ",
                  show(len(order)), " groups, each below the class it stands for."]),
            class_="hint",
        ),
        class_="scroll",
    )  # fmt: skip
