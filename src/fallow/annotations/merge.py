"""Annotations from several sources as one, and every contradiction between them.

People count for more than machines, and an earlier source for more than a later one. Where people
contradict each other about a picture and a class, nothing is known of it: no side is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.annotations.boxes import same_place
from fallow.annotations.hierarchy import Hierarchy
from fallow.annotations.store import (
    ATTRIBUTES,
    SCHEMAS,
    Annotations,
    among,
    annotated,
    by_people,
    coded,
    corners,
    ends,
    key_of,
    marks,
)
from fallow.problems import SourceProblem

ROOT = "/root"
SAME = 0.9  # overlap from which two boxes are one
CONFLICTS = pa.schema(
    [(name, pa.string()) for name in ("kind", "image", "what", "first", "second", "kept")]
)
_FACTS = ("width", "height", "split", "licence", "creator", "title", "md5")


@dataclass(frozen=True)
class Merged:
    """All of it, where each row came from, and what the sources disagree about."""

    held: Annotations
    conflicts: pa.Table  # CONFLICTS
    sources: dict[str, pa.Array]  # for each table, the source of every row


def merged(sources: Mapping[str, Annotations], same: Mapping[str, str] | None = None) -> Merged:
    """One set of annotations of several named ones, the most trusted first.

    Classes are the same if they have the same name, whatever their ids and capitals; `same` says
    so of others, by id or name.

    >>> yes = annotated(labels={"image": ["a"], "label": ["cat"], "source": ["verification"]})
    >>> no = yes.with_(labels=yes.labels.set_column(2, "confidence", pa.array([0.0])))
    >>> both = merged({"one": yes, "two": no})
    >>> both.held.labels.num_rows, both.conflicts.column("kept").to_pylist()
    (0, ['neither'])
    """
    if not sources:
        raise SourceProblem("there is nothing to merge: name one source or more")
    conflicts = _Conflicts()
    sources, notes = _same_pictures(sources)
    names, ids = _classes(sources, same or {})
    renamed = {name: _renamed(held, ids[name]) for name, held in sources.items()}
    tree = _one_tree(renamed.values())
    tables: dict[str, pa.Table] = {}
    origin: dict[str, np.ndarray] = {}
    for kind in SCHEMAS:
        each = [getattr(held, kind) for held in renamed.values()]
        tables[kind] = pa.concat_tables(each).combine_chunks()
        origin[kind] = np.repeat(np.arange(len(each)), [len(one) for one in each])
    words = list(sources)
    kept = {
        "images": _images(tables["images"], origin["images"], words, conflicts),
        "labels": _labels(tables["labels"], origin["labels"], words, conflicts),
        "relations": _relations(tables["relations"]),
    }
    boxes, kept["boxes"] = _boxes(tables["boxes"], origin["boxes"], words, tree, conflicts)
    tables["boxes"] = boxes
    tables["images"] = _filled(tables["images"])
    _denied(tables, origin, kept, words, conflicts)
    chosen = {kind: tables[kind].take(pa.array(kept[kind])) for kind in SCHEMAS}
    held = annotated(
        **chosen,
        names=names,
        hierarchy=tree,
        notes=notes + [f"{name}: {note}" for name, one in sources.items() for note in one.notes],
    )
    from_where = {
        kind: pa.array(np.array(words, object)[origin[kind][kept[kind]]], pa.string())
        for kind in SCHEMAS
    }
    return Merged(held, conflicts.table(), from_where)


class _Conflicts:
    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []

    def add(self, kind: str, image: str, what: str, first: str, second: str, kept: str) -> None:
        self.rows.append((kind, image, what, first, second, kept))

    def table(self) -> pa.Table:
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(CONFLICTS)
        return pa.table([pa.array(c, pa.string()) for c in columns], schema=CONFLICTS)


def named_as(held: Annotations, paths: Sequence[str]) -> Annotations:
    """The same annotations, with pictures called as these files are, whatever their folder.

    >>> held = annotated(labels={"image": ["old/a"], "label": ["cat"], "source": ["machine"]})
    >>> named_as(held, ["new/a.jpg", "new/b.jpg"]).labels.column("image").to_pylist()
    ['new/a']
    """
    pictures = annotated(images={"image": [key_of(path) for path in paths], "file": list(paths)})
    return _same_pictures({"pictures": pictures, "annotations": held})[0]["annotations"]


def _same_pictures(
    sources: Mapping[str, Annotations],
) -> tuple[dict[str, Annotations], list[str]]:
    """A source that shares no picture with those before it may only name folders otherwise."""
    made: dict[str, Annotations] = {}
    notes: list[str] = []
    known: dict[str, str | None] = {}  # file name alone -> the picture, None where it is not clear
    everything: set[str] = set()
    for source, held in sources.items():
        keys = held.images.column("image").to_pylist()
        alone = _alone(keys)
        if everything and not everything.intersection(keys):
            found = {key: known[name] for name, key in alone.items() if key and known.get(name)}
            if found:
                notes.append(f"{source}: {len(found):,} pictures were matched by file name alone")
                held = _moved(held, {key: str(other) for key, other in found.items()})
        made[source] = held
        keys = held.images.column("image").to_pylist()
        everything.update(keys)
        known = _alone(sorted(everything))
    return made, notes


def _alone(keys: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for key in keys:
        name = key.rsplit("/", 1)[-1]
        found[name] = None if name in found else key
    return found


def _moved(held: Annotations, names: Mapping[str, str]) -> Annotations:
    def moved(table: pa.Table) -> pa.Table:
        coded = table.column("image").combine_chunks().dictionary_encode()
        words = [names.get(word, word) for word in coded.dictionary.to_pylist()]
        return table.set_column(0, "image", pa.array(words, pa.string()).take(coded.indices))

    return held.with_(**{kind: moved(getattr(held, kind)) for kind in SCHEMAS})


def _classes(
    sources: Mapping[str, Annotations], same: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The name of every class, and for each source its classes' ids in the whole."""
    names: dict[str, str] = {}
    by_name: dict[str, str] = {}
    ids: dict[str, dict[str, str]] = {}
    for source, held in sources.items():
        ids[source] = {}
        for label in held.classes:
            shown = held.name(label)
            if (target := same.get(label, same.get(shown))) is not None:
                shown = names.get(target, target)
            taken = label in names and names[label].casefold() != shown.casefold()
            known = by_name.setdefault(shown.casefold(), f"{label} of {source}" if taken else label)
            names.setdefault(known, shown)
            ids[source][label] = known
    return names, ids


