"""How well boxes and relations are found, fair to what nobody annotated.

Annotation is seldom exhaustive: a detection whose class nobody checked in that picture is neither
right nor wrong, and is left out. One box may stand for a crowd: it is found once, by whatever lies
in it. A class without anything to find has no precision (NaN) and is in no mean.

Equal scores count in the order in which they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from fallow.annotations.boxes import enclosing, overlap, share
from fallow.annotations.store import among
from fallow.problems import Problem

MISSED, HIT, CROWD, AGAIN = 0, 1, 2, 3  # what becomes of a detection; AGAIN: a crowd found before


@dataclass(frozen=True)
class Boxes:
    """Boxes to be found, or those found with their scores. Classes count from 0."""

    image: np.ndarray  # N
    label: np.ndarray  # N
    box: np.ndarray  # N 4: xmin, ymin, xmax, ymax
    group: np.ndarray | None = None  # N, true where one box stands for a crowd
    score: np.ndarray | None = None  # N

    def take(self, rows: np.ndarray) -> Boxes:
        return Boxes(
            self.image[rows],
            self.label[rows],
            self.box[rows],
            None if self.group is None else self.group[rows],
            None if self.score is None else self.score[rows],
        )


@dataclass(frozen=True)
class Relations:
    """A subject in a relation to an object, each with its box; with scores where they are found."""

    image: np.ndarray  # N
    subject: np.ndarray  # N, a class
    relation: np.ndarray  # N
    object: np.ndarray  # N, a class
    boxes: np.ndarray  # N 2 4, or N 1 4: one box around both
    score: np.ndarray | None = None  # N

    def take(self, rows: np.ndarray) -> Relations:
        return Relations(
            self.image[rows],
            self.subject[rows],
            self.relation[rows],
            self.object[rows],
            self.boxes[rows],
            None if self.score is None else self.score[rows],
        )


@dataclass(frozen=True)
class Precision:
    """Average precision of every class, and what there was to find."""

    each: np.ndarray  # K, NaN where there was nothing to find
    positives: np.ndarray  # K
    judged: int  # detections that could be right or wrong

    @property
    def mean(self) -> float:
        """Over classes with anything to find; NaN if there are none."""
        known = self.each[~np.isnan(self.each)]
        return float(known.mean()) if len(known) else float("nan")


@dataclass(frozen=True)
class RelationScores:
    """Average precision over the relations there are, and recall among the best of each image."""

    relations: np.ndarray  # those that occur in truth
    precision: Precision
    pooled: float  # the average precision of all relations in one list
    recall: dict[int, float]


def precision_recall(
    scores: np.ndarray, credit: np.ndarray, positives: float
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall after every entry, best first; `credit` is 0 for a false one.

    >>> precision_recall(np.array([0.9, 0.8]), np.array([1.0, 0.0]), 2)
    (array([1. , 0.5]), array([0.5, 0.5]))
    """
    credit = np.asarray(credit, np.float64)[np.argsort(-np.asarray(scores), kind="stable")]
    right, wrong = np.cumsum(credit), np.cumsum(credit <= 0)
    return right / np.maximum(right + wrong, np.finfo(np.float64).tiny), right / positives


