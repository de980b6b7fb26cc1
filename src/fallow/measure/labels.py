"""Several right labels an image: how high a ranking puts them, and what the best guesses hit."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from fallow.problems import Problem


def label_ranking(scores: Any, labels: Any) -> np.ndarray:
    """Label-ranking average precision of each image, from scores and 0/1 labels (N K).  N

    For each right label, which share of those ranked at or above it is right; ties count whole.
    Where no label or every label is right, any ranking is perfect.

    >>> label_ranking([[0.9, 0.5, 0.1]], [[0, 1, 0]]).tolist()
    [0.5]
    """
    values, right = np.asarray(scores, np.float64), np.asarray(labels, bool)
    if values.shape != right.shape or values.ndim != 2:
        raise Problem(f"scores {values.shape} and labels {right.shape} must be one table's size.")
    found = np.ones(len(values))
    for row, (score, true) in enumerate(zip(values, right, strict=True)):
        if not true.any() or true.all():
            continue
        rising, rising_right = np.sort(score), np.sort(score[true])
        above = len(rising) - np.searchsorted(rising, score[true], "left")
        above_right = len(rising_right) - np.searchsorted(rising_right, score[true], "left")
        found[row] = (above_right / above).mean()
    return found


def hits(
    guesses: Any, truth: Any, meanings: Mapping[Any, Set[Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the best guesses (N k) hold one label of the true class, and as many as can be.  N, N

    A class means several labels; of one with more labels than there are guesses, all guesses must
    be right for the second. A label may belong to several classes.

    >>> one, every = hits([[1, 2], [1, 9]], ["bird", "bird"], {"bird": {1, 2, 3}})
    >>> one.tolist(), every.tolist()
    ([True, True], [True, False])
    """
    best = np.asarray(guesses)
    one, every = np.zeros(len(best), bool), np.zeros(len(best), bool)
    for row, (guess, name) in enumerate(zip(best.tolist(), truth, strict=True)):
        labels = meanings.get(name)
        if not labels:
            raise Problem(f"no label belongs to the class {name}: complete the table of classes.")
        found = len(labels & set(guess))
        one[row], every[row] = found >= 1, found == min(len(labels), best.shape[1])
    return one, every
