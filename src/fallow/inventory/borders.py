"""Where groups have clear borders, the number of them that is clearest is the number of classes."""

from __future__ import annotations

import numpy as np

from fallow.inventory.counting import Count
from fallow.inventory.semi import SemiClusters, semi_kmeans
from fallow.vectors.space import squared

CLEAR = 0.5  # the distance to the own centre is half of that to the next: what clear borders mean
MAYBE = 0.35  # from here on, other numbers are tried
TRIED = 12  # numbers in the range, at most


def clearest(points: np.ndarray, known: np.ndarray, count: Count, *, seed: int = 0) -> Count:
    """Another number of the range, if borders between so many groups are clear; else the same.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(6).repeat(20)
    >>> points = 9.0 * np.eye(6)[truth] + draw.normal(size=(120, 6))
    >>> known = np.where((truth < 3) & (draw.random(120) < 0.5), truth, -1)
    >>> clearest(points, known, Count(8, 4, 10))
    Count(classes=6, low=4, high=10)
    """

    def clear(number: int) -> float:
        return clarity(points, semi_kmeans(points, known, number, starts=3, seed=seed))

    high = min(count.high, int(known.max()) + 1 + int((known < 0).sum()))
    here = clear(count.classes)
    if here < MAYBE or high == count.low:
        return count
    tried = np.unique(np.round(np.geomspace(count.low, high, TRIED)).astype(int)).tolist()
    said = {count.classes: here} | {one: clear(one) for one in tried if one != count.classes}
    best = max(said, key=lambda one: said[one])
    return count._replace(classes=best) if said[best] >= CLEAR else count


def clarity(points: np.ndarray, found: SemiClusters) -> float:
    """How much nearer rows are to their own centre than to the next, as a share; the mean.

    >>> points = np.array([[0.0], [2.0], [9.0]])
    >>> clarity(points, SemiClusters(np.array([0, 0, 1]), np.array([[1.0], [9.0]]), 0, points))
    0.9153439153439153
    """
    if len(found.centres) < 2:
        return 0.0
    away = np.sqrt(squared(points.astype(np.float64), found.centres))
    rows = np.arange(len(points))
    own = away[rows, found.member]
    away[rows, found.member] = np.inf
    return float(((away.min(1) - own) / np.maximum(np.maximum(away.min(1), own), 1e-12)).mean())