def _renamed(held: Annotations, ids: Mapping[str, str]) -> Annotations:
    def column(table: pa.Table, name: str) -> pa.Table:
        coded = table.column(name).combine_chunks().dictionary_encode()
        words = pa.array([ids[word] for word in coded.dictionary.to_pylist()], pa.string())
        values = words.take(coded.indices)
        return table.set_column(table.column_names.index(name), name, values)

    relations = column(column(held.relations, "subject"), "object")
    edges = [(ids.get(p, p), ids.get(c, c)) for p, c in held.hierarchy.edges]
    parts = [(ids.get(p, p), ids.get(c, c)) for p, c in held.hierarchy.parts]
    return held.with_(
        labels=column(held.labels, "label"),
        boxes=column(held.boxes, "label"),
        relations=relations,
        hierarchy=Hierarchy(edges, held.hierarchy.root, parts),
    )


def _one_tree(sources: Iterable[Annotations]) -> Hierarchy:
    """All trees in one; every source's virtual root is the same nothing."""
    trees = [held.hierarchy for held in sources]
    edges = [(ROOT if p == tree.root else p, c) for tree in trees for p, c in tree.edges]
    return Hierarchy(edges, ROOT, [part for tree in trees for part in tree.parts])


def _images(
    table: pa.Table, origin: np.ndarray, words: Sequence[str], conflicts: _Conflicts
) -> np.ndarray:
    """The first row of every picture; facts that differ are conflicts."""
    image = coded([table.column("image")])[0][0]
    _, first, which = np.unique(image, return_index=True, return_inverse=True)
    for fact in _FACTS:
        values = table.column(fact).to_pylist()
        said: dict[int, int] = {}  # picture -> the first row that says something
        for row, value in enumerate(values):
            if value is None:
                continue
            other = said.setdefault(int(which[row]), row)
            if values[other] != value:
                conflicts.add(
                    fact, table.column("image")[row].as_py(), fact,
                    f"{words[origin[other]]}: {values[other]}", f"{words[origin[row]]}: {value}",
                    words[origin[other]],
                )  # fmt: skip
    return np.sort(first)


