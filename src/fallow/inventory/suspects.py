"""Which labels look wrong: where an image, judged without its own label, says something else.

A few simple judges are asked, each without the row it judges. How far to believe each of them, how
many labels are wrong, and whether those were exchanged at random or between classes that look
alike, is read off the collection: what makes the labels that were given likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fallow.inventory.counting import rounding
from fallow.inventory.verdict import Verdict, weigh
from fallow.vectors.space import Neighbours, leading, squared, unit

# Chosen leave-one-set-out by recipes.judgement.
DIMENSIONS = 256  # main directions that the probe sees
FINE = 64  # those in which images are compared with the means of classes
RIDGE = 3e-4  # penalty of the probe, of the sum of all squares
ROUND = 0.3  # of a round spread mixed into that of classes
LEAST = 0.1  # chance to be wrong that a suspect has
SHOWN = 4  # pictures that argue for a label
LEARNT = 0.3  # of what there is to learn beyond the most frequent label
SAME = 0.3  # belief in each of two kinds for the other's images


@dataclass(frozen=True)
class Suspects:
    """Rows with a doubtful label, most doubtful first, and how far images predict labels."""

    rows: np.ndarray
    suggested: np.ndarray  # codes
    confidence: np.ndarray  # chance that the label is wrong
    agreement: float | None  # share of labelled rows that look like what their label says
    chance: float | None  # the same for always saying the most frequent label
    judged: bool = False  # whether images say enough of labels to doubt any
    expected: float = 0.0  # number of wrong labels
    interval: tuple[int, int] = (0, 0)  # which holds that number eight times of ten
    wrong: np.ndarray = field(default_factory=lambda: np.zeros(0))  # N, chance; NaN: not judged
    pictures: list[list[int]] = field(default_factory=list)  # rows that argue for the suggestion
    against: list[list[int]] = field(default_factory=list)  # the most alike with the own label
    alike: list[tuple[int, int, float]] = field(default_factory=list)  # codes that look the same
    unlike: list[tuple[int, float]] = field(default_factory=list)  # codes whose images look other


def suspects(
    near: Neighbours,
    codes: np.ndarray,
    vectors: np.ndarray | None = None,
    *,
    related: Sequence[tuple[int, int]] = (),
    k: int = 15,
) -> Suspects:
    """Doubtful labels among `codes` (N, -1 where there is none); `vectors` are the encoder's.

    Without vectors the k nearest neighbours judge alone. A class with a single image is not
    judged: nothing says what it looks like. As many rows are returned as labels are expected to
    be wrong, if the collection bears out that some are. Codes that are `related` (a kind and its
    kinds, several labels in one) do not contradict each other.

    >>> from fallow.vectors.space import neighbours
    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(4).repeat(50)
    >>> vectors = (np.eye(4)[truth] + 0.2 * draw.normal(size=(200, 4))).astype(np.float32)
    >>> codes = truth.copy()
    >>> codes[[3, 77]] = 2, 0
    >>> found = suspects(neighbours(vectors, 15), codes, vectors)
    >>> sorted(found.rows.tolist()), found.pictures[0][0] // 50 == found.suggested[0]
    ([3, 77], np.True_)
    """
    labelled = np.flatnonzero(codes >= 0)
    counts = np.bincount(codes[labelled], minlength=1)
    rows = labelled[counts[codes[labelled]] > 1]
    nothing = Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), None, None)
    if len(rows) < 10 or (vectors is None and near.rows.shape[1] == 0):
        return nothing
    kinds, given = np.unique(codes[rows], return_inverse=True)
    if len(kinds) < 2:
        return Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), 1.0, 1.0)
    views = None if vectors is None else _views(vectors[rows])
    trust = np.ones(len(rows))
    for _ in range(2):  # the second time doubtful labels teach less
        judges = [_votes(near, rows, len(codes), given, trust, k), _sizes(given, trust)]
        if views is not None:
            judges += [_probe(views[0], given, trust), _means(views[1], given, trust)]
        verdict = weigh(judges, given)
        trust = 1 - verdict.wrong
    wrong = _unrelated(verdict, given, _kin(kinds, related))
    case = _Case(near, codes, rows, kinds, given, verdict._replace(wrong=wrong))
    return _named(case, None if views is None else views[1])


# --- judges: N K, the larger the likelier, up to a factor that is learnt ---


def _views(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as the probe sees them, and on fewer directions."""
    points = unit(vectors).astype(np.float64)
    points -= points.mean(0)
    points = points @ leading(points, min(DIMENSIONS, len(points) - 1))[1]
    points /= max(float(np.sqrt((points**2).sum(1).mean())), 1e-12)
    return points, points[:, :FINE]


