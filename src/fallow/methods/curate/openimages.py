"""Open Images V4: labels, boxes and relations of unequal trust on the same pictures, judged fairly.

(Kuznetsova et al., IJCV 2020.) A class people said yes to has all its boxes in that picture, at
the most specific class there is a box for; one they said no to has none; of all others nothing is
known. What follows from the tree of classes is added before anything is judged (`expanded`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

import fallow.annotations as store
from fallow.annotations import Annotations, Finding, Summary
from fallow.annotations.store import DERIVED, among, by_people, coded, corners, ends
from fallow.measure.annotated import (
    Boxes,
    Relations,
    challenge_score,
    detection_precision,
    phrases,
    relation_scores,
)
from fallow.problems import SourceProblem, did_you_mean
from fallow.train import make_settings


class Settings(BaseModel):
    """How detections are judged; defaults are those of the Open Images challenge."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least: float = Field(0.5, gt=0, le=1, description="overlap from which a box is found")
    group_weight: float = Field(
        1.0, ge=0, le=1, description="what finding a crowd counts; 0: it only excuses what is in it"
    )
    filter: bool = Field(
        True, description="leave out detections of classes nobody checked in that picture"
    )
    expand: Literal["both", "truth", "neither"] = Field(
        "both", description="where boxes count for the classes above theirs, too"
    )


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},  # the challenges of 2018 and 2019
    "paper-v2": {"group_weight": 0.0, "filter": False},
}


@dataclass(frozen=True)
class Judged:
    """Average precision of every class with anything to find, and their mean."""

    mean: float
    classes: list[dict[str, Any]]  # name, precision, objects; the worst first
    judged: int  # detections that could be right or wrong
    left_out: int  # those of classes nobody checked
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgedRelations:
    """What the challenge prints for relations, and its score of the three."""

    score: float
    mean: float
    recall: float  # among the 50 best of each picture
    phrase_mean: float
    relations: list[dict[str, Any]]  # name, precision, phrase_precision, count


@dataclass(frozen=True)
class Unified:
    """Several sources as one, what was wrong with each, and what they disagree about."""

    held: Annotations
    conflicts: pa.Table
    findings: dict[str, list[Finding]]
    summary: Summary
    notes: list[str]


def unify(
    sources: Mapping[str, Annotations | str | Path],
    *,
    same: Mapping[str, str] | None = None,
    known: Sequence[str] | None = None,
) -> Unified:
    """Read, check, mend and merge several sources, the most trusted first.

    >>> sides = {"xmin": [0.0], "ymin": [0.0], "xmax": [0.5], "ymax": [2.0]}
    >>> one = store.annotated(boxes={"image": ["a"], "label": ["cat"], **sides})
    >>> unify({"one": one}).notes
    ['one: 1 boxes reach over the edge and are cut there']
    """
    findings: dict[str, list[Finding]] = {}
    mended: dict[str, Annotations] = {}
    notes: list[str] = []
    for name, source in sources.items():
        held = source if isinstance(source, Annotations) else store.read(source)
        findings[name] = store.check(held, known=known)
        mended[name], done = store.mended(held)
        notes += [f"{name}: {note}" for note in done]
    whole = store.merged(mended, same)
    notes += whole.held.notes
    return Unified(whole.held, whole.conflicts, findings, store.summary(whole.held), notes)


def expanded(held: Annotations) -> Annotations:
    """The same with all that follows from the tree: a cat is an animal, no animal is no cat.

    What follows is marked as derived, and gives way to what a person or machine said itself.

    >>> tree = store.Hierarchy([("animal", "cat")])
    >>> cat = store.annotated(labels={"image": ["a"], "label": ["cat"]}, hierarchy=tree)
    >>> [row["label"] for row in expanded(cat).labels.to_pylist()]
    ['cat', 'animal']
    """
    boxes = _raised(held.boxes, held)
    positive = pc.greater(held.labels.column("confidence"), 0)
    denied = held.labels.filter(pc.invert(positive))
    rows, names = held.hierarchy.downwards(denied.column("label"))
    lowered = _copied(denied, rows, names)
    raised = _derived(held.labels.filter(positive), held)
    labels = pa.concat_tables([held.labels, raised, lowered])
    return held.with_(boxes=boxes, labels=labels.take(_said_once(labels)))


