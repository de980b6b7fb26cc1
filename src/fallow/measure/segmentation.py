"""How well masks agree: Dice, Jaccard, mean IoU, and distances between their borders.

Masks are integer arrays of any shape, in pairs of the same shape. A class that neither mask has
is agreed upon: Dice and Jaccard are 1. A distance needs both borders: it is None without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fallow.problems import Problem

IGNORE = 255


def confusion(predicted: Any, truth: Any, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """How many pixels of each true class (rows) got each class (columns): K K.

    Pixels whose truth is `ignore` are not counted. Matrices of several images may be added.

    >>> confusion([0, 1, 1, 0], [0, 1, 0, 255], 2).tolist()
    [[1, 1], [0, 1]]
    """
    mine, theirs = _pair(predicted, truth)
    judged = theirs != ignore
    mine, theirs = mine[judged].astype(np.int64), theirs[judged].astype(np.int64)
    for values in (mine, theirs):
        if len(values) and not (values.min() >= 0 and values.max() < classes):
            wrong = int(values.max() if values.max() >= classes else values.min())
            raise Problem(f"a mask holds class {wrong}, but there are {classes} classes from 0 on.")
    return np.bincount(theirs * classes + mine, minlength=classes**2).reshape(classes, classes)


def dice(predicted: Any, truth: Any, classes: int = 2, ignore: int = IGNORE) -> np.ndarray:
    """Dice of every class (K,), from 0 to 1; class 0 is the background.

    >>> dice([[0, 1], [1, 1]], [[0, 1], [1, 0]]).round(3).tolist()
    [0.667, 0.8]
    """
    return dice_of(confusion(predicted, truth, classes, ignore))


def dice_of(counts: np.ndarray) -> np.ndarray:
    """Dice of every class from a confusion matrix.

    >>> dice_of(np.array([[3, 1], [1, 3]])).tolist()
    [0.75, 0.75]
    """
    both, total = np.diag(counts), counts.sum(0) + counts.sum(1)
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


def jaccard(predicted: Any, truth: Any, classes: int = 2, ignore: int = IGNORE) -> np.ndarray:
    """Intersection over union of every class (K,).

    >>> jaccard([[0, 1], [1, 1]], [[0, 1], [1, 0]]).round(3).tolist()
    [0.5, 0.667]
    """
    counts = confusion(predicted, truth, classes, ignore)
    both, union = _intersections(counts)
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def mean_iou(counts: np.ndarray, absent: Literal["skip", "zero", "untrue"] = "skip") -> float:
    """Mean intersection over union of a confusion matrix (the sum over a whole test set).

    A class that occurs neither in truth nor in prediction is skipped, or counts as 0, as some
    papers have it; "untrue" also skips a class that is not in the truth but was predicted.

    >>> counts = np.diag([3, 1, 0])
    >>> mean_iou(counts), round(mean_iou(counts, absent="zero"), 3)
    (1.0, 0.667)
    """
    counts = np.asarray(counts)
    each, union = iou_of(counts), _intersections(counts)[1]
    if absent == "skip":
        each = each[union > 0]
    elif absent == "untrue":
        each = each[counts.sum(1) > 0]
    return float(each.mean()) if len(each) else 1.0


def iou_of(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of every class of a confusion matrix; 0 where there is neither.

    >>> iou_of(np.array([[3, 1], [1, 3]])).tolist()
    [0.6, 0.6]
    """
    both, union = _intersections(np.asarray(counts))
    return both / np.maximum(union, 1)


def hd95(predicted: Any, truth: Any, spacing: Sequence[float] | None = None) -> float | None:
    """95th percentile of the distances from each border to the other, both ways together.

    Anything not 0 is inside; `spacing` is the size of a pixel along each axis.

    >>> square = np.zeros((8, 8), int)
    >>> square[2:5, 2:5] = 1
    >>> hd95(square, np.roll(square, 2, axis=1))
    2.0
    """
    found = _distances(predicted, truth, spacing)
    return None if found is None else float(np.percentile(np.concatenate(found), 95))


def asd(predicted: Any, truth: Any, spacing: Sequence[float] | None = None) -> float | None:
    """Mean distance from the predicted border to the true one, one way, as papers report it.

    >>> square = np.zeros((8, 8), int)
    >>> square[2:5, 2:5] = 1
    >>> asd(square, square)
    0.0
    """
    found = _distances(predicted, truth, spacing)
    return None if found is None else float(found[0].mean())


def _pair(predicted: Any, truth: Any) -> tuple[np.ndarray, np.ndarray]:
    mine, theirs = np.asarray(predicted), np.asarray(truth)
    if mine.shape != theirs.shape:
        raise Problem(f"a mask of {mine.shape} does not fit one of {theirs.shape}.")
    return mine, theirs


def _intersections(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = np.diag(counts)
    return both, counts.sum(0) + counts.sum(1) - both


def _distances(
    predicted: Any, truth: Any, spacing: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """From every border pixel of one mask to the nearest of the other, in both directions."""
    from scipy.ndimage import distance_transform_edt

    mine, theirs = (_border(values != 0) for values in _pair(predicted, truth))
    if not mine.any() or not theirs.any():
        return None
    away = [distance_transform_edt(~border, sampling=spacing) for border in (theirs, mine)]
    return away[0][mine], away[1][theirs]


def _border(inside: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a neighbour across a side that is outside; picture edges are outside.

    >>> _border(np.ones((3, 3), bool)).astype(int).tolist()
    [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    from scipy.ndimage import binary_erosion

    return inside & ~binary_erosion(inside)
