"""What there is in a set of annotations, in numbers: the statistics of the Open Images paper."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.annotations.boxes import same_place
from fallow.annotations.store import (
    ATTRIBUTES,
    Annotations,
    by_people,
    coded,
    corners,
    marks,
)

TRAINABLE = 30  # pictures a person said yes to: fewer teach a classifier nothing
BINS = 10  # of confidence, of box size
GRID = 16  # cells along a side of the map of centres


@dataclass(frozen=True)
class Summary:
    """Counts and distributions; every list of classes has the most frequent one first."""

    splits: dict[str, dict[str, int]]  # split -> images, boxes, yes, no, machine
    agreement: list[dict[str, float]]  # what people said of machines' labels, by confidence
    classes: list[dict[str, Any]]  # name, images, boxes, trainable, and rates of attributes
    untrainable: float  # share of classes people said yes to in fewer than TRAINABLE pictures
    boxes_per_image: dict[str, Any]  # mean, median, and counts of 0, 1, 2 ...; boxed images only
    classes_per_image: dict[str, Any]
    box_sizes: list[float]  # share of boxes whose side is at most 0.1, 0.2 ... of the picture's
    centres: np.ndarray  # GRID GRID, share of boxes with their centre there
    attributes: dict[str, dict[str, float]]  # share yes and share unknown
    together: list[dict[str, Any]]  # pairs of classes and the pictures that show both
    triplets: list[dict[str, Any]]
    sources: dict[str, dict[str, int]]  # table -> who said so -> rows
    in_tree: float  # share of classes the hierarchy knows
    entropy: dict[str, float]  # in bits: of classes over boxes, of centres, of classes over images

    def plain(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        return asdict(self) | {"centres": self.centres.tolist()}


def summary(held: Annotations, pairs: int = 100) -> Summary:
    """Everything the paper prints of its own set, of yours; the `pairs` most frequent of pairs.

    >>> from fallow.annotations.store import annotated
    >>> sides = {"xmin": [0.0], "ymin": [0.0], "xmax": [0.4], "ymax": [0.1]}
    >>> found = summary(annotated(boxes={"image": ["a"], "label": ["x"], **sides}))
    >>> found.boxes_per_image["mean"], found.box_sizes[:3]
    (1.0, [0.0, 1.0, 1.0])
    """
    boxes = corners(held.boxes)
    sides = np.sqrt(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, 1), axis=1))
    centres = _centres(boxes)
    image, label, names = _shown(held)
    seen = np.bincount(label, minlength=len(names))
    boxed = coded([held.boxes.column("label")], names)[0][0]
    per_class = np.bincount(boxed[boxed >= 0], minlength=len(names))
    yes = _yes(held, names)
    classes = _classes(held, names, seen, per_class, yes, boxed)
    tree = held.hierarchy
    return Summary(
        splits=_splits(held),
        agreement=agreement(held),
        classes=classes,
        untrainable=float((yes < TRAINABLE).mean()) if len(yes) else 0.0,
        boxes_per_image=_spread(np.unique(coded([held.boxes.column("image")])[0][0],
                                          return_counts=True)[1]),
        classes_per_image=_spread(np.unique(image, return_counts=True)[1]),
        box_sizes=[float((sides <= (k + 1) / BINS).mean()) if len(sides) else 0.0
                   for k in range(BINS)],
        centres=centres,
        attributes=_attributes(marks(held.boxes)),
        together=_together(image, label, [held.name(name) for name in names], pairs),
        triplets=_triplets(held, pairs),
        sources={
            kind: _counts(getattr(held, kind).column("source")) for kind in ("labels", "boxes")
        },
        in_tree=float(np.mean([name in tree for name in held.classes])) if held.classes else 0.0,
        entropy={
            "boxes": _entropy(per_class),
            "centres": _entropy(centres),
            "images": _entropy(seen),
        },
    )  # fmt: skip


def agreement(held: Annotations) -> list[dict[str, float]]:
    """How often people said yes to what a machine said, by its confidence in tenths."""
    human = by_people(held.labels)
    people, machine = held.labels.filter(human), held.labels.filter(pc.invert(human))
    columns = [t.column(c) for c in ("image", "label") for t in (people, machine)]
    (asked, found), (label, theirs) = coded(columns[:2])[0], coded(columns[2:])[0]
    size = 1 + max(int(label.max(initial=0)), int(theirs.max(initial=0)))
    answers = dict(zip((asked * size + label).tolist(), people.column("confidence").to_numpy(),
                       strict=True))  # fmt: skip
    said = np.array([answers.get(key, np.nan) for key in (found * size + theirs).tolist()])
    sure = machine.column("confidence").to_numpy()
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    rows = []
    for k in range(BINS):
        inside = said[(place == k) & ~np.isnan(said)] if len(said) else said
        if len(inside):
            rows.append({"from": k / BINS, "labels": len(inside), "right": float(inside.mean())})
    return rows


def box_agreement(one: Annotations, two: Annotations, least: float = 0.5) -> dict[str, float]:
    """How well boxes drawn twice agree: share of the first with a partner, and their mean overlap.

    A partner is a box of the same class in the same picture that overlaps most, by `least` or
    more, and is nobody else's.
    """
    tables = [one.boxes, two.boxes]
    images, labels = (coded([t.column(c) for t in tables])[0] for c in ("image", "label"))
    size = 1 + max(int(each.max(initial=0)) for each in labels)
    keys = np.concatenate([i * size + k for i, k in zip(images, labels, strict=True)])
    boxes = np.concatenate([corners(table) for table in tables])
    first, second, value = same_place(keys, boxes, least)
    count = len(one.boxes)
    across = (first < count) & (second >= count)
    first, second, value = first[across], second[across], value[across]
    taken: set[int] = set()
    found = []
    for row in np.argsort(-value, kind="stable").tolist():
        pair = {int(first[row]), int(second[row])}
        if not taken & pair:
            taken |= pair
            found.append(float(value[row]))
    mean = float(np.mean(found)) if found else float("nan")
    return {"share": len(found) / max(count, 1), "overlap": mean}


def _shown(held: Annotations) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Distinct pairs of picture and class that is there: a person's yes, or a box."""
    human = held.by_people
    there = human.filter(pc.equal(human.column("confidence"), 1))
    image = [t.column("image") for t in (there, held.boxes)]
    label = [t.column("label") for t in (there, held.boxes)]
    images, (labels, names) = coded(image)[0], coded(label)
    pairs = np.concatenate([np.stack(each, 1) for each in zip(images, labels, strict=True)])
    pairs = np.unique(pairs, axis=0) if len(pairs) else pairs.astype(np.int64)
    return pairs[:, 0], pairs[:, 1], names


