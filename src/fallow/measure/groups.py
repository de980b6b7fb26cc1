"""How well it goes on average, and in the group where it goes worst.

A group may be empty: it then has the value 0 and is never the worst. Values that nobody can give
(NaN) are never the worst either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Worst = Literal["least", "most"]


@dataclass(frozen=True)
class ByGroup:
    """A measure over everything, over each group, and over the worst group that is not empty."""

    overall: float
    each: np.ndarray  # G
    sizes: np.ndarray  # G, what each value is made of
    worst: float

    @property
    def worst_group(self) -> int | None:
        """The number of the worst group; none if there is no value at all."""
        found = np.flatnonzero((self.sizes > 0) & (self.each == self.worst))
        return int(found[0]) if len(found) else None


def averaged(values: np.ndarray, groups: np.ndarray, count: int, worst: Worst = "least") -> ByGroup:
    """Means of one value an entry, such as right or wrong; `worst="most"` for losses.

    With several values an entry (N, T), the missing ones are NaN and the others each count.

    >>> found = averaged(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 0, 2, 2]), 3)
    >>> found.overall, found.each.tolist(), found.sizes.tolist(), found.worst
    (0.75, [0.5, 0.0, 1.0], [2, 0, 2], 0.5)
    """
    values = np.asarray(values, np.float64)
    if values.ndim == 2:
        groups = np.repeat(groups, values.shape[1])
        values = values.reshape(-1)
    given = ~np.isnan(values)
    values, groups = values[given], groups[given]
    sizes = np.bincount(groups, minlength=count)
    each = np.bincount(groups, values, count) / np.maximum(sizes, 1)
    overall = float(values.mean()) if len(values) else 0.0
    return ByGroup(overall, each, sizes, worst_of(each, sizes, worst))


def by_group(
    measure: Callable[[np.ndarray, np.ndarray], float],
    predicted: np.ndarray,
    truth: np.ndarray,
    groups: np.ndarray,
    count: int,
    worst: Worst = "least",
) -> ByGroup:
    """A measure that only whole sets have, such as a correlation, of all and of each group.

    >>> one = np.array([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    >>> other = np.array([0.0, 1.0, 2.0, 2.0, 1.0, 0.0])
    >>> by_group(pearson, one, other, np.array([0, 0, 0, 1, 1, 1]), 2).worst
    -1.0
    """
    sizes = np.bincount(groups, minlength=count)
    each = np.array(
        [
            measure(predicted[groups == g], truth[groups == g]) if sizes[g] else 0.0
            for g in range(count)
        ]
    )
    return ByGroup(measure(predicted, truth), each, sizes, worst_of(each, sizes, worst))


def worst_of(each: np.ndarray, sizes: np.ndarray, worst: Worst = "least") -> float:
    """The least (of losses: the most) of the groups' values; NaN if there is none.

    >>> worst_of(np.array([0.0, 0.5, np.nan]), np.array([0, 3, 1]))
    0.5
    """
    some = each[(sizes > 0) & ~np.isnan(each)]
    if not len(some):
        return float("nan")
    return float(some.min() if worst == "least" else some.max())


def right(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 where a prediction is right, 0 where not, NaN where the truth is missing (NaN).

    >>> right(np.array([1, 0, 1]), np.array([1.0, 1.0, np.nan])).tolist()
    [1.0, 0.0, nan]
    """
    truth = np.asarray(truth, np.float64)
    return np.where(np.isnan(truth), np.nan, np.asarray(predicted) == truth)


def pearson(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Correlation of two rows of numbers; NaN where one of them does not vary.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.5])), 3)
    0.998
    """
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (predicted, truth))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def macro_recall(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Recall, averaged over the classes that the truth has.

    >>> macro_recall(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1]))
    0.75
    """
    classes = np.unique(truth)
    return float(np.mean([(predicted[truth == c] == c).mean() for c in classes]))


def macro_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    """F1, averaged over the classes that the truth has.

    >>> macro_f1(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1]))  # 1 and 2/3
    0.8333333333333333
    """
    both = []
    for c in np.unique(truth):
        said, is_so = predicted == c, truth == c
        both.append(2 * (said & is_so).sum() / (said.sum() + is_so.sum()))
    return float(np.mean(both))


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of every two boxes (A, 4) and (B, 4), corners x y x y.  -> A B

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 1], [5, 5, 6, 6]])).tolist()
    [[0.5, 0.0]]
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    return inside / np.maximum(areas[0][:, None] + areas[1][None] - inside, 1e-12)


def detection_accuracy(
    truth: np.ndarray, boxes: np.ndarray, scores: np.ndarray, sure: float = 0.5, least: float = 0.5
) -> float:
    """Found objects over found, missed and invented ones, in one picture.

    Every box with a score above `sure` belongs to the object it overlaps most, if by at least
    `least`; a second box of an object is invented. Nothing there and nothing said is 1.

    >>> truth = np.array([[0, 0, 2, 2], [5, 5, 7, 7]])
    >>> detection_accuracy(truth, truth[[0, 0]], np.array([0.9, 0.8]))  # found, missed, invented
    0.3333333333333333
    """
    kept = np.asarray(boxes)[np.asarray(scores) > sure]
    if not len(truth) or not len(kept):
        return float(len(truth) == len(kept))
    shared = overlaps(truth, kept)
    found = len(np.unique(shared.argmax(0)[shared.max(0) >= least]))
    return found / (len(truth) + len(kept) - found)
