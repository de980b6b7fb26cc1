"""What was found in a collection, read for people who decide: copies, doubts, groups, what next."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel

from fallow.outcomes.sentences import counted

Findings = Mapping[str, Any]
Kind = Literal["exact", "changed", "alike"]
KINDS: dict[Kind, str] = {  # as explore calls them
    "exact": "exact_duplicates",
    "changed": "changed_copies",
    "alike": "much_alike",
}
# columns in which decisions are kept, beside `label`; each is an undoable version of the desk
EXCLUDED, COPIES_SEEN, LABEL_SEEN = "excluded", "copies_seen", "label_seen"
YES = "yes"
POOR = {  # faults: what they are called, in which order they come, the measure that says so
    "blurry": ("Blurry", "The least sharp first.", "focus"),
    "dark": ("Too dark", "The darkest first.", "brightness"),
    "bright": ("Too bright", "The brightest first.", "brightness"),
    "low_resolution": ("Low resolution", "The smallest first.", ""),
    "odd_aspect": ("Unusual shape", "The most unusual first.", ""),
    "blank": ("Blank", "Nothing can be seen on them.", ""),
}


class Copies(BaseModel):
    """Pictures that are copies of each other, or nearly."""

    number: int
    kind: Kind
    rows: list[int]
    keep: int | None  # the one that is proposed
    said: list[str]  # what was done to each
    names: list[str]
    sizes: list[str]
    decided: bool


class Doubt(BaseModel):
    """A label that looks wrong, with the pictures that argue for another one."""

    row: int
    given: str
    now: str | None
    suggested: str
    confidence: float
    arguing: list[int]  # like the suggestion
    against: list[int]  # the nearest with the label given
    decided: bool


class Group(BaseModel):
    """Pictures that belong together, to be named at once."""

    key: str
    title: str
    said: str
    size: int
    named: int  # members that have a label now
    labels: dict[str, int]  # the most frequent ones
    shown: list[int]
    decided: bool  # all members have a label
    inside: list[Group] = []


class Noted(BaseModel):
    """A picture and a few words about it."""

    row: int
    said: str = ""


def column(table: pa.Table, name: str) -> list[Any]:
    """The cells of a column, none where there is no such column."""
    return table.column(name).to_pylist() if name in table.column_names else [None] * len(table)


# --- copies ---


def copies(found: Findings, table: pa.Table, kind: Kind) -> list[Copies]:
    """Sets of copies; decided are those of which at most one is left, or that were looked at.

    >>> found = {"exact_duplicates": [[0, 2]]}
    >>> copies(found, pa.table({"id": list("abc")}), "exact")[0].said
    ['', 'the same file']
    """
    gone, seen = column(table, EXCLUDED), column(table, COPIES_SEEN)
    names, sizes = column(table, "path"), _sizes(table)
    names = [str(name or row) for row, name in enumerate(names)]
    made = []
    for number, one in enumerate(found.get(KINDS[kind], [])):
        rows, keep, said = _set(one, kind)
        left = [row for row in rows if not gone[row]]
        done = len(left) <= 1 or all(seen[row] for row in left)
        made.append(
            Copies(
                number=number,
                kind=kind,
                rows=rows,
                keep=keep,
                said=said,
                names=[names[row] for row in rows],
                sizes=[sizes[row] for row in rows],
                decided=done,
            )
        )
    return made


def _sizes(table: pa.Table) -> list[str]:
    """Width, height and weight of every picture, as people write them."""
    wide, high, heavy = (column(table, name) for name in ("width", "height", "bytes"))
    said = []
    for row in range(table.num_rows):
        parts = [f"{wide[row]} × {high[row]}"] if wide[row] is not None else []
        parts += [f"{heavy[row] / 1000:,.3g} KB"] if heavy[row] is not None else []
        said.append(", ".join(parts))
    return said


def _set(one: Any, kind: Kind) -> tuple[list[int], int | None, list[str]]:
    if kind == "exact":
        rows, keep = list(one), int(one[0])
        return rows, keep, ["" if row == keep else "the same file" for row in rows]
    rows, keep = list(one["items"]), int(one["keep"])
    if kind == "alike":
        return rows, None, [""] * len(rows)
    told = dict(zip(rows, one["changes"], strict=True))
    rows = [keep, *(row for row in rows if row != keep)]
    return rows, keep, ["" if row == keep else str(told[row] or "") for row in rows]


# --- labels ---


def doubts(found: Findings, table: pa.Table) -> list[Doubt]:
    """Suspected wrong labels; decided are those that were corrected or confirmed since."""
    now, seen = column(table, "label"), column(table, LABEL_SEEN)
    return [
        Doubt(
            row=one["item"],
            given=str(one["label"]),
            now=None if now[one["item"]] is None else str(now[one["item"]]),
            suggested=str(one["suggested"]),
            confidence=one["confidence"],
            arguing=one.get("for", []),
            against=one.get("against", []),
            decided=bool(seen[one["item"]]) or str(now[one["item"]]) != str(one["label"]),
        )
        for one in found.get("suspects", [])
    ]


# --- groups ---


def groups(found: Findings, table: pa.Table) -> list[Group]:
    """Found groups, the largest first; those of `discover` are known by their own names."""
    labels = column(table, "label")
    listed = found.get("groups", [])
    if not listed:
        return []
    if "name" in listed[0]:
        return _discovered(listed, table, labels)
    return [
        _explored(one, members(table, f"group:{one['group']}"), table, labels, "group")
        for one in sorted(listed, key=lambda one: (one["group"] < 0, -one["size"]))
        if one["group"] >= 0
    ]


def _explored(
    one: Mapping[str, Any], rows: Sequence[int], table: pa.Table, labels: list[Any], level: str
) -> Group:
    number, finest = int(one["group"]), column(table, "subgroup")
    inside = []
    for finer in one.get("inside", []):
        typical = finer.get("representatives", [])
        # only the finest level is a column; of those between, their pictures are shown alone
        if finer.get("inside") or not typical or finest[typical[0]] != finer["group"]:
            continue
        own = members(table, f"subgroup:{finer['group']}")
        inside.append(_explored(finer, own, table, labels, "subgroup"))
    return Group(
        key=f"{level}:{number}",
        title=f"{'Group' if level == 'group' else 'Finer group'} {number + 1}",
        said=", ".join(one.get("apart", [])),
        shown=list(one.get("representatives", [])),
        inside=inside,
        **_labelled(rows, labels),
    )


def _discovered(listed: Any, table: pa.Table, labels: list[Any]) -> list[Group]:
    """Of whole images: the table names each row's group; known classes need no name."""
    place = {row: k for k, row in enumerate(column(table, "row"))}
    return [
        Group(
            key=f"group:{one['name']}",
            title=str(one["name"]),
            said=f"{one['confidence']:.0%} sure" if one.get("confidence") else "",
            shown=[place[row] for row in one.get("shown", []) if row in place],
            **_labelled(members(table, f"group:{one['name']}"), labels),
        )
        for one in listed
        if one.get("new")
    ]