def _yes(held: Annotations, names: list[str]) -> np.ndarray:
    human = held.by_people
    there = human.filter(pc.equal(human.column("confidence"), 1))
    codes = coded([there.column("label")], names)[0][0]
    return np.bincount(codes[codes >= 0], minlength=len(names))


def _classes(
    held: Annotations,
    names: list[str],
    seen: np.ndarray,
    boxes: np.ndarray,
    yes: np.ndarray,
    boxed: np.ndarray,
) -> list[dict[str, Any]]:
    said = marks(held.boxes)
    rows = []
    for place in np.argsort(-seen, kind="stable").tolist():
        row: dict[str, Any] = {"name": held.name(names[place]), "images": int(seen[place])}
        row |= {"boxes": int(boxes[place]), "trainable": bool(yes[place] >= TRAINABLE)}
        mine = said[boxed == place]
        for column, name in enumerate(ATTRIBUTES):
            known = mine[mine[:, column] >= 0, column]
            row[name] = float(known.mean()) if len(known) else None
        rows.append(row)
    return rows


def _splits(held: Annotations) -> dict[str, dict[str, int]]:
    splits = pc.fill_null(held.images.column("split"), "")
    keys = held.images.column("image").combine_chunks()
    human = by_people(held.labels)
    yes = pc.and_(human, pc.equal(held.labels.column("confidence"), 1))
    no = pc.and_(human, pc.equal(held.labels.column("confidence"), 0))
    tables = {
        "boxes": held.boxes, "yes": held.labels.filter(yes), "no": held.labels.filter(no),
        "machine": held.labels.filter(pc.invert(human)), "relations": held.relations,
    }  # fmt: skip
    found: dict[str, dict[str, int]] = {}
    for split in sorted(pc.unique(splits).to_pylist()):
        inside = keys.filter(pc.equal(splits, split).combine_chunks())
        found[split] = {"images": len(inside)} | {
            name: int(pc.sum(pc.is_in(table.column("image"), inside)).as_py() or 0)
            for name, table in tables.items()
        }
    return found


def _spread(counts: np.ndarray) -> dict[str, Any]:
    if not len(counts):
        return {"mean": 0.0, "median": 0.0, "histogram": []}
    return {"mean": float(counts.mean()), "median": float(np.median(counts)),
            "histogram": np.bincount(counts).tolist()}  # fmt: skip


def _centres(boxes: np.ndarray) -> np.ndarray:
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    cells = np.clip((middle * GRID).astype(np.int64), 0, GRID - 1)
    counts = np.bincount(cells[:, 1] * GRID + cells[:, 0], minlength=GRID * GRID)
    return counts.reshape(GRID, GRID) / max(len(boxes), 1)


def _attributes(said: np.ndarray) -> dict[str, dict[str, float]]:
    found = {}
    for column, name in enumerate(ATTRIBUTES):
        known = said[said[:, column] >= 0, column]
        yes = float(known.mean()) if len(known) else 0.0
        found[name] = {"yes": yes, "unknown": float((said[:, column] < 0).mean()) if len(said)
                       else 0.0}  # fmt: skip
    return found


def _together(
    image: np.ndarray, label: np.ndarray, names: list[str], most: int
) -> list[dict[str, Any]]:
    from scipy.sparse import coo_array, triu

    if not len(image):
        return []
    shape = (int(image.max()) + 1, len(names))
    there = coo_array((np.ones(len(image), np.int64), (image, label)), shape).tocsr()
    both = triu(there.T @ there, k=1).tocoo()
    order = np.lexsort((both.col, both.row, -both.data))[:most]
    return [
        {"classes": [names[both.row[k]], names[both.col[k]]], "images": int(both.data[k])}
        for k in order
    ]


def _triplets(held: Annotations, most: int) -> list[dict[str, Any]]:
    columns = ["subject", "relation", "object"]
    counted = held.relations.group_by(columns).aggregate([("image", "count")])
    rows = sorted(counted.to_pylist(), key=lambda row: (-row["image_count"], str(row)))[:most]
    return [
        {"triplet": [held.name(row[c]) for c in columns], "count": row["image_count"]}
        for row in rows
    ]


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / max(counts.sum(), 1e-300)
    return float(-(share * np.log2(share)).sum()) + 0.0
