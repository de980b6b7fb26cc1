"""What was found in a collection, read for people who decide: copies, doubts, groups, what next."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

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


def column(table: pa.Table, name: str, rows: Sequence[int] | None = None) -> list[Any]:
    """The cells of a column, of some rows or of all; none where there is no such column."""
    if name not in table.column_names:
        return [None] * (table.num_rows if rows is None else len(rows))
    cells = table.column(name)
    return (cells if rows is None else cells.take(pa.array(rows, pa.int64()))).to_pylist()


def said(table: pa.Table, name: str) -> np.ndarray:
    """Of which rows a column says anything.  N bool"""
    if name not in table.column_names:
        return np.zeros(table.num_rows, bool)
    return table.column(name).is_valid().to_numpy()


# --- copies ---


def copies(found: Findings, table: pa.Table, kind: Kind) -> list[Copies]:
    """Sets of copies; decided are those of which at most one is left, or that were looked at.

    >>> found = {"exact_duplicates": [[0, 2]]}
    >>> copies(found, pa.table({"id": list("abc")}), "exact")[0].said
    ['', 'the same file']
    """
    sets = [_set(one, kind) for one in found.get(KINDS[kind], [])]
    gone, seen = said(table, EXCLUDED), said(table, COPIES_SEEN)
    listed = [row for rows, *_ in sets for row in rows]
    names = dict(zip(listed, column(table, "path", listed), strict=True))
    sizes = dict(zip(listed, _sizes(table, listed), strict=True))
    made = []
    for number, (rows, keep, words) in enumerate(sets):
        left = [row for row in rows if not gone[row]]
        made.append(
            Copies(
                number=number,
                kind=kind,
                rows=rows,
                keep=keep,
                said=words,
                names=[str(names[row] or row) for row in rows],
                sizes=[sizes[row] for row in rows],
                decided=len(left) <= 1 or bool(seen[left].all()),
            )
        )
    return made


def _sizes(table: pa.Table, rows: Sequence[int]) -> list[str]:
    """Width, height and weight of some pictures, as people write them."""
    facts = (column(table, name, rows) for name in ("width", "height", "bytes"))
    return [
        ", ".join(
            ([f"{wide} × {high}"] if wide is not None else [])
            + ([f"{heavy / 1000:,.3g} KB"] if heavy is not None else [])
        )
        for wide, high, heavy in zip(*facts, strict=True)
    ]


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
    listed, seen = found.get("suspects", []), said(table, LABEL_SEEN)
    labels = column(table, "label", [one["item"] for one in listed])
    return [
        Doubt(
            row=one["item"],
            given=str(one["label"]),
            now=None if now is None else str(now),
            suggested=str(one["suggested"]),
            confidence=one["confidence"],
            arguing=one.get("for", []),
            against=one.get("against", []),
            decided=bool(seen[one["item"]]) or str(now) != str(one["label"]),
        )
        for one, now in zip(listed, labels, strict=True)
    ]


# --- groups ---


def groups(found: Findings, table: pa.Table) -> list[Group]:
    """Found groups, the largest first; those of `discover` are known by their own names."""
    listed = found.get("groups", [])
    if not listed:
        return []
    held = Held(table)
    if "name" in listed[0]:
        return _discovered(listed, table, held)
    order = sorted(listed, key=lambda one: -one["size"])
    return [_explored(one, held, "group") for one in order if one["group"] >= 0]


class Held:
    """Which rows are in which group, and what they are labelled, looked up once."""

    def __init__(self, table: pa.Table) -> None:
        self.rows = {
            f"{level}:{value}": rows
            for level in ("group", "subgroup")
            for value, rows in _rows_by(table, level)
        }
        self.finest = column(table, "subgroup")
        labels = pa.array(column(table, "label")).cast(pa.string()).dictionary_encode()
        self.codes = labels.indices.fill_null(-1).to_numpy()
        self.names = labels.dictionary.to_pylist()

    def labelled(self, key: str) -> dict[str, Any]:
        """How many are in a group, how many of them have a label, and which."""
        codes = self.codes[self.rows.get(key, [])]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.names))
        most = sorted(np.flatnonzero(counts), key=lambda k: (-counts[k], self.names[k]))[:4]
        return {
            "size": len(codes),
            "named": int(counts.sum()),
            "decided": int(counts.sum()) == len(codes),
            "labels": {self.names[k]: int(counts[k]) for k in most},
        }


def _rows_by(table: pa.Table, name: str) -> list[tuple[Any, np.ndarray]]:
    """Every value of a column with its rows, in their order."""
    if name not in table.column_names:
        return []
    cells = table.column(name).combine_chunks().dictionary_encode()
    codes = cells.indices.fill_null(-1).to_numpy()
    order = np.argsort(codes, kind="stable")
    parts = np.searchsorted(codes[order], np.arange(len(cells.dictionary) + 1))
    return [
        (value, order[parts[k] : parts[k + 1]])
        for k, value in enumerate(cells.dictionary.to_pylist())
    ]


def _explored(one: Mapping[str, Any], held: Held, level: str) -> Group:
    typical = list(one.get("representatives", []))
    # the finest level is a column, levels between are not: they are passed over, and a finer
    # group is known by where its pictures are, whichever level counted it
    number = int(one["group"]) if level == "group" else int(held.finest[typical[0]])
    finest = [inner for inner in _leaves(one) if inner is not one and inner["representatives"]]
    return Group(
        key=f"{level}:{number}",
        title=f"{'Group' if level == 'group' else 'Finer group'} {number + 1}",
        said=", ".join(one.get("apart", [])),
        shown=typical,
        inside=[_explored(inner, held, "subgroup") for inner in finest],
        **held.labelled(f"{level}:{number}"),
    )


def _leaves(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inside = one.get("inside", [])
    return [leaf for inner in inside for leaf in _leaves(inner)] if inside else [one]


def _discovered(listed: Any, table: pa.Table, held: Held) -> list[Group]:
    """Of whole images: the table names each row's group; known classes need no name."""
    place = {row: k for k, row in enumerate(column(table, "row"))}
    return [
        Group(
            key=f"group:{one['name']}",
            title=str(one["name"]),
            said=f"{one['confidence']:.0%} sure" if one.get("confidence") else "",
            shown=[place[row] for row in one.get("shown", []) if row in place],
            **held.labelled(f"group:{one['name']}"),
        )
        for one in listed
        if one.get("new")
    ]


