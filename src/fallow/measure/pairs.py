"""Is it the same? Pairs judged by similarity: which are let in, and which wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fallow.measure.intervals import wilson
from fallow.problems import Problem


class Curve(NamedTuple):
    """What happens at falling thresholds; pairs at the threshold are let in."""

    accepted: np.ndarray  # T, of the pairs that are the same
    mistaken: np.ndarray  # T, of those that are not
    thresholds: np.ndarray  # T, the first above all
    same: int
    other: int


def curve(similarities: np.ndarray, same: np.ndarray) -> Curve:
    """Counts of pairs let in, at every value that occurs.

    >>> curve(np.array([0.9, 0.8, 0.1]), np.array([1, 0, 0])).accepted.tolist()
    [0, 1, 1, 1]
    """
    similarities, same = np.asarray(similarities, np.float64), np.asarray(same).astype(bool)
    if same.all() or not same.any():
        raise Problem("pairs that are the same and pairs that are not are both needed to judge by")
    order = np.argsort(-similarities, kind="stable")
    ordered, hits = similarities[order], np.cumsum(same[order])
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    accepted = np.append(0, hits[ends])
    mistaken = np.append(0, ends + 1 - hits[ends])
    return Curve(
        accepted, mistaken, np.append(np.inf, ordered[ends]), int(hits[-1]), int(mistaken[-1])
    )


class Rate(NamedTuple):
    """A share, and where it lies nineteen times of twenty."""

    share: float
    low: float
    high: float


def accepted_at(found: Curve, mistaken: float) -> Rate:
    """The share let in while at most a share `mistaken` of the others is (TAR at FAR)."""
    allowed = found.mistaken <= mistaken * found.other
    hits = int(found.accepted[allowed].max())
    return Rate(hits / found.same, *wilson(hits, found.same))


def accepted_near(found: Curve, mistaken: Sequence[float]) -> np.ndarray:
    """The share let in at the corner of the curve nearest each share `mistaken`, as papers print.

    The nearest corner may lie above what was allowed: `accepted_at` keeps to it.
    """
    bends = np.diff(found.accepted, 2).astype(bool) | np.diff(found.mistaken, 2).astype(bool)
    corner = np.concatenate([[True], bends, [True]])
    # of equally near corners the one that lets in more
    accepted = found.accepted[corner][::-1] / found.same
    rates = found.mistaken[corner][::-1] / found.other
    return np.array([accepted[np.abs(rates - rate).argmin()] for rate in mistaken])


def equal_error(found: Curve) -> float:
    """The rate at which as many are wrongly let in as wrongly kept out.

    >>> found = curve(np.array([0.9, 0.4, 0.6, 0.1]), np.array([1, 1, 0, 0]))
    >>> equal_error(found)
    0.5
    """
    wrong, missed = found.mistaken / found.other, 1 - found.accepted / found.same
    after = int(np.argmax(wrong >= missed))
    if after == 0:
        return float(missed[0])
    # straight between the two points where the curves cross
    gap = missed - wrong
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(wrong[after - 1] + share * (wrong[after] - wrong[after - 1]))


def best_accuracy(found: Curve) -> tuple[float, float]:
    """The best share of right answers, and the lowest threshold that gives it."""
    right = (found.accepted + found.other - found.mistaken) / (found.same + found.other)
    best = int(len(right) - 1 - right[::-1].argmax())
    return float(right[best]), float(found.thresholds[best])