def without_denied(found: Annotations, held: Annotations) -> Annotations:
    """Detections less those of classes a person said are not in that picture.

    >>> no = {"image": ["a"], "label": ["cat"], "confidence": [0.0], "source": ["verification"]}
    >>> sides = {"xmin": [0.0], "ymin": [0.0], "xmax": [1.0], "ymax": [1.0]}
    >>> found = store.annotated(boxes={"image": ["a"], "label": ["cat"], **sides})
    >>> without_denied(found, store.annotated(labels=no)).boxes.num_rows
    0
    """
    answers = expanded(held.with_(boxes=held.boxes.slice(0, 0)))
    answers = answers.with_(labels=answers.labels.filter(_checked(answers.labels)))
    no = answers.labels.filter(pc.equal(answers.labels.column("confidence"), 0))
    columns = [t.column(c) for c in ("image", "label") for t in (found.boxes, no)]
    (image, there), (label, denied) = coded(columns[:2])[0], coded(columns[2:])[0]
    size = 1 + max(int(label.max(initial=0)), int(denied.max(initial=0)))
    stays = ~among(image * size + label, there * size + denied)
    return found.with_(boxes=found.boxes.filter(pa.array(stays)))


def judge(truth: Annotations, found: Annotations, settings: Settings | None = None) -> Judged:
    """Average precision of detections, whose confidence is their score.

    >>> sides = {"xmin": [0.0], "ymin": [0.0], "xmax": [1.0], "ymax": [1.0]}
    >>> one = store.annotated(boxes={"image": ["a"], "label": ["cat"], **sides})
    >>> judge(one, one).mean
    1.0
    """
    s = settings or make_settings(Settings, {})
    found, notes = _in_words_of(truth, found)
    if s.expand != "neither":
        truth = expanded(truth)
    if s.expand == "both":
        found = found.with_(boxes=_raised(found.boxes, truth))
    classes = truth.classes
    images = truth.images.column("image").to_pylist()
    wanted, given = (_boxes(held, images, classes) for held in (truth, found))
    verified = _answers(truth, images, classes) if s.filter else None
    precision = detection_precision(
        wanted, given, len(classes), verified=verified, group_weight=s.group_weight, least=s.least
    )
    rows = [
        {"name": truth.name(label), "precision": float(each), "objects": float(count)}
        for label, each, count in zip(classes, precision.each, precision.positives, strict=True)
        if not np.isnan(each)
    ]
    return Judged(
        precision.mean,
        sorted(rows, key=lambda row: row["precision"]),
        precision.judged,
        len(given.image) - precision.judged,
        tuple(notes),
    )


def judge_relations(
    truth: Annotations, found: Annotations, settings: Settings | None = None
) -> JudgedRelations:
    """Relations and phrases as in the challenge; the tree of classes plays no part."""
    s = settings or make_settings(Settings, {})
    found, _ = _in_words_of(truth, found)
    images = truth.images.column("image").to_pylist()
    classes = truth.classes
    words = [held.relations.column("relation") for held in (truth, found)]
    codes, names = coded(words)
    wanted, given = (
        _relations(held, images, classes, code)
        for held, code in zip((truth, found), codes, strict=True)
    )
    verified = _answers(truth, images, classes)
    both = [
        relation_scores(one, two, verified=verified, least=s.least)
        for one, two in ((wanted, given), (phrases(wanted), phrases(given)))
    ]
    relation, phrase = both
    rows = [
        {"name": truth.name(names[code]), "precision": float(one), "phrase_precision": float(two),
         "count": int(count)}
        for code, one, two, count in zip(
            relation.relations, relation.precision.each, phrase.precision.each,
            relation.precision.positives, strict=True,
        )
    ]  # fmt: skip
    return JudgedRelations(
        challenge_score(relation, phrase),
        relation.precision.mean,
        relation.recall[50],
        phrase.precision.mean,
        sorted(rows, key=lambda row: row["precision"]),
    )


def _raised(boxes: pa.Table, held: Annotations) -> pa.Table:
    rows, names = held.hierarchy.upwards(boxes.column("label"))
    copies = boxes.take(pa.array(rows))
    place = copies.column_names.index("label")
    return pa.concat_tables([boxes, copies.set_column(place, "label", names)])


def _derived(labels: pa.Table, held: Annotations) -> pa.Table:
    rows, names = held.hierarchy.upwards(labels.column("label"))
    return _copied(labels, rows, names)


def _copied(labels: pa.Table, rows: np.ndarray, names: pa.Array) -> pa.Table:
    """Rows again for other classes: a person's become derived, a machine's stay a machine's."""
    copies = labels.take(pa.array(rows))
    human = by_people(copies)
    source = pc.if_else(human, DERIVED, copies.column("source"))
    copies = copies.set_column(copies.column_names.index("label"), "label", names)
    return copies.set_column(copies.column_names.index("source"), "source", source)


