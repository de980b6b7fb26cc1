"""Is what belongs to something near the top of its ranking, and how near?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def pair_recall(
    similarity: Any, pairs: Any, ks: Sequence[int] = (1, 5, 10, 20)
) -> dict[int, float]:
    """Share of true pairs (row, column) whose column is among the row's first k.

    A diagonal must hold what nobody looks for: its row itself comes last only if it says so.

    >>> pair_recall([[0.0, 0.9, 0.1], [0.2, 0.0, 0.8], [0.5, 0.1, 0.0]], [(0, 1), (1, 0)], (1, 2))
    {1: 0.5, 2: 1.0}
    """
    places = _places(similarity, pairs)
    return {k: float((places < k).mean()) for k in ks}


def ndcg(similarity: Any, pairs: Any, ks: Sequence[int] = (5, 10, 20)) -> dict[int, float]:
    """Gain of a row's true columns by their places, over the most it could be; mean over rows.

    >>> round(ndcg([[0.0, 0.9, 0.1, 0.3]], [(0, 1), (0, 2)], (3,))[3], 4)
    0.9197
    """
    rows = np.asarray(pairs)[:, 0]
    places = _places(similarity, pairs)
    found = {}
    for k in ks:
        gains = np.where(places < k, 1 / np.log2(places + 2.0), 0.0)
        scores = []
        for row in np.unique(rows):
            own = rows == row
            best = 1 / np.log2(np.arange(min(k, own.sum())) + 2.0)
            scores.append(gains[own].sum() / best.sum())
        found[k] = float(np.mean(scores))
    return found


def _places(similarity: Any, pairs: Any) -> np.ndarray:
    """Where the column of each pair stands in its row, from 0 on."""
    values = np.asarray(similarity, float)
    order = np.argsort(-values, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(values.shape[1])[None], 1)
    rows, columns = np.asarray(pairs).T
    return places[rows, columns]  # type: ignore[no-any-return]


def tied_ranks(distance: Any, own: Any) -> np.ndarray:
    """How many columns are at most as far (N M) as the row's own one: whoever ties with it counts.

    >>> tied_ranks([[0.3, 0.1, 0.3]], [0]).tolist()
    [3]
    """
    values = np.asarray(distance)
    mine = np.take_along_axis(values, np.asarray(own)[:, None], 1)
    return (values <= mine).sum(1)  # type: ignore[no-any-return]


def accuracy_at(ranks: Any, ks: Sequence[int] = (1, 10)) -> dict[int, float]:
    """Share of ranks up to k.

    >>> accuracy_at([1, 2, 20])
    {1: 0.3333333333333333, 10: 0.6666666666666666}
    """
    return {k: float((np.asarray(ranks) <= k).mean()) for k in ks}
