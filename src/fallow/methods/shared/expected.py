"""How many of some scores are odd, and which: a model of the ordinary ones, fitted without labels.

Ordinary scores, means of many patches, lie evenly around one place; odd ones around some place
above it, wherever that is. For every share of odd ones both are fitted to all scores, and every
share counts as much as it explains them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# APART, NOTHING, WRONG and BEYOND are chosen by recipes.judgement.spot
NOTHING = 0.3  # how likely it is beforehand that nothing is odd
MOST = 0.5  # the largest share of odd ones: beyond it they are the ordinary ones
WRONG = 0.2  # the share of flagged ones that may be ordinary, as the model sees it
APART = 1.5  # spreads of the ordinary ones that at least lie between their middle and the odd ones
BEYOND = 6.0  # median deviations above the median, below which nothing is flagged
LEAST = 0.05  # of a spread, in quartile distances of all scores
ROUNDS = 25
FOLDS = 5
SURE = 0.9  # of the interval
SURELY = 0.99  # from which a score is odd whatever the rest


class Law(NamedTuple):
    """Fits for all shares of odd scores, one in each row."""

    share: np.ndarray  # P
    weight: np.ndarray  # P, adds up to 1
    middle: np.ndarray  # P
    spread: np.ndarray  # P
    beyond: np.ndarray  # P, where odd scores lie
    reach: np.ndarray  # P, how far they spread


class Expected(NamedTuple):
    """What a model of the ordinary scores says of all."""

    odd: np.ndarray  # N, how likely each is odd
    number: float  # of odd ones
    interval: tuple[int, int]  # that holds their number with a probability of SURE
    threshold: float  # scores above are flagged; infinite where none is


def expected(
    scores: np.ndarray, *, wrong: float = WRONG, nothing: float = NOTHING, apart: float = APART
) -> Expected:
    """How likely each score is odd, how many are, and from which on they are flagged.

    Each score is judged by a fit to others, so that none speaks for itself.

    >>> draw = np.random.default_rng(0)
    >>> sound = draw.normal(1, 0.1, 80)
    >>> found = expected(np.r_[sound, draw.normal(3, 0.4, 20)])
    >>> 18 <= found.number <= 22, found.interval[0] <= 20 <= found.interval[1]
    (True, True)
    >>> expected(sound).threshold
    inf
    """
    values = np.asarray(scores, float)
    count = len(values)
    spread = float(np.subtract(*np.quantile(values, [0.75, 0.25]))) if count else 0.0
    if count < 4 or spread <= 1e-9 * max(1.0, abs(float(values.max(initial=0.0)))):
        return Expected(np.zeros(count), 0.0, (0, 0), np.inf)
    scaled = (values - np.median(values)) / spread
    whole = fitted(scaled, nothing, apart)
    odd = np.empty(count)
    folds = np.argsort(np.argsort(scaled, kind="stable"), kind="stable") % FOLDS
    for fold in range(FOLDS):
        own = folds == fold
        # a fit without these says what ordinary is, all scores together how many are odd
        law = fitted(scaled[~own], nothing, apart, whole)
        odd[own] = likely(law, scaled[own])
    # the higher a score, the odder
    order = np.argsort(scaled, kind="stable")
    odd[order] = np.maximum.accumulate(odd[order])
    number, interval = counted(whole, count)
    return Expected(odd, number, interval, cut(values, odd, wrong))


def cut(scores: np.ndarray, odd: np.ndarray, wrong: float, beyond: float = BEYOND) -> float:
    """The score above which as many lie as can be with a share of `wrong` ones among them.

    And which lie `beyond` median deviations above the median: where the model is mistaken about
    ordinary scores, that stays.

    >>> cut(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.9, 1.0]), 0.1, beyond=0.0)
    1.5
    """
    # of many odd ones the surest do not say how far ordinary ones spread
    ordinary = scores[odd < SURELY] if (odd < SURELY).any() else scores
    middle = float(np.median(ordinary))
    floor = middle + beyond * 1.4826 * float(np.median(np.abs(ordinary - middle)))
    return max(floor, _modelled(scores, odd, wrong))


def _modelled(scores: np.ndarray, odd: np.ndarray, wrong: float) -> float:
    order = np.argsort(-scores, kind="stable")
    means = np.cumsum(1 - odd[order]) / np.arange(1, len(scores) + 1)
    allowed = np.flatnonzero((means <= wrong) & (odd[order] > 0.5))
    if not len(allowed):
        return float("inf")
    last = int(allowed[-1])
    if last + 1 == len(scores):
        return float(scores[order[last]]) - 1e-9
    return float(scores[order[last]] + scores[order[last + 1]]) / 2


def fitted(values: np.ndarray, nothing: float, apart: float, known: Law | None = None) -> Law:
    """Both laws for every share of odd values; `known` says how much each share counts."""
    count = len(values)
    shares = np.r_[0.0, np.geomspace(1 / (2 * count), MOST, 24)] if known is None else known.share
    ordered = np.sort(values)
    place = (np.arange(count) + 0.5) / count
    ordinary = np.where(place[None] <= 1 - shares[:, None], 1.0, 0.02)  # P N
    for _ in range(ROUNDS):
        middle, spread = middle_of(ordered, ordinary)
        beyond, reach = middle_of(ordered, 1 - ordinary)
        beyond = np.maximum(beyond, middle + apart * spread)
        # a single score has no spread of its own: the ordinary ones' is the least
        law = Law(shares, np.ones(len(shares)), middle, spread, beyond, np.maximum(reach, spread))
        common, rare = densities(law, ordered)
        ordinary = common / np.maximum(common + rare, 1e-300)
    if known is not None:
        return law._replace(weight=known.weight)
    explained = np.log(np.maximum(common + rare, 1e-300)).sum(1)
    prior = np.r_[nothing, np.full(len(shares) - 1, (1 - nothing) / (len(shares) - 1))]
    weight = prior * np.exp(explained - explained.max())
    return law._replace(weight=weight / weight.sum())


def middle_of(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of weighted values, never quite nothing.  N, P N -> P, P"""
    total = np.maximum(weights.sum(1), 1e-9)
    mean = weights @ values / total
    square = (weights * (values - mean[:, None]) ** 2).sum(1) / total
    return mean, np.sqrt(np.maximum(square, LEAST**2))


