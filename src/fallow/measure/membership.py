"""Membership inference: can a model's answers tell which images it was trained on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fallow.problems import Problem

MOST = 5000  # images of a kind an attacker learns from, and as many it is asked about
TREES = 100


@dataclass(frozen=True)
class Membership:
    """How often an attacker is right who calls forgotten images members and unseen ones not."""

    success: float  # share of right guesses
    trivial: float  # what always giving the more frequent answer would reach
    balanced: float  # mean of the shares right among forgotten and among unseen
    auroc: float  # chance that a forgotten image looks more like a member than an unseen one
    forgotten: int
    unseen: int


def confidences(logits: Any) -> np.ndarray:
    """What the attacker sees: probabilities of every row, sorted ascending, without class names.

    >>> confidences([[0.0, 0.0], [np.log(3), 0.0]]).round(2).tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    """
    values = np.asarray(logits, np.float64)
    values = np.exp(values - values.max(1, keepdims=True))
    return np.sort(values / values.sum(1, keepdims=True), 1)


def attacked(count: int, batch: int, forgotten: int, skipped: int = MOST - 1) -> tuple[int, int]:
    """First and one past the last of the test rows the published attack asks about.

    It passes over whole batches, `skipped` rows or more, then takes whole batches until there
    are at least as many rows as forgotten ones.

    >>> attacked(5300, 32, 60)
    (5024, 5088)
    """
    start = min(count, -(-skipped // batch) * batch)
    return start, min(count, start + -(-forgotten // batch) * batch)


def judged(forgotten: Any, unseen: Any, threshold: float = 0.5) -> Membership:
    """The measures from an attacker's scores, where above the threshold means member.

    >>> judged([0.9, 0.2], [0.1, 0.4, 0.6]).success
    0.6
    """
    from fallow.measure.dense import auroc

    inside, outside = (np.asarray(part, np.float64) for part in (forgotten, unseen))
    if not len(inside) or not len(outside):
        raise Problem("membership inference needs forgotten images and unseen ones.")
    right = (inside > threshold).mean(), (outside <= threshold).mean()
    total = len(inside) + len(outside)
    truth = np.r_[np.ones(len(inside), int), np.zeros(len(outside), int)]
    area = auroc(truth, np.r_[inside, outside])
    assert area is not None  # there are some of both
    return Membership(
        success=float((right[0] * len(inside) + right[1] * len(outside)) / total),
        trivial=max(len(inside), len(outside)) / total,
        balanced=float(np.mean(right)),
        auroc=area,
        forgotten=len(inside),
        unseen=len(outside),
    )


class Attacker:
    """Boosted trees that learnt to tell a model's answers on members from those on outsiders.

    As many of each are used, so that neither answer is the safer guess.

    >>> random = np.random.default_rng(0)
    >>> sure, unsure = 9 * random.random((40, 3)), random.random((40, 3))
    >>> attacker = Attacker(sure[:20], unsure[:20])
    >>> attacker.ask(sure[20:], unsure[20:]).auroc > 0.9
    True
    """

    def __init__(self, members: Any, outsiders: Any, seed: int = 0) -> None:
        from sklearn.ensemble import GradientBoostingClassifier

        random = np.random.default_rng(seed)
        inside, outside = confidences(members), confidences(outsiders)
        count = min(len(inside), len(outside), MOST)
        if not count:
            raise Problem("membership inference needs images of both kinds to learn from.")
        rows = [part[random.permutation(len(part))[:count]] for part in (inside, outside)]
        truth = np.repeat([1, 0], count)
        self.trees = GradientBoostingClassifier(n_estimators=TREES, random_state=seed)
        self.trees.fit(np.concatenate(rows), truth)

    def ask(self, forgotten: Any, unseen: Any) -> Membership:
        """Its success on logits of forgotten images and of ones that nobody has shown it."""
        return judged(
            *(self.trees.predict_proba(confidences(x))[:, 1] for x in (forgotten, unseen))
        )
