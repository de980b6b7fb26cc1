"""What is wrong with annotations, rule by rule: errors that must go, and what looks odd.

Nothing is changed here; `mended` makes new annotations of which only the odd things are left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.annotations.boxes import overlap, same_place, share
from fallow.annotations.reading import listed
from fallow.annotations.store import (
    CORNERS,
    Annotations,
    among,
    by_people,
    coded,
    corners,
    ends,
    marks,
)

CROWD = 6  # boxes inside a box for a crowd are too many to be overlooked
SAME, TWIN, PARTNER = 0.9, 1.0, 0.99  # overlap of a box told twice; of a copy; of a relation's end


@dataclass(frozen=True)
class Finding:
    """One broken rule and the rows that break it."""

    rule: str
    level: Literal["error", "warning"]
    table: str
    rows: np.ndarray
    what: str  # in words, with the first of them

    def __str__(self) -> str:
        return f"{self.level}: {self.what} ({len(self.rows):,} in all)"


Found = tuple[str, Literal["error", "warning"], str, np.ndarray, str]


def check(
    held: Annotations,
    *,
    known: Collection[str] | None = None,
    triplets: Collection[tuple[str, str, str]] | None = None,
    exhaustive: Collection[str] = (),
) -> list[Finding]:
    """All broken rules, errors first.

    `known` are the classes there may be, `triplets` (subject, relation, object) the relations there
    may be, `exhaustive` the splits in which every class a person saw has its boxes.
    """
    rules = chain(
        _pictures(held),
        _names(held, known),
        _answers(held),
        _places(held),
        _boxes_against_labels(held, exhaustive),
        _told_twice(held),
        _crowds(held),
        _relations(held, triplets),
    )
    found = [Finding(*broken) for broken in rules if len(broken[3])]
    return sorted(found, key=lambda one: one.level)


def mended(held: Annotations) -> tuple[Annotations, list[str]]:
    """The same without what is wrong beyond doubt, and what was done.

    Boxes are cut at the picture's edge, empty ones and copies go, and where people contradict
    each other about a picture and a class, nothing is known of it.
    """
    notes: list[str] = []
    boxes = corners(held.boxes)
    cut = np.clip(boxes, 0, 1)
    good = (cut[:, 2:] > cut[:, :2]).all(1)  # NaN is not
    outside = (cut != boxes).any(1) & good
    one, two, _ = same_place(_image(held.boxes), cut, TWIN)
    label = coded([held.boxes.column("label")])[0][0]
    copies = np.unique(two[label[one] == label[two]])
    listed(notes, int(outside.sum()), "boxes reach over the edge and are cut there")
    listed(notes, int((~good).sum()), "boxes have nothing inside and are left out")
    listed(notes, len(copies), "boxes are copies of others and are left out")
    placed = held.boxes
    for place, name in enumerate(CORNERS):
        column = placed.column_names.index(name)
        placed = placed.set_column(column, name, pa.array(cut[:, place]))
    good[copies] = False
    torn = next(rows for rule, _, _, rows, _ in _answers(held) if rule == "torn")
    stays = np.ones(len(held.labels), bool)
    stays[torn] = False
    listed(notes, len(torn), "labels contradict each other and are left out")
    return held.with_(boxes=placed.filter(good), labels=held.labels.filter(stays)), notes


def _pictures(held: Annotations) -> Iterator[Found]:
    for column, what in (("licence", "no licence"), ("creator", "no author")):
        rows = np.flatnonzero(pc.is_null(held.images.column(column)).to_numpy())
        yield f"no_{column}", "warning", "images", rows, f"{_first(held.images, rows)} has {what}"
    small = pc.fill_null(pc.less(pc.min_element_wise(
        held.images.column("width"), held.images.column("height")), 1), False)  # fmt: skip
    rows = np.flatnonzero(small.to_numpy())
    yield "size", "error", "images", rows, f"{_first(held.images, rows)} has a size below 1"


def _names(held: Annotations, known: Collection[str] | None) -> Iterator[Found]:
    if known is None:
        return
    words = pa.array(sorted(known), pa.string())
    for kind, columns in (("labels", ("label",)), ("boxes", ("label",)),
                          ("relations", ("subject", "object"))):  # fmt: skip
        for column in columns:
            values = getattr(held, kind).column(column)
            rows = np.flatnonzero(~pc.is_in(values, words).to_numpy())
            said = values[int(rows[0])].as_py() if len(rows) else ""
            yield "unknown_class", "error", kind, rows, f"{said} is no known class"


def _answers(held: Annotations) -> Iterator[Found]:
    """People say yes or no, and the same each time; all else lies between."""
    sure = held.labels.column("confidence").to_numpy()
    human = by_people(held.labels).to_numpy()
    rows = np.flatnonzero(human & (sure != 0) & (sure != 1))
    yield (
        "half",
        "error",
        "labels",
        rows,
        (
            f"a person is said to be {sure[rows[0]] if len(rows) else 0:g} sure of a label of "
            f"{_first(held.labels, rows)}: a person says 0 or 1"
        ),
    )
    rows = np.flatnonzero(~((sure >= 0) & (sure <= 1)))
    yield (
        "confidence",
        "error",
        "labels",
        rows,
        (f"a label of {_first(held.labels, rows)} has a confidence outside 0 to 1"),
    )
    image, label = (coded([held.labels.column(c)])[0][0] for c in ("image", "label"))
    pair = image * (1 + label.max(initial=0)) + label
    yes, no = pair[human & (sure == 1)], pair[human & (sure == 0)]
    rows = np.flatnonzero(human & among(pair, np.intersect1d(yes, no)))
    yield (
        "torn",
        "error",
        "labels",
        rows,
        (f"people say yes and no to {_said(held, rows)} in {_first(held.labels, rows)}"),
    )


def _places(held: Annotations) -> Iterator[Found]:
    everywhere = (("boxes", corners(held.boxes)[:, None]), ("relations", ends(held.relations)))
    for kind, boxes in everywhere:
        table = getattr(held, kind)
        empty = ~(boxes[..., 2:] > boxes[..., :2]).all((1, 2))
        rows = np.flatnonzero(empty)
        yield "empty", "error", kind, rows, f"a box in {_first(table, rows)} has nothing inside"
        rows = np.flatnonzero(((boxes < 0) | (boxes > 1)).any((1, 2)))
        yield (
            "outside",
            "error",
            kind,
            rows,
            f"a box in {_first(table, rows)} reaches over the edge",
        )
    said = marks(held.boxes)
    rows = np.flatnonzero(((said < -1) | (said > 1)).any(1))
    yield (
        "attribute",
        "error",
        "boxes",
        rows,
        (f"an attribute of a box in {_first(held.boxes, rows)} is not 1, 0 or -1 (unknown)"),
    )


def _boxes_against_labels(held: Annotations, exhaustive: Collection[str]) -> Iterator[Found]:
    """A box says that its class is there; a class that is there has a box, where all have."""
    human = held.by_people
    columns = [table.column(name) for name in ("image", "label") for table in (held.boxes, human)]
    (box_image, image), (box_label, label) = (coded(columns[:2])[0], coded(columns[2:])[0])
    size = 1 + max(int(box_label.max(initial=0)), int(label.max(initial=0)))
    boxed, answered = box_image * size + box_label, image * size + label
    sure = human.column("confidence").to_numpy()
    rows = np.flatnonzero(among(boxed, answered[sure == 0]))
    yield (
        "box_denied",
        "error",
        "boxes",
        rows,
        (f"{_first(held.boxes, rows)} has a box of a class a person says is not there"),
    )
    if len(human):
        rows = np.flatnonzero(~among(boxed, answered))
        yield (
            "box_unlabelled",
            "warning",
            "boxes",
            rows,
            (f"{_first(held.boxes, rows)} has a box of a class nobody was asked about"),
        )
    if not exhaustive:
        return
    splits = pa.array(sorted(exhaustive), pa.string())
    inside = held.images.filter(pc.is_in(held.images.column("split"), splits)).column("image")
    there = pc.is_in(human.column("image"), inside.combine_chunks()).to_numpy() & (sure == 1)
    boxable = among(label, box_label)
    lonely = there & boxable & ~among(answered, boxed)
    rows = np.flatnonzero(by_people(held.labels).to_numpy())[lonely]
    yield (
        "no_box",
        "error",
        "labels",
        rows,
        (f"{_first(held.labels, rows)} shows a class that has no box there"),
    )


def _told_twice(held: Annotations) -> Iterator[Found]:
    boxes = corners(held.boxes)
    one, two, value = same_place(_image(held.boxes), boxes, SAME)
    codes, names = coded([held.boxes.column("label")])
    same = codes[0][one] == codes[0][two]
    rows = np.unique(two[same & (value >= TWIN)])
    yield "copy", "error", "boxes", rows, f"{_first(held.boxes, rows)} has the same box twice"
    above = [
        names[b] in held.hierarchy.ancestors(names[a]) or names[a] in held.hierarchy.ancestors(
            names[b])
        for a, b in zip(codes[0][one], codes[0][two], strict=True)
    ]  # fmt: skip
    rows = np.unique(one[np.array(above, bool) & ~same])
    yield (
        "ancestor",
        "warning",
        "boxes",
        rows,
        (
            f"{_first(held.boxes, rows)} has one box for a class and for a kind of it: "
            "only the kind needs one"
        ),
    )


def _crowds(held: Annotations) -> Iterator[Found]:
    boxes, label = corners(held.boxes), coded([held.boxes.column("label")])[0][0]
    group = held.boxes.column("group").to_numpy() == 1
    image = _image(held.boxes)
    chosen = np.flatnonzero(among(image, image[group]))
    chosen = chosen[np.argsort(image[chosen], kind="stable")]
    edges = np.flatnonzero(np.diff(image[chosen], prepend=-1, append=-1))
    full = []
    for first, last in pairwise(edges):
        rows = chosen[first:last]
        for crowd in rows[group[rows]]:
            others = rows[~group[rows] & (label[rows] == label[crowd])]
            inside = sum(share(boxes[crowd], boxes[other]) > 0.5 for other in others)
            if inside >= CROWD:
                full.append(crowd)
    rows = np.array(full, np.int64)
    yield (
        "crowd",
        "warning",
        "boxes",
        rows,
        (f"{_first(held.boxes, rows)} has a box for a crowd, and {CROWD} or more boxes inside it"),
    )


def _relations(
    held: Annotations, triplets: Collection[tuple[str, str, str]] | None
) -> Iterator[Found]:
    table, both = held.relations, ends(held.relations)
    if triplets is not None:
        allowed = set(triplets)
        said = zip(*(table.column(c).to_pylist() for c in ("subject", "relation", "object")),
                   strict=True)  # fmt: skip
        rows = np.flatnonzero([one not in allowed for one in said])
        yield (
            "triplet",
            "error",
            "relations",
            rows,
            (f"{_first(table, rows)} has a relation that is not among those there may be"),
        )
    attribute = np.array(table.column("relation").to_pylist(), object) == "is"
    apart = np.abs(both[:, 0] - both[:, 1]).max(1, initial=0) > 0
    rows = np.flatnonzero(attribute & apart)
    yield (
        "is",
        "error",
        "relations",
        rows,
        (f"a relation 'is' in {_first(table, rows)} has two different boxes: it needs one twice"),
    )
    rows = _partnerless(held, both, attribute)
    yield (
        "partner",
        "warning",
        "relations",
        rows,
        (f"a relation in {_first(table, rows)} has an end that is no box of its class"),
    )


def _partnerless(held: Annotations, both: np.ndarray, attribute: np.ndarray) -> np.ndarray:
    """Relations one of whose ends is not among the boxes; the object of 'is' is no thing."""
    boxes: dict[tuple[str, str], list[np.ndarray]] = {}
    columns = (held.boxes.column(name).to_pylist() for name in ("image", "label"))
    for key, box in zip(zip(*columns, strict=True), corners(held.boxes), strict=True):
        boxes.setdefault(key, []).append(box)
    lonely = []
    for row, one in enumerate(held.relations.select(["image", "subject", "object"]).to_pylist()):
        for place, end in enumerate(("subject", "object")):
            if end == "object" and attribute[row]:
                continue
            there = boxes.get((one["image"], one[end]), [])
            if not any(overlap(box, both[row, place]) >= PARTNER for box in there):
                lonely.append(row)
                break
    return np.array(lonely, np.int64)


def _image(table: pa.Table) -> np.ndarray:
    return coded([table.column("image")])[0][0]


def _first(table: pa.Table, rows: np.ndarray) -> str:
    return str(table.column("image")[int(rows[0])]) if len(rows) else ""


def _said(held: Annotations, rows: np.ndarray) -> str:
    return held.name(held.labels.column("label")[int(rows[0])].as_py()) if len(rows) else ""
