"""How much of a collection repeats itself: bursts, frames of one clip, many views of one thing."""

from __future__ import annotations

import numpy as np

from fallow.vectors.space import unit


def effective_number(vectors: np.ndarray) -> float:
    """How many pictures as unlike as can be would spread as these do.

    The exponential of the entropy of the spectrum: as many as there are rows where all are at
    right angles, 1 where all are one.

    >>> round(effective_number(np.eye(5)), 6), round(effective_number(np.ones((5, 3))), 6)
    (5.0, 1.0)
    """
    rows = unit(np.asarray(vectors, np.float64))
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    shares = np.clip(np.linalg.eigvalsh(gram), 0, None)
    shares = shares / shares.sum()
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def nearest_within(vectors: np.ndarray, groups: np.ndarray) -> float:
    """The mean cosine of each row with the nearest other of its group; NaN if all are alone."""
    rows = unit(np.asarray(vectors, np.float64))
    found = []
    for name in np.unique(groups):
        own = rows[groups == name]
        if len(own) > 1:
            near = own @ own.T
            np.fill_diagonal(near, -np.inf)
            found.append(near.max(1))
    return float(np.concatenate(found).mean()) if found else float("nan")


def spread_out(vectors: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """`count` rows of which each is as far as can be from those before (farthest-point sampling).

    >>> spread_out(np.array([[0.0], [0.1], [9.0], [9.1]]), 2).tolist() in (
    ...     [0, 3],
    ...     [1, 3],
    ...     [2, 0],
    ...     [3, 0],
    ... )
    True
    """
    rows = np.asarray(vectors, np.float64)
    chosen = [int(np.random.default_rng(seed).integers(len(rows)))]
    away = np.square(rows - rows[chosen[0]]).sum(1)
    for _ in range(min(count, len(rows)) - 1):
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.square(rows - rows[chosen[-1]]).sum(1))
    return np.array(chosen)
