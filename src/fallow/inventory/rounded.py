"""A space in which known classes are round: directions they spread along anyway are shortened."""

from __future__ import annotations

import numpy as np

from fallow.vectors.space import leading, unit

# Picked on the sets of recipes.judgement.count, all of them in sight.
DIMENSIONS = 64  # main directions in which images are sorted
ROUND = 0.3  # of a round spread mixed into that of the known classes


def rounded(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    dimensions: int = DIMENSIONS,
    roundness: float = ROUND,
) -> np.ndarray:
    """Rows (N d) of unit length where known classes are round; `known` (N) is a class, or -1.

    >>> draw = np.random.default_rng(0)
    >>> known = np.arange(2).repeat(50)
    >>> rows = draw.normal(size=(100, 3)) * (1, 9, 1) + 5 * np.eye(3)[2 * known]
    >>> even, plain = (rounded(rows, known, roundness=r) for r in (0.0, 1.0))
    >>> [
    ...     round(float(abs((x[known == 0].mean(0) - x[known == 1].mean(0))).max()), 1) > 1
    ...     for x in (even, plain)
    ... ]
    [True, False]
    """
    points = principal(vectors, dimensions)
    names = np.unique(known[known >= 0])
    spread = sum(scatter(points[known == one]) for one in names)
    return unit(points @ rounding(spread / max((known >= 0).sum() - len(names), 1), roundness))


def principal(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Rows of unit length on their main directions, again of unit length there."""
    points = unit(vectors)
    points = points - points.mean(0)
    dimensions = min(dimensions, points.shape[1], max(len(points) - 1, 1))
    return unit(points @ leading(points, dimensions)[1])


def rounding(spread: np.ndarray, roundness: float) -> np.ndarray:
    """The map (D D) under which a spread, mixed with `roundness` of a round one, becomes round.

    >>> rounding(np.diag([4.0, 1.0]), 0.0).round(3).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    size = np.trace(spread) / len(spread)
    if size <= 1e-15:
        return np.eye(len(spread))
    mixed = (1 - roundness) * spread + (roundness + 1e-6) * size * np.eye(len(spread))
    return np.linalg.cholesky(np.linalg.inv(mixed))


def scatter(points: np.ndarray) -> np.ndarray:
    """Sums of squares and products (D D) of rows about their mean."""
    away = (points - points.mean(0)).astype(np.float64)
    return away.T @ away