def densities(law: Law, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ordinary and of odd ones, with the share they have.  P N each"""
    middle, spread, beyond, reach = (each[:, None] for each in law[2:])
    common, rare = bell(values, middle, spread), bell(values, beyond, reach)
    # below the ordinary ones' middle nothing is odd, however wide the odd ones spread
    rare = np.where(values > middle, rare, 0.0)
    return (1 - law.share)[:, None] * common, law.share[:, None] * rare


def bell(values: np.ndarray, middle: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The normal law's density."""
    away = (values - middle) / spread
    return np.exp(-(away**2) / 2) / (spread * np.sqrt(2 * np.pi))  # type: ignore[no-any-return]


def likely(law: Law, values: np.ndarray) -> np.ndarray:
    """How likely values are odd, over all shares."""
    common, rare = densities(law, values)
    return law.weight @ (rare / np.maximum(common + rare, 1e-300))  # type: ignore[no-any-return]


def counted(law: Law, count: int) -> tuple[float, tuple[int, int]]:
    """The mean number of odd ones, and the narrowest bounds at both ends of its distribution."""
    cumulated = np.cumsum(law.weight)
    low, high = (
        law.share[min(int(np.searchsorted(cumulated, level)), len(law.share) - 1)]
        for level in ((1 - SURE) / 2, (1 + SURE) / 2)
    )
    mean = float(law.weight @ law.share) * count
    return mean, (int(np.floor(low * count)), int(np.ceil(high * count)))
