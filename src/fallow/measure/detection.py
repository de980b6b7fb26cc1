"""Boxes found beside boxes marked: average precision, from matches that are made once an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallow.problems import Problem

COCO = tuple(np.arange(0.5, 0.96, 0.05).round(2).tolist())


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image: left, top, right, bottom; classes; scores, unless they are marked."""

    boxes: np.ndarray  # n 4
    classes: np.ndarray  # n
    scores: np.ndarray | None = None  # n


def boxes(corners: Any, classes: Any, scores: Any = None) -> Boxes:
    """Boxes from plain lists; a Problem where they do not fit each other.

    >>> boxes([[0, 0, 4, 4]], ["car"]).boxes.shape
    (1, 4)
    """
    table = np.asarray(corners, np.float64).reshape(-1, 4)
    names = np.asarray(classes).reshape(-1)
    marks = None if scores is None else np.asarray(scores, np.float64).reshape(-1)
    if len(names) != len(table) or (marks is not None and len(marks) != len(table)):
        raise Problem(f"{len(table)} boxes need as many classes and scores.")
    if len(table) and not (table[:, 2:] >= table[:, :2]).all():
        raise Problem("a box is left, top, right, bottom, with right and bottom the larger.")
    return Boxes(table, names, marks)


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of boxes.  n m

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2]])).round(3)
    array([[1.   , 0.333]])
    """
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    sizes = [(table[:, 2:] - table[:, :2]).prod(1) for table in (one, other)]
    union = sizes[0][:, None] + sizes[1][None] - shared
    return np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)


@dataclass(frozen=True)
class Matches:
    """For one class, all boxes found in all images, and how many were marked in each."""

    image: np.ndarray  # n
    score: np.ndarray  # n
    right: np.ndarray  # n thresholds, bool
    marked: np.ndarray  # images


def matched(
    found: Sequence[Boxes], marked: Sequence[Boxes], thresholds: Sequence[float] = COCO
) -> dict[Any, Matches]:
    """Which boxes are right, class by class: in order of score each takes the best one left."""
    if len(found) != len(marked):
        raise Problem(f"{len(found)} images with found boxes, {len(marked)} with marked ones.")
    names = sorted({name for one in marked for name in one.classes.tolist()})
    result = {}
    for name in names:
        rows: list[tuple[int, float, np.ndarray]] = []
        count = np.zeros(len(marked), np.int64)
        for image, (here, truth) in enumerate(zip(found, marked, strict=True)):
            if here.scores is None:
                raise Problem("boxes that are found need scores.")
            target = truth.boxes[truth.classes == name]
            count[image] = len(target)
            mine = here.classes == name
            order = np.argsort(-here.scores[mine], kind="stable")
            boxes_here, scores = here.boxes[mine][order], here.scores[mine][order]
            near = overlaps(boxes_here, target)
            free = np.ones((len(thresholds), len(target)), bool)
            for box, score in enumerate(scores):
                right = np.zeros(len(thresholds), bool)
                for place, threshold in enumerate(thresholds):
                    left = np.where(free[place], near[box], -1.0)
                    if len(target) and left.max() >= threshold:
                        right[place] = True
                        free[place, left.argmax()] = False
                rows.append((image, float(score), right))
        result[name] = Matches(
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows]),
            np.array([row[2] for row in rows], bool).reshape(-1, len(thresholds)),
            count,
        )
    return result


def mean_average_precision(matches: dict[Any, Matches], times: Any = None) -> float:
    """Mean over classes and thresholds of the area under precision over recall.

    Precision is that at 101 recalls, each the best at that recall or a higher one. `times` says
    how often each image counts, for resampling; a class that then has no marked box is left out,
    and NaN means that no box was marked at all.

    >>> truth = [boxes([[0, 0, 9, 9]], [1])]
    >>> guess = [boxes([[0, 0, 9, 9], [20, 20, 30, 30]], [1, 1], [0.9, 0.95])]
    >>> round(mean_average_precision(matched(guess, truth, [0.5])), 3)
    0.5
    """
    areas = []
    for one in matches.values():
        weights = np.ones(len(one.marked)) if times is None else np.asarray(times, np.float64)
        total = float((weights * one.marked).sum())
        if total == 0:
            continue
        order = np.argsort(-one.score, kind="stable")
        counts = weights[one.image[order]]
        areas.append(_areas(one.right[order], counts, total).mean())
    return float(np.mean(areas)) if areas else float("nan")


def _areas(right: np.ndarray, counts: np.ndarray, total: float) -> np.ndarray:
    """The area for each threshold."""
    if not len(right):
        return np.zeros(right.shape[1])
    hit = np.cumsum(right * counts[:, None], 0)  # n thresholds
    all_of_them = np.cumsum(counts)[:, None]
    precision = hit / np.maximum(all_of_them, 1e-12)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    recalls = np.linspace(0, 1, 101)
    areas = []
    for place in range(right.shape[1]):
        at = np.searchsorted(hit[:, place] / total, recalls - 1e-12, "left")
        padded = np.r_[best[:, place], 0.0]
        areas.append(padded[at].mean())
    return np.array(areas)