def area_under(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area under the falling hull of precision over recall, at every change of recall.

    >>> area_under(np.array([1.0, 0.5, 2 / 3]), np.array([0.5, 0.5, 1.0]))
    0.8333333333333333
    """
    hull = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * hull).sum())


def detection_precision(
    truth: Boxes,
    found: Boxes,
    classes: int,
    *,
    verified: np.ndarray | None = None,
    group_weight: float = 1.0,
    least: float = 0.5,
) -> Precision:
    """Average precision of every class, as in the Open Images challenge.

    `verified` (M 2) are the pairs of image and class somebody answered yes or no for: detections of
    other classes than these, and than those with boxes there, do not count. Without it annotation
    is taken to be exhaustive, as in PASCAL VOC. A crowd counts `group_weight` of an object, missed
    or found; with 0 it only excuses what lies in it.

    >>> box = np.array([[0.0, 0.0, 1.0, 1.0]])
    >>> one = Boxes(np.array([0]), np.array([0]), box, np.array([False]))
    >>> two = Boxes(np.array([0, 0]), np.array([0, 1]), box.repeat(2, 0), score=np.array([0.9, 1]))
    >>> detection_precision(one, two, 2, verified=np.array([[0, 0]])).each
    array([ 1., nan])
    """
    group = np.zeros(len(truth.image), bool) if truth.group is None else truth.group.astype(bool)
    _known(truth.label, classes, "truth")
    _known(found.label, classes, "detections")
    _no_empty(truth.box)
    scores = _scores(found.score)
    sides = found.box[:, 2:] - found.box[:, :2]
    rows = (sides > 0).all(1)
    keys = truth.image.astype(np.int64) * classes + truth.label
    theirs = found.image.astype(np.int64) * classes + found.label
    if verified is not None:
        answered = verified[:, 0].astype(np.int64) * classes + verified[:, 1]
        rows &= among(theirs, np.concatenate([answered, keys]))
    kept, scores, theirs = found.take(rows), scores[rows], theirs[rows]
    surest = np.argsort(-scores, kind="stable")
    state = _matched(keys, truth.box[:, None], group, theirs, kept.box[:, None], surest, least)
    positives = np.bincount(truth.label, np.where(group, group_weight, 1.0), classes)
    credit = np.choose(state, [0.0, 1.0, group_weight, 0.0])
    entry = (state != AGAIN) & ((state != CROWD) | (group_weight > 0))
    judged = surest[entry[surest]]
    return _each(kept.label[judged], scores[judged], credit[judged], positives, int(rows.sum()))


def relation_scores(
    truth: Relations,
    found: Relations,
    *,
    verified: np.ndarray,
    best: Sequence[int] = (50, 100),
    least: float = 0.5,
) -> RelationScores:
    """Precision of every relation, and the recall of each image's best detections.

    A detection counts if both its classes were checked in that picture, or if one was checked and
    is in no relation there: then it can only be wrong. Both boxes must overlap by `least`.
    """
    _no_empty(truth.boxes)
    _no_empty(found.boxes)
    found = found.take(_judged(truth, found, verified))
    scores = _scores(found.score)
    keys, theirs = _triples(truth, found)
    alone = np.zeros(len(keys), bool)
    surest = np.argsort(-scores, kind="stable")
    state = _matched(keys, truth.boxes, alone, theirs, found.boxes, surest, least)
    relations, mine = np.unique(truth.relation, return_inverse=True)
    positives = np.bincount(mine, minlength=len(relations)).astype(np.float64)
    rows = among(found.relation, relations)
    mine = np.searchsorted(relations, found.relation[rows])
    precision = _each(mine, scores[rows], state[rows] * 1.0, positives, len(rows))
    order = np.lexsort((-scores, found.image))
    images = found.image[order]
    place = np.arange(len(images)) - np.searchsorted(images, images)  # 0: the image's best
    total = max(len(truth.image), 1)
    recall = {k: float((state[order][place < k] == HIT).sum() / total) for k in best}
    pooled = area_under(*precision_recall(scores, state, total))
    return RelationScores(relations, precision, pooled, recall)


def phrases(relations: Relations) -> Relations:
    """The same with one box around subject and object: where a phrase holds, not what is where."""
    return Relations(
        relations.image,
        relations.subject,
        relations.relation,
        relations.object,
        enclosing(relations.boxes)[:, None],
        relations.score,
    )


def challenge_score(relation: RelationScores, phrase: RelationScores) -> float:
    """0.4 mean precision of relations, 0.2 recall of the best 50, 0.4 mean precision of phrases."""
    found = 0.4 * relation.precision.mean + 0.2 * relation.recall[50]
    return float(found + 0.4 * phrase.precision.mean)


def _each(
    label: np.ndarray,
    scores: np.ndarray,
    credit: np.ndarray,
    positives: np.ndarray,
    judged: int,
) -> Precision:
    # few classes fit into 16 bits, which are sorted by digits
    small = label.astype(np.int16) if len(positives) < 1 << 15 else label
    order = np.argsort(small, kind="stable")
    edges = np.searchsorted(label[order], np.arange(len(positives) + 1))
    each = np.full(len(positives), np.nan)
    for place in np.flatnonzero(positives > 0):
        rows = order[edges[place] : edges[place + 1]]
        curve = precision_recall(scores[rows], credit[rows], positives[place])
        each[place] = area_under(*curve)
    return Precision(each, positives, judged)


def _judged(truth: Relations, found: Relations, verified: np.ndarray) -> np.ndarray:
    """Which detections can be right or wrong at all."""
    classes = 1 + max(
        int(values.max(initial=0))
        for values in (truth.subject, truth.object, found.subject, found.object, verified[:, 1])
    )
    there = [truth.image.astype(np.int64) * classes + x for x in (truth.subject, truth.object)]
    related = np.concatenate(there)
    answered = verified[:, 0].astype(np.int64) * classes + verified[:, 1]
    unrelated = answered[~among(answered, related)]
    known = np.concatenate([related, answered])
    ends = [found.image.astype(np.int64) * classes + x for x in (found.subject, found.object)]
    both = among(ends[0], known) & among(ends[1], known)
    return both | among(ends[0], unrelated) | among(ends[1], unrelated)


def _triples(truth: Relations, found: Relations) -> tuple[np.ndarray, np.ndarray]:
    """One number for image, subject, object and relation together."""
    keys = np.zeros(len(truth.image), np.int64)
    theirs = np.zeros(len(found.image), np.int64)
    for name in ("image", "subject", "object", "relation"):
        one, two = getattr(truth, name).astype(np.int64), getattr(found, name).astype(np.int64)
        size = 1 + int(max(one.max(initial=0), two.max(initial=0)))
        keys, theirs = keys * size + one, theirs * size + two
    return keys, theirs


def _matched(
    keys: np.ndarray,
    boxes: np.ndarray,  # N P 4
    group: np.ndarray,
    theirs: np.ndarray,
    found: np.ndarray,  # M P 4
    surest: np.ndarray,  # M, rows from the highest score on
    least: float,
) -> np.ndarray:
    """What becomes of every detection: only truth of its own key is looked at."""
    place = np.argsort(keys, kind="stable")
    names, start = np.unique(keys[place], return_index=True)
    if not len(names):
        return np.zeros(len(theirs), np.int8)
    run = np.searchsorted(names, theirs)
    run[run == len(names)] = 0
    return _taken(
        surest,
        np.where(names[run] == theirs, run, -1),
        np.append(start, len(keys)),
        np.ascontiguousarray(boxes[place], np.float64),
        group[place],
        np.ascontiguousarray(found, np.float64),
        least,
    )


@njit(cache=True, nogil=True)
def _taken(
    surest: np.ndarray,
    runs: np.ndarray,  # M, the run of truth with a detection's key, or -1
    edges: np.ndarray,
    boxes: np.ndarray,
    group: np.ndarray,
    found: np.ndarray,
    least: float,
) -> np.ndarray:
    state = np.zeros(len(found), np.int8)
    taken = np.zeros(len(boxes), np.bool_)
    for row in surest:
        if runs[row] < 0:
            continue
        start, stop = edges[runs[row]], edges[runs[row] + 1]
        most, place = -1.0, -1  # only the nearest box counts: if it is taken, there is no other
        for one in range(start, stop):
            if not group[one]:
                value = 1.0
                for part in range(boxes.shape[1]):
                    value = min(value, overlap(boxes[one, part], found[row, part]))
                if value > most:
                    most, place = value, one
        if place >= 0 and most >= least and not taken[place]:
            taken[place] = True
            state[row] = HIT
            continue
        most, place = -1.0, -1
        for one in range(start, stop):
            if group[one]:
                value = share(boxes[one, 0], found[row, 0])
                if value > most:
                    most, place = value, one
        if place >= 0 and most >= least:
            state[row] = AGAIN if taken[place] else CROWD
            taken[place] = True
    return state


def _scores(scores: np.ndarray | None) -> np.ndarray:
    if scores is None:
        raise Problem("detections have no scores: give one for each, the surest highest.")
    values = np.asarray(scores, np.float64)
    if np.isnan(values).any():
        row = int(np.flatnonzero(np.isnan(values))[0])
        raise Problem(f"the score of detection {row} is not a number: leave it out or give it one.")
    return values


def _known(label: np.ndarray, classes: int, where: str) -> None:
    if len(label) and not (label.min() >= 0 and label.max() < classes):
        wrong = int(label.max() if label.max() >= classes else label.min())
        raise Problem(f"{where} hold class {wrong}, but there are {classes} classes from 0 on.")


def _no_empty(boxes: np.ndarray) -> None:
    wrong = ~(boxes[..., 2:] > boxes[..., :2]).all(-1)
    if wrong.any():
        box = boxes[wrong][0].tolist()
        raise Problem(f"the box {box} has no inside: its far corner must lie beyond its near one.")
