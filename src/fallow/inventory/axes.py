"""Main axes of a collection, as they are or with the spread of known classes evened out."""

from __future__ import annotations

import numpy as np


def evened(
    vectors: np.ndarray, known: np.ndarray, dimensions: int, *, first: int = 64, shrink: float = 0.3
) -> np.ndarray:
    """Rows on the main axes (N d) after evening out how classes spread around their means.

    Directions in which images of a known class differ anyway say little about classes, and are
    made shorter. The spread is estimated on the `first` main axes and mixed with `shrink` of a
    round one; 1 leaves the plain main axes.

    >>> draw = np.random.default_rng(0)
    >>> known = np.arange(3).repeat(50)
    >>> rows = np.c_[known + 0.1 * draw.normal(size=150), 9 * draw.normal(size=150)]
    >>> plain, even = principal(rows, 1)[:, 0], evened(rows, known, 1, shrink=0.0)[:, 0]
    >>> [abs(round(float(np.corrcoef(known, x)[0, 1]))) for x in (plain, even)]
    [0, 1]
    """
    points = principal(vectors, first)
    labelled = known >= 0
    names = known[labelled]
    away = points[labelled].copy()
    for one in np.unique(names):
        away[names == one] -= away[names == one].mean(0)
    freedom = max(1, len(away) - len(np.unique(names)))
    spread = away.T @ away / freedom
    size = np.trace(spread) / len(spread)
    if size <= 1e-15:
        return points[:, :dimensions]
    spread = (1 - shrink) * spread + (shrink + 1e-6) * size * np.eye(len(spread))
    return principal(points @ np.linalg.cholesky(np.linalg.inv(spread)), dimensions)


def principal(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Rows on their main axes (N d), float64, at most as many as there are.

    >>> principal(np.array([[0.0, 1.0], [0.0, 3.0]]), 1).round(6).tolist() in (
    ...     [[-1.0], [1.0]],
    ...     [[1.0], [-1.0]],
    ... )
    True
    """
    middle = np.asarray(vectors, np.float64)
    middle = middle - middle.mean(0)
    variance, axes = np.linalg.eigh(middle.T @ middle)
    axes = axes[:, np.argsort(-variance, kind="stable")[:dimensions]]
    sign = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return middle @ (axes * sign)