def _said_once(labels: pa.Table) -> pa.Array:
    """Rows less those derived for a picture and a class that has a better one."""
    image, label = (coded([labels.column(name)])[0][0] for name in ("image", "label"))
    pair = image * (1 + label.max(initial=0)) + label
    human = by_people(labels).to_numpy()
    derived = pc.equal(labels.column("source"), DERIVED).to_numpy()
    sure = labels.column("confidence").to_numpy()
    # people first, then what follows from people (a yes before a no), then the surest machine
    order = np.lexsort((-sure, np.where(human, 0, np.where(derived, 1, 2)), pair))
    first = order[np.unique(pair[order], return_index=True)[1]]
    best = np.zeros(len(pair), bool)
    best[first] = True
    answered = among(pair, pair[human])
    return pa.array(np.flatnonzero(human | (best & ~answered)))


def _checked(labels: pa.Table) -> pa.ChunkedArray:
    return pc.or_(by_people(labels), pc.equal(labels.column("source"), DERIVED))


def _answers(held: Annotations, images: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Pairs of picture and class somebody checked.  M 2"""
    labels = held.labels.filter(_checked(held.labels))
    image, label = (
        coded([labels.column(name)], known)[0][0]
        for name, known in (("image", images), ("label", classes))
    )
    return np.stack([image, label], 1)


def _boxes(held: Annotations, images: Sequence[str], classes: Sequence[str]) -> Boxes:
    table = held.boxes
    image, label = (
        coded([table.column(name)], known)[0][0]
        for name, known in (("image", images), ("label", classes))
    )
    known = image >= 0
    return Boxes(
        image[known],
        label[known],
        corners(table)[known],
        (table.column("group").to_numpy() == 1)[known],
        table.column("confidence").to_numpy()[known],
    )


def _relations(
    held: Annotations, images: Sequence[str], classes: Sequence[str], relation: np.ndarray
) -> Relations:
    table = held.relations
    image = coded([table.column("image")], images)[0][0]
    columns = [table.column("subject"), table.column("object")]
    subject, other = coded(columns, classes)[0]
    known = image >= 0
    return Relations(
        image[known],
        subject[known],
        relation[known],
        other[known],
        ends(table)[known],
        table.column("confidence").to_numpy()[known],
    )


def _in_words_of(truth: Annotations, found: Annotations) -> tuple[Annotations, list[str]]:
    """Detections whose classes are called as in truth, and what does not fit."""
    shown = {truth.name(label).casefold(): label for label in truth.classes}
    ids = {label: label for label in truth.classes}
    names = {}
    for label in found.classes:
        word = found.name(label)
        known = ids.get(label) or shown.get(word.casefold())
        if known is None and label in _used(found):
            hint = did_you_mean(word, [truth.name(one) for one in truth.classes])
            raise SourceProblem(f"detections name the class {word!r}, which truth lacks: {hint}")
        names[label] = known or label
    notes: list[str] = []
    images = set(truth.images.column("image").to_pylist())
    theirs = pc.unique(pa.chunked_array(
        [*found.boxes.column("image").chunks, *found.relations.column("image").chunks],
        pa.string(),
    )).to_pylist()  # fmt: skip
    strange = [name for name in theirs if name not in images]
    if theirs and len(strange) == len(theirs):
        raise SourceProblem(
            f"no picture of the detections is in truth: they say {strange[0]}, "
            f"truth says {next(iter(images), 'nothing')}"
        )
    if strange:
        notes.append(
            f"{len(strange):,} pictures with detections are not in truth, e.g. {strange[0]}"
        )
    tables = {}
    for kind, columns in (("boxes", ("label",)), ("relations", ("subject", "object"))):
        table = getattr(found, kind)
        for column in columns:
            words = table.column(column).combine_chunks().dictionary_encode()
            values = [names[word] for word in words.dictionary.to_pylist()]
            place = table.column_names.index(column)
            table = table.set_column(
                place, column, pa.array(values, pa.string()).take(words.indices)
            )
        tables[kind] = table
    return found.with_(**tables), notes


def _used(found: Annotations) -> set[str]:
    return {
        word
        for table, columns in ((found.boxes, ("label",)), (found.relations, ("subject", "object")))
        for column in columns
        for word in pc.unique(table.column(column)).to_pylist()
    }