def _probe(points: np.ndarray, given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Least squares on the other rows, exactly, in one go for all rows.

    >>> draw = np.random.default_rng(0)
    >>> points, given = draw.normal(size=(12, 2)), np.arange(12) % 3
    >>> whole = _probe(points, given, np.ones(12))
    >>> rest = np.arange(12) != 5
    >>> wide = np.c_[points, np.ones(12)]
    >>> penalty = np.diag([RIDGE * 12, RIDGE * 12, 1e-9])
    >>> normal = wide[rest].T @ wide[rest] + penalty
    >>> alone = wide[5] @ np.linalg.solve(normal, wide[rest].T @ np.eye(3)[given[rest]])
    >>> bool(np.allclose(whole[5], alone))
    True
    """
    wide = np.c_[points, np.ones(len(points))]
    target = np.eye(int(given.max()) + 1)[given]
    penalty = np.full(wide.shape[1], RIDGE * len(points))
    penalty[-1] = 1e-9
    inverse = np.linalg.inv((wide * trust[:, None]).T @ wide + np.diag(penalty))
    said = wide @ (inverse @ ((wide * trust[:, None]).T @ target))
    own = trust * np.einsum("nd,nd->n", wide @ inverse, wide)[:]
    return (said - own[:, None] * target) / np.maximum(1 - own, 1e-3)[:, None]


def _means(points: np.ndarray, given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Nearness to the means of classes, in a space where classes are round on average.

    A row is left out of its class's mean and of the spread: one with a wrong label would make its
    own way look short. Means are pulled to that of all rows as if by one more image.
    """
    rows = np.arange(len(given))
    onehot = np.eye(int(given.max()) + 1)[given] * trust[:, None]  # N K
    mass = np.maximum(onehot.sum(0), 1e-9)
    away = points - (onehot.T @ points / mass[:, None])[given]
    freedom = max(trust.sum() - len(mass), 1.0)
    turn = rounding((away * trust[:, None]).T @ away / freedom, ROUND)
    points, away = points @ turn, away @ turn
    middle = trust @ points / trust.sum()
    sums = onehot.T @ points
    centres = (sums + middle) / (mass + 1)[:, None]
    left = np.maximum(mass[given] - trust, 0)
    own = (sums[given] - trust[:, None] * points + middle) / (left + 1)[:, None]
    far = squared(points, centres)
    far[rows, given] = ((points - own) ** 2).sum(1)
    # what the spread without the row adds (Sherman and Morrison)
    along = (points * away).sum(1, keepdims=True) - away @ centres.T
    along[rows, given] = ((points - own) * away).sum(1)
    part = (1 - ROUND) / freedom * trust * mass[given] / np.maximum(left, 0.1)
    rest = np.maximum(1 - part * (away**2).sum(1), 0.05)
    return -far - (part / rest)[:, None] * along**2


def _votes(
    near: Neighbours, rows: np.ndarray, total: int, given: np.ndarray, trust: np.ndarray, k: int
) -> np.ndarray:
    """What nearest labelled rows are, those nearer than usual counting more."""
    names, weights = np.full(total, -1), np.zeros(total)
    names[rows], weights[rows] = given, trust
    others, far = near.rows[rows, :k], near.distances[rows, :k]
    heard = np.exp(-((far / np.maximum(far.mean(1, keepdims=True), 1e-6)) ** 2)) * weights[others]
    votes = np.zeros((len(rows), int(given.max()) + 1))
    asker, place = np.nonzero(names[others] >= 0)
    np.add.at(votes, (asker, names[others[asker, place]]), heard[asker, place])
    return np.log(votes / np.maximum(votes.sum(1, keepdims=True), 1e-9) + 0.02)


def _sizes(given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """How many other images each class has."""
    mass = np.bincount(given, trust)
    others = np.tile(mass, (len(given), 1))
    others[np.arange(len(given)), given] -= trust
    return np.log(np.maximum(others, 0.5))


# --- the verdict in the collection's own rows and codes ---


class _Case(NamedTuple):
    near: Neighbours
    codes: np.ndarray
    rows: np.ndarray  # that are judged
    kinds: np.ndarray  # codes that occur among them
    given: np.ndarray  # places in kinds
    verdict: Verdict


def _named(case: _Case, points: np.ndarray | None) -> Suspects:
    rows, kinds, given, (takes, doubt, _, spread) = case[2], case[3], case[4], case[5]
    frequent = float(np.bincount(given).max() / len(given))
    agreement = float((takes.argmax(1) == given).mean())
    # where labels are wrong, images cannot agree with them
    judged = agreement - frequent > LEARNT * (1 - frequent) * (1 - min(doubt.mean(), 0.5))
    wrong = np.full(len(case.codes), np.nan)
    wrong[rows] = doubt
    if not judged:
        nothing = np.zeros(0, np.int64)
        return Suspects(nothing, nothing, np.zeros(0), agreement, frequent, wrong=wrong)
    unlike = _unlike(doubt, given)
    counted = ~np.isin(given, [kind for kind, _ in unlike])
    expected = float(doubt[counted].sum())
    order = np.argsort(-np.where(counted, doubt, -1), kind="stable")[: round(expected)]
    chosen = order[doubt[order] >= LEAST]
    rivals = takes.copy()
    rivals[np.arange(len(rows)), given] = -1
    suggested = rivals.argmax(1)
    low, high = (max(0, round(expected + side * 1.28 * spread)) for side in (-1, 1))
    return Suspects(
        rows[chosen],
        kinds[suggested[chosen]],
        doubt[chosen],
        agreement,
        frequent,
        True,
        expected,
        (low, high),
        wrong,
        [_most_alike(case, points, one, suggested[one]) for one in chosen],
        [_most_alike(case, points, one, given[one]) for one in chosen],
        [(int(kinds[a]), int(kinds[b]), part) for a, b, part in _alike(takes, given)],
        [(int(kinds[kind]), part) for kind, part in unlike],
    )


def _kin(kinds: np.ndarray, related: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which kinds do not contradict each other (K K)."""
    kin = np.eye(len(kinds), dtype=bool)
    places = {int(code): place for place, code in enumerate(kinds)}
    for one, two in related:
        if one in places and two in places:
            kin[places[one], places[two]] = kin[places[two], places[one]] = True
    return kin


def _unrelated(verdict: Verdict, given: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """The chance to be wrong (N), less what speaks for a related kind."""
    others = 1 - verdict.takes[np.arange(len(given)), given]
    stranger = (verdict.takes * ~kin[given]).sum(1)
    return verdict.wrong * np.minimum(stranger / np.maximum(others, 1e-12), 1)


def _unlike(doubt: np.ndarray, given: np.ndarray) -> list[tuple[int, float]]:
    """Kinds most of whose images look like other kinds, by far more than chance would have it.

    Such a label says something that looks do not: a broader kind, or another property. They are
    named once, and their images are not listed one by one.
    """
    from scipy.stats import binom

    found = []
    total = np.bincount(given)
    sums = np.bincount(given, doubt)
    for kind, size in enumerate(total):
        rest = (doubt.sum() - sums[kind]) / max(len(given) - size, 1)
        rare = binom.sf(round(sums[kind]) - 1, size, rest) if size > 4 else 1.0
        if sums[kind] > size / 2 and rare < 1e-3 / len(total):
            found.append((kind, float(sums[kind] / size)))
    return found


def _alike(takes: np.ndarray, given: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of kinds whose images are as good as not told apart, the worst first."""
    onehot = np.eye(takes.shape[1])[given]
    means = onehot.T @ takes / np.maximum(onehot.sum(0), 1)[:, None]
    both = np.minimum(means, means.T)
    pairs = np.argwhere(np.triu(both, 1) >= SAME)
    found = [(int(one), int(two), round(float(both[one, two]), 3)) for one, two in pairs]
    return sorted(found, key=lambda pair: -pair[2])


def _most_alike(case: _Case, points: np.ndarray | None, one: int, kind: int) -> list[int]:
    """Trusted rows of a kind most like one row, the nearest first."""
    fit = (case.given == kind) & (case.verdict.wrong < 0.5)
    fit[one] = False
    if points is None:
        there = np.zeros(len(case.codes), bool)
        there[case.rows[fit]] = True
        return [int(row) for row in case.near.rows[case.rows[one]] if there[row]][:SHOWN]
    others = np.flatnonzero(fit)
    away = ((points[others] - points[one]) ** 2).sum(1)
    return [int(row) for row in case.rows[others[np.argsort(away, kind="stable")[:SHOWN]]]]