def members(table: pa.Table, key: str) -> list[int]:
    """Rows of a group by its key.

    >>> members(pa.table({"group": [0, 1, 0]}), "group:0")
    [0, 2]
    """
    name, _, value = key.partition(":")
    if name not in ("group", "subgroup"):
        return []
    return next((rows.tolist() for of, rows in _rows_by(table, name) if str(of) == value), [])


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
    labelled, gone = said(table, "label"), said(table, EXCLUDED)
    for name, words in (("disagreement", "{:.1%} in doubt"), ("doubt", "points move by {:.1f} %")):
        if name in table.column_names:  # of segment and of pose, whose rows come in that order
            doubt, given = column(table, name), column(table, "given")
            drawn = said(table, "mask_version" if name == "disagreement" else "points_version")
            return [
                Noted(row=row, said=words.format(doubt[row]))
                for row in range(table.num_rows)
                if not (given[row] or gone[row] or drawn[row])
            ][:count]
    if found.get("either"):  # of discover
        at = {row: k for k, row in enumerate(column(table, "row"))}
        return [
            Noted(row=at[one["row"]], said=f"{one['group']} or {one['second']}")
            for one in found["either"]
            if one["row"] in at and not labelled[at[one["row"]]]
        ][:count]
    poor_ones = {row for rows in found.get("quality", {}).values() for row in rows}
    waiting: list[tuple[float, int, int, list[int], Group]] = []
    for place, one in enumerate(_finest(groups(found, table))):
        free = [r for r in one.shown if not (labelled[r] or gone[r] or r in poor_ones)]
        if free:
            heapq.heappush(waiting, (-one.size / (one.named + 1), place, one.named, free, one))
    chosen: list[Noted] = []
    while waiting and len(chosen) < count:
        _, place, named, free, one = heapq.heappop(waiting)
        words = f"{one.size:,} like it, {one.named:,} labelled"
        chosen.append(Noted(row=free[0], said=words))
        if free := free[1:]:
            heapq.heappush(waiting, (-one.size / (named + 2), place, named + 1, free, one))
    return chosen


def _finest(listed: Sequence[Group]) -> list[Group]:
    return [finer for one in listed for finer in (one.inside or [one])]


# --- strays and poor pictures ---


def outliers(found: Findings, table: pa.Table) -> list[Noted]:
    """Pictures unlike all others, the strangest first."""
    rows = found.get("outliers", [])
    return [
        Noted(row=row, said="" if strange is None else f"{strange:.2f} strange")
        for row, strange in zip(rows, column(table, "outlier", rows), strict=True)
    ]


def poor(found: Findings, table: pa.Table, kind: str) -> list[Noted]:
    """Pictures with one fault, with the measure that says so."""
    rows, measure = found.get("quality", {}).get(kind, []), POOR[kind][2]
    if not measure:
        return [Noted(row=r, said=s) for r, s in zip(rows, _sizes(table, rows), strict=True)]
    values = column(table, measure, rows)
    return [
        Noted(row=row, said="" if value is None else f"{value:.3g} {measure}")
        for row, value in zip(rows, values, strict=True)
    ]