def _filled(table: pa.Table) -> pa.Table:
    """What the first row of a picture leaves open is taken from later ones."""
    image = coded([table.column("image")])[0][0]
    _, first, which = np.unique(image, return_index=True, return_inverse=True)
    columns = []
    for name in table.column_names:
        values = table.column(name).combine_chunks()
        known = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
        source = first[which]  # of each row, where its picture is first told of
        best = np.full(len(first), -1)
        best[which[known[::-1]]] = known[::-1]  # the earliest that knows
        source = np.where(best[which] >= 0, best[which], source)
        columns.append(values.take(pa.array(source)))
    return pa.table(columns, schema=table.schema)


def _labels(
    table: pa.Table, origin: np.ndarray, words: Sequence[str], conflicts: _Conflicts
) -> np.ndarray:
    """One row for a picture and a class: a person's, or the surest machine's."""
    image, label = (coded([table.column(name)])[0][0] for name in ("image", "label"))
    pair = image * (1 + label.max(initial=0)) + label
    sure = table.column("confidence").to_numpy()
    human = by_people(table).to_numpy(zero_copy_only=False)
    order = np.lexsort((np.arange(len(pair)), np.where(human, 0, -sure), ~human, pair))
    _, first = np.unique(pair[order], return_index=True)
    torn = np.intersect1d(pair[human & (sure == 1)], pair[human & (sure == 0)])
    kept = order[first]
    answers: dict[int, dict[float, int]] = {}  # pair -> yes or no -> the first row that says so
    for row in np.flatnonzero(human & among(pair, torn)).tolist():
        answers.setdefault(int(pair[row]), {}).setdefault(float(sure[row]), row)
    for said in answers.values():
        one, two = (
            (row, f"{words[origin[row]]}: {'yes' if answer else 'no'}")
            for row, answer in sorted((said[answer], answer) for answer in (0.0, 1.0))
        )
        image_name, label_name = (table.column(c)[one[0]].as_py() for c in ("image", "label"))
        conflicts.add("label", image_name, label_name, one[1], two[1], "neither")
    return np.sort(kept[~among(pair[kept], torn)])


def _boxes(
    table: pa.Table,
    origin: np.ndarray,
    words: Sequence[str],
    tree: Hierarchy,
    conflicts: _Conflicts,
) -> tuple[pa.Table, np.ndarray]:
    """One box for a thing: the more trusted one, which learns what the other knows."""
    image, _ = coded([table.column("image")])
    label, names = coded([table.column("label")])
    human = by_people(table).to_numpy(zero_copy_only=False)
    rank = np.lexsort((origin, ~human)).argsort(kind="stable")  # 0: the most trusted row
    one, two, _ = same_place(image[0], corners(table), SAME)
    apart = origin[one] != origin[two]  # a source may well have two things in one place
    one, two = one[apart], two[apart]
    better = rank[one] <= rank[two]
    first, second = np.where(better, one, two), np.where(better, two, one)
    said = marks(table).copy()
    gone = np.zeros(len(table), bool)
    for row in np.lexsort((rank[second], rank[first])):
        keep, drop = int(first[row]), int(second[row])
        if gone[keep] or gone[drop]:
            continue
        mine, theirs = names[label[0][keep]], names[label[0][drop]]
        if mine != theirs:
            if theirs in tree.descendants(mine):  # the kind says more than the class
                keep, drop = drop, keep
            elif mine not in tree.descendants(theirs):
                conflicts.add(
                    "class", table.column("image")[keep].as_py(), "one box, two classes",
                    f"{words[origin[keep]]}: {mine}", f"{words[origin[drop]]}: {theirs}", "both",
                )  # fmt: skip
                continue
        for place in np.flatnonzero((said[drop] >= 0) & (said[drop] != said[keep])).tolist():
            if said[keep, place] < 0:
                said[keep, place] = said[drop, place]
                continue
            conflicts.add(
                ATTRIBUTES[place], table.column("image")[keep].as_py(),
                table.column("label")[keep].as_py(),
                f"{words[origin[keep]]}: {said[keep, place]}",
                f"{words[origin[drop]]}: {said[drop, place]}", words[origin[keep]],
            )  # fmt: skip
        gone[drop] = True
    for place, name in enumerate(ATTRIBUTES):
        values = pa.array(said[:, place], pa.int8())
        table = table.set_column(table.column_names.index(name), name, values)
    return table, np.flatnonzero(~gone)


