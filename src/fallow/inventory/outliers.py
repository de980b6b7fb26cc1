"""How far each image stands from the others, measured against the density around it."""

from __future__ import annotations

import numpy as np

from fallow.vectors.space import Neighbours


def outlier_scores(near: Neighbours, k: int = 10) -> np.ndarray:
    """About 1 for an ordinary row, larger the lonelier; N float32.

    The geometric mean of two ratios: own mean distance to k neighbours over that of the
    neighbours (a stray beside a dense group), and over the collection's median (a far stray).
    """
    if near.rows.shape[1] == 0:
        return np.ones(len(near.rows), np.float32)
    own = near.distances[:, :k].mean(axis=1)
    around = np.median(own[near.rows[:, :k]], axis=1)
    typical = max(float(np.median(own)), 1e-6)
    # the floor keeps copies of copies, at distance zero, from making everything else a stray
    local = own / np.maximum(around, 0.25 * typical)
    return np.sqrt(local * (own / typical)).astype(np.float32)


def outliers(scores: np.ndarray, deviations: float = 4.0, least: float = 1.25) -> np.ndarray:
    """Rows that stand out, the lonelier first: far above the collection's own spread.

    >>> outliers(np.array([1.0, 1.02, 0.97, 1.01, 2.5, 0.99])).tolist()
    [4]
    """
    if len(scores) < 5:
        return np.zeros(0, np.int64)
    middle = np.median(scores)
    spread = 1.4826 * np.median(np.abs(scores - middle))
    chosen = np.flatnonzero(scores > max(middle + deviations * spread, least))
    return chosen[np.argsort(-scores[chosen], kind="stable")]
