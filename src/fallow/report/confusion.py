"""Who was taken for whom: classes down, groups across, and the mix-ups by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.page import Html, element

CELLS = 150  # classes a side of the picture
MIXED = 12  # mix-ups in the table


def confusion_chart(confusion: Mapping[str, Any]) -> Html:
    """A picture of {truth, old, groups, counts, matched}: dark where rows of a class are.

    >>> one = {"truth": ["oak"], "old": 1, "groups": ["oak"], "counts": [[2]], "matched": [0]}
    >>> "oak in oak: 2 of 2" in confusion_chart(one)
    True
    """
    truth, groups, counts = confusion["truth"], confusion["groups"], confusion["counts"]
    if max(len(truth), len(groups)) > CELLS:
        return element("p", f"{len(truth)} classes are too many for a picture.", class_="hint")
    matched = confusion["matched"]
    # every group at the place of the class it stands for, the others behind
    order = sorted(range(len(groups)), key=lambda k: (matched[k] is None, matched[k] or 0, k))
    cell = max(5, min(18, 720 // max(len(truth), len(order))))
    named = cell >= 11
    left = 150 if named else 8
    parts = []
    for c, name in enumerate(truth):
        size = max(1, sum(counts[c]))
        if named:
            short = name if len(name) <= 20 else name[:19] + "…"
            parts.append(element("text", short, x=left - 6, y=f"{c * cell + cell * 0.75:g}",
                                 text_anchor="end"))  # fmt: skip
        for at, k in enumerate(order):
            if count := counts[c][k]:
                title = element("title", f"{name} in {groups[k]}: {count} of {size}")
                parts.append(
                    element(
                        "rect", title, x=left + at * cell, y=c * cell,
                        width=cell - 1, height=cell - 1,
                        fill_opacity=f"{0.08 + 0.92 * count / size:.2f}", class_="cell",
                    )
                )  # fmt: skip
    width, height = left + len(order) * cell, len(truth) * cell
    line = confusion["old"] * cell - 0.5
    parts.append(element("line", x1=left, x2=width, y1=line, y2=line, class_="grid"))
    summary = f"{len(truth)} classes against {len(order)} groups; old classes above the line"
    chart = element(
        "svg",
        element("title", summary),
        *parts,
        viewBox=f"0 0 {width} {height + 2}",
        width=width,
        role="img",
        class_="chart confusion",
    )
    hint = (
        f"Down: the {len(truth)} classes, known ones above the line. Across: the {len(order):,} "
        "groups, each below the class it stands for."
    )
    return element("div", chart, element("p", hint, class_="hint"), class_="scroll")


def mixed_up(confusion: Mapping[str, Any]) -> Sequence[Sequence[object]]:
    """The largest mix-ups: how many, of what class, in what group, which stands for what."""
    truth, groups, matched = confusion["truth"], confusion["groups"], confusion["matched"]
    stands = ["–" if one is None else truth[one] for one in matched]
    wrong = [
        (count, truth[c], groups[k], stands[k])
        for c, row in enumerate(confusion["counts"])
        for k, count in enumerate(row)
        if count and matched[k] != c
    ]
    return sorted(wrong, reverse=True)[:MIXED]