def _denied(
    tables: Mapping[str, pa.Table],
    origin: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    words: Sequence[str],
    conflicts: _Conflicts,
) -> None:
    """Boxes of a class that a person, of another source, says is not there: both stay."""
    rows = kept["labels"]
    labels = tables["labels"].take(pa.array(rows))
    no = by_people(labels).to_numpy() & (labels.column("confidence").to_numpy() == 0)
    boxes = tables["boxes"].take(pa.array(kept["boxes"]))
    (asked, there), _ = coded([labels.column("image"), boxes.column("image")])
    (label, boxed), _ = coded([labels.column("label"), boxes.column("label")])
    size = 1 + max(int(label.max(initial=0)), int(boxed.max(initial=0)))
    denied = dict(zip((asked * size + label)[no].tolist(), rows[no].tolist(), strict=True))
    for row, key in enumerate((there * size + boxed).tolist()):
        if key in denied:
            boxer, denier = origin["boxes"][kept["boxes"][row]], origin["labels"][denied[key]]
            conflicts.add(
                "box", boxes.column("image")[row].as_py(), boxes.column("label")[row].as_py(),
                f"{words[int(boxer)]}: a box", f"{words[int(denier)]}: no", "both",
            )  # fmt: skip


def _relations(table: pa.Table) -> np.ndarray:
    """The first of relations that say the same of boxes in the same places."""
    if not len(table):
        return np.zeros(0, np.int64)
    said = [coded([table.column(c)])[0][0] for c in ("image", "subject", "relation", "object")]
    places = np.round(ends(table).reshape(len(table), -1), 3)
    rows = np.concatenate([np.stack(said, 1), places], 1)
    _, first = np.unique(rows, axis=0, return_index=True)
    return np.sort(first)


def with_denials(held: Annotations, classes: Sequence[str] | None = None) -> Annotations:
    """The same with a "no" for every class a picture has no box of: say so of exhaustive sets.

    Sets such as COCO leave it unsaid that what has no box is not there; among others it must be
    said.
    """
    every = list(classes or pc.unique(held.boxes.column("label")).to_pylist())
    images = held.images.column("image").to_pylist()
    (boxed, asked), _ = coded([held.boxes.column("image"), held.labels.column("image")], images)
    (boxes, labels), _ = coded([held.boxes.column("label"), held.labels.column("label")], every)
    known = np.zeros((len(images), len(every)), bool)
    known[boxed[boxes >= 0], boxes[boxes >= 0]] = True
    known[asked[labels >= 0], labels[labels >= 0]] = True
    image, label = np.nonzero(~known)
    more = {
        "image": pa.array(images, pa.string()).take(pa.array(image)),
        "label": pa.array(every, pa.string()).take(pa.array(label)),
        "confidence": np.zeros(len(image)),
        "source": pa.repeat("verification", len(image)),
    }
    return held.with_(labels=pa.concat_tables([held.labels, pa.table(more, held.labels.schema)]))
