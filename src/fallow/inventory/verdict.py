"""What several judges of labels say together, how far to believe each, and how many labels err.

All of it is read off the collection: what makes the labels that were given likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Chosen leave-one-set-out by recipes.judgement.labels.
MOST = 500  # images from which weights are learnt
NEAREST = 3  # classes that a label may be mistaken for
HARD = 0.1  # of the images that are not told well, those that look clearly like a similar class
PULL = 0.5  # on the logarithms of weights, in labels
# Spreads from the expected number beyond which one truth of ten lies, below and above.
BELOW, ABOVE = 2.16, 5.01


class Verdict(NamedTuple):
    """What all judges together say."""

    takes: np.ndarray  # N K, chances of what an image is
    wrong: np.ndarray  # N, chance that its label is wrong
    expected: float  # number of wrong labels


class Fitted(NamedTuple):
    """Both explanations of the labels: wrong ones anywhere, or between similar classes as well."""

    ways: list[np.ndarray]  # K K each
    takes: tuple[np.ndarray, np.ndarray]  # N K each
    shares: tuple[np.ndarray, np.ndarray]
    weights: tuple[np.ndarray, np.ndarray]  # of judges


def fitted(judges: Sequence[np.ndarray], given: np.ndarray) -> Fitted:
    """What makes the labels likeliest, of judges (N K each, the larger the likelier)."""
    count, total = judges[0].shape
    judges = _even(judges)
    learnt = np.arange(count)
    if count > MOST:
        learnt = np.sort(np.random.default_rng(0).choice(count, MOST, replace=False))
    ways = [(1 - np.eye(total, dtype=np.float32)) / max(total - 1, 1)]
    random = _likeliest(judges, given, ways, learnt)
    first = _taken(judges, random.weights)
    if total - 1 <= NEAREST:  # every other class is among the nearest
        shares = np.append(random.shares, 0.0)
        return Fitted(ways * 2, (first, first), (random.shares, shares), (random.weights,) * 2)
    ways.append(_nearest(first))
    both = _likeliest(judges, given, ways, learnt, random)
    takes = (first, _taken(judges, both.weights))
    return Fitted(ways, takes, (random.shares, both.shares), (random.weights, both.weights))


def again(judges: Sequence[np.ndarray], found: Fitted) -> Fitted:
    """Other judges of the same kinds, believed as before."""
    first, second = (_taken(_even(judges), weights) for weights in found.weights)
    return found._replace(takes=(first, second))


def _even(judges: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Judges of about the same range; the likeliest class of each image is at nought."""
    judges = [judge - judge.max(1, keepdims=True) for judge in judges]
    return [(judge / max(float(judge.std()), 1e-3)).astype(np.float32) for judge in judges]


def believed(found: Fitted, given: np.ndarray, hard: float = HARD) -> Verdict:
    """Each explanation as far as wrong labels between similar classes are left to explain.

    Some images look clearly like a class that is similar to theirs: these are no wrong labels, and
    their share is taken off.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(300) % 5
    >>> judge = 3 * np.eye(5)[truth] + 0.5 * draw.normal(size=(300, 5))
    >>> given = truth.copy()
    >>> given[:30] = (given[:30] + draw.integers(1, 5, 30)) % 5
    >>> found = believed(fitted([judge], given), given)
    >>> 25 < found.expected < 35, bool((found.wrong[:30] > found.wrong[30:].max()).all())
    (True, True)
    """
    unclear = hard * (1 - float(found.takes[1].max(1).mean()))
    shares = found.shares[1] - np.array([0, min(unclear, found.shares[1][1])])
    similar = shares[1] / max(float(shares.sum()), 1e-12)
    wrong = (1 - similar) * _wrong(found.takes[0], given, found.shares[0], found.ways[:1])
    wrong += similar * _wrong(found.takes[1], given, shares, found.ways)
    takes = (1 - similar) * found.takes[0] + similar * found.takes[1]
    return Verdict(takes, wrong, float(wrong.sum()))


def interval(wrong: np.ndarray) -> tuple[int, int]:
    """Between which numbers eight of ten truths lie, of chances that labels are wrong (N).

    The fewer labels are in doubt, the better the number is known.

    >>> interval(np.repeat([1.0, 0.0], [20, 80])), interval(np.full(100, 0.2))
    ((18, 23), (11, 41))
    """
    low, high = ends(float(wrong.sum()), spread(wrong))
    return low, min(high, len(wrong))


def ends(
    expected: float, away: float, below: float = BELOW, above: float = ABOVE
) -> tuple[int, int]:
    """The interval of a number that is off by `away` on average, in whole labels."""
    return max(0, math.floor(expected - below * away)), math.ceil(expected + above * away)


