"""How good a list is whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Pair = tuple[int, int]


def average_precision(scores: Sequence[float] | np.ndarray, wrong: np.ndarray) -> float:
    """Of rows ranked by score, the highest first; equal scores share their places.

    >>> average_precision([0.9, 0.8, 0.1], np.array([0, 2]))
    0.8333333333333333
    """
    from sklearn.metrics import average_precision_score

    truth = np.zeros(len(scores), bool)
    truth[wrong] = True
    return float(average_precision_score(truth, np.asarray(scores)))


def precision(flagged: Iterable[int], wrong: np.ndarray) -> float:
    """Share of the flagged rows that are wrong; nothing flagged scores nothing.

    >>> precision([1, 2], np.array([2, 5]))
    0.5
    """
    rows = set(flagged)
    return len(rows & set(wrong.tolist())) / len(rows) if rows else 0.0


def recall_without_false(
    scored: Iterable[tuple[int, int, float]], planted: set[Pair], same: Sequence[int] | np.ndarray
) -> float:
    """Planted pairs above the strongest false one; `same` names what each row was made of.

    >>> pairs = [(0, 1, 0.9), (2, 3, 0.8), (1, 2, 0.7), (4, 5, 0.6)]
    >>> recall_without_false(pairs, {(0, 1), (2, 3), (4, 5)}, [0, 0, 2, 2, 4, 4])
    0.6666666666666666
    """
    pairs = list(scored)
    strongest = max((close for one, two, close in pairs if same[one] != same[two]), default=-np.inf)
    met = {(min(one, two), max(one, two)) for one, two, close in pairs if close > strongest}
    return len(met & planted) / len(planted)


def off(count: int, truth: int) -> float:
    """How far an estimated number is from the true one, as a share of it.

    >>> off(12, 10)
    0.2
    """
    return abs(count - truth) / truth