def _labelled(rows: Sequence[int], labels: list[Any]) -> dict[str, Any]:
    tally: dict[str, int] = {}
    for row in rows:
        if labels[row] is not None:
            tally[str(labels[row])] = tally.get(str(labels[row]), 0) + 1
    most = sorted(tally, key=lambda name: (-tally[name], name))[:4]
    return {
        "size": len(rows),
        "named": sum(tally.values()),
        "decided": sum(tally.values()) == len(rows),
        "labels": {name: tally[name] for name in most},
    }


def members(table: pa.Table, key: str) -> list[int]:
    """Rows of a group by its key.

    >>> members(pa.table({"group": [0, 1, 0]}), "group:0")
    [0, 2]
    """
    name, _, value = key.partition(":")
    if name not in ("group", "subgroup"):
        return []
    return [row for row, cell in enumerate(column(table, name)) if str(cell) == value]


# --- which pictures to label next ---


def to_label(found: Findings, table: pa.Table, count: int = 60) -> list[Noted]:
    """Unlabelled pictures that stand for most others without a label.

    Every group gets as many labels as it deserves by its size: the next picture is a typical one
    of the group with the most pictures for each label it has, those proposed here included.

    >>> found = {
    ...     "groups": [
    ...         {"group": 0, "size": 3, "representatives": [0, 1]},
    ...         {"group": 1, "size": 2, "representatives": [3, 4]},
    ...     ]
    ... }
    >>> table = pa.table({"group": [0, 0, 0, 1, 1], "label": ["a", None, None, None, None]})
    >>> [one.row for one in to_label(found, table)]
    [3, 1, 4]
    """
    labels, gone = column(table, "label"), column(table, EXCLUDED)
    for name, said in (("disagreement", "{:.1%} in doubt"), ("doubt", "moves by {:.1f} %")):
        if name in table.column_names:  # of segment and of pose, whose rows come in that order
            doubt, given = column(table, name), column(table, "given")
            return [
                Noted(row=row, said=said.format(doubt[row]))
                for row in range(table.num_rows)
                if not given[row] and not gone[row]
            ][:count]
    if found.get("either"):  # of discover
        at = {row: k for k, row in enumerate(column(table, "row"))}
        return [
            Noted(row=at[one["row"]], said=f"{one['group']} or {one['second']}")
            for one in found["either"]
            if one["row"] in at and labels[at[one["row"]]] is None
        ][:count]
    waiting: list[tuple[float, int, int, list[int], Group]] = []
    for place, one in enumerate(_finest(groups(found, table))):
        free = [row for row in one.shown if labels[row] is None and not gone[row]]
        if free:
            heapq.heappush(waiting, (-one.size / (one.named + 1), place, one.named, free, one))
    chosen: list[Noted] = []
    while waiting and len(chosen) < count:
        _, place, named, free, one = heapq.heappop(waiting)
        said = f"typical of {one.title}: {counted(one.size, 'picture')}, {one.named:,} labelled"
        chosen.append(Noted(row=free[0], said=said))
        if free := free[1:]:
            heapq.heappush(waiting, (-one.size / (named + 2), place, named + 1, free, one))
    return chosen


def _finest(listed: Sequence[Group]) -> list[Group]:
    return [finer for one in listed for finer in (one.inside or [one])]


# --- strays and poor pictures ---


def outliers(found: Findings, table: pa.Table) -> list[Noted]:
    """Pictures unlike all others, the strangest first."""
    strange = column(table, "outlier")
    return [
        Noted(row=row, said="" if strange[row] is None else f"strangeness {strange[row]:.2f}")
        for row in found.get("outliers", [])
    ]


def poor(found: Findings, table: pa.Table, kind: str) -> list[Noted]:
    """Pictures with one fault, with the measure that says so."""
    measure = POOR[kind][2]
    said = column(table, measure)
    sizes = _sizes(table)
    return [
        Noted(
            row=row,
            said=f"{measure} {said[row]:.3g}" if measure and said[row] is not None
            else sizes[row],
        )
        for row in found.get("quality", {}).get(kind, [])
    ]  # fmt: skip