def spread(wrong: np.ndarray) -> float:
    """Standard deviation of the number of wrong labels, if each were wrong by its own chance.

    Half a label is added: a number is whole.
    """
    return math.sqrt(float((wrong * (1 - wrong)).sum()) + 0.25)


class _Fit(NamedTuple):
    weights: np.ndarray  # of judges
    shares: np.ndarray  # of labels that went wrong in each way


def _nearest(takes: np.ndarray) -> np.ndarray:
    """For each class (K) those that its images might most be instead, alike.  K K"""
    total = takes.shape[1]
    sums = np.zeros((total, total), np.float32)
    np.add.at(sums, takes.argmax(1), takes)
    np.fill_diagonal(sums, -1)
    near = np.zeros_like(sums)
    places = np.argsort(-sums, axis=1, kind="stable")[:, : min(NEAREST, total - 1)]
    np.put_along_axis(near, places, 1.0, 1)
    return near / near.sum(1, keepdims=True)


def _likeliest(
    judges: Sequence[np.ndarray],
    given: np.ndarray,
    ways: Sequence[np.ndarray],
    rows: np.ndarray,
    before: _Fit | None = None,
) -> _Fit:
    """Weights of judges and shares of the ways a label goes wrong, by ascent over some rows.

    A way (K K) is the chance that an image of the one class is given the label of the other.
    """
    from scipy.optimize import minimize

    heard = np.stack([judge[rows] for judge in judges])  # J N K
    count, many = len(rows), len(judges)
    gets = [way[:, given[rows]].T for way in ways]  # N K each
    right = np.eye(heard.shape[2], dtype=np.float32)[given[rows]]

    def cost(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, shares = np.exp(values[:many]), _shares(values[many:])
        takes = _softmax(np.tensordot(weights.astype(np.float32), heard, 1))
        own = (takes * right).sum(1)
        met = [(takes * get).sum(1) for get in gets]
        left = 1 - float(shares.sum())
        likely = left * own + sum(s * m for s, m in zip(shares, met, strict=True))
        likely = np.maximum(likely, 1e-12)
        label = np.float32(left) * right
        label = label + sum(np.float32(s) * g for s, g in zip(shares, gets, strict=True))
        part = takes * (label / likely[:, None] - 1)
        slopes = np.array(
            [-w * np.vdot(part, judge) for w, judge in zip(weights, heard, strict=True)]
        )
        moves = np.array([-((each - own) / likely).sum() for each in met])
        moves = shares * (moves - shares @ moves)
        # a few labels can be met by boundless belief: it is held near what it begins with
        pull = PULL * values[:many]
        whole = 0.5 * float(pull @ values[:many]) - float(np.log(likely).sum())
        # before anything is seen, one label is taken to be wrong
        whole -= float(np.log(shares.sum()))
        moves = moves - shares * (1 - shares.sum()) / shares.sum()
        return whole / count, np.r_[slopes + pull, moves].astype(float) / count

    start = np.r_[np.full(many, -1.0), np.full(len(ways), -3.0)]
    if before is not None:
        old = np.log(np.maximum(before.shares / max(1 - before.shares.sum(), 1e-6), 1e-4))
        start = np.r_[np.log(before.weights), old, np.full(len(ways) - len(old), old[-1] - 1)]
    bounds = [(-8.0, 4.0)] * many + [(-12.0, 3.0)] * len(ways)
    best = minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}
    )
    return _Fit(np.exp(best.x[:many]), _shares(best.x[many:]))


def _shares(values: np.ndarray) -> np.ndarray:
    """Shares, together below one, of free numbers."""
    return np.exp(values) / (1 + np.exp(values).sum())


def _taken(judges: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Chances (N K) of what each image is."""
    return _softmax(np.tensordot(weights.astype(np.float32), np.stack(judges), 1))


def _softmax(sums: np.ndarray) -> np.ndarray:
    sums = np.exp(sums - sums.max(1, keepdims=True))
    return sums / sums.sum(1, keepdims=True)


def _wrong(
    takes: np.ndarray, given: np.ndarray, shares: np.ndarray, ways: Sequence[np.ndarray]
) -> np.ndarray:
    """The chance that each label is wrong (N)."""
    right = (1 - shares.sum()) * takes[np.arange(len(given)), given]
    astray = np.zeros(len(given))
    for share, way in zip(shares, ways, strict=True):
        astray += share * (takes * way[:, given].T).sum(1)
    return astray / np.maximum(astray + right, 1e-30)
