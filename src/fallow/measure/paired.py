"""Two things judged on the same images: how sure is the difference, and which is ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallow.problems import Problem

DRAWS = 2000
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Range:
    """A value and the interval it lies in."""

    value: float
    low: float
    high: float


def resampled(count: int, groups: Any = None, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each row counts in each bootstrap sample.  draws count

    Rows of a group (the frames of one video) come and go together: they are near-duplicates.

    >>> times = resampled(4, ["a", "a", "b", "b"], draws=3)
    >>> times.shape, bool((times[:, 0] == times[:, 1]).all())
    ((3, 4), True)
    """
    if count < 1:
        raise Problem("nothing was judged: there is no image to resample.")
    _, place = np.unique(
        np.arange(count) if groups is None else np.asarray(groups), return_inverse=True
    )
    if len(place) != count:
        raise Problem(f"{count} images need as many groups, not {len(place)}.")
    many = int(place.max()) + 1
    draw = np.random.default_rng(seed)
    times = draw.multinomial(many, np.full(many, 1 / many), size=draws)
    return times[:, place]


def mean_range(
    values: Any, groups: Any = None, *, confidence: float = CONFIDENCE, seed: int = 0
) -> Range:
    """The mean of one value an image, and its bootstrap interval; pass differences for pairs.

    >>> found = mean_range([0.0, 1, 1, 1] * 25)
    >>> found.value, found.low < 0.75 < found.high
    (0.75, True)
    """
    rows = np.asarray(values, np.float64)
    times = resampled(len(rows), groups, seed=seed)
    return _range(float(rows.mean()), (times @ rows) / times.sum(1), confidence)


def statistic_range(
    statistic: Callable[[np.ndarray], float],
    count: int,
    groups: Any = None,
    *,
    draws: int = 400,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Range:
    """The same for any statistic of how often each image counts.

    >>> values = np.arange(5.0)
    >>> statistic_range(lambda times: float((times * values).sum() / times.sum()), 5).value
    2.0
    """
    times = resampled(count, groups, draws=draws, seed=seed)
    found = np.array([statistic(row) for row in times])
    return _range(float(statistic(np.ones(count))), found[np.isfinite(found)], confidence)


def mcnemar(before: Any, after: Any) -> float:
    """Chance of so uneven a change, were it equally likely in both directions (exact, two-sided).

    Only images count that were right once and wrong once.

    >>> mcnemar([0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1])
    0.0625
    """
    from scipy.stats import binomtest

    one, other = np.asarray(before, bool), np.asarray(after, bool)
    gained, lost = int((~one & other).sum()), int((one & ~other).sum())
    return 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost).pvalue)


@dataclass(frozen=True)
class Place:
    """One of several things judged on the same images."""

    name: str
    mean: Range
    rank: Range  # 1 is best


def ranked(
    values: Mapping[str, Any],
    groups: Any = None,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> list[Place]:
    """In the order of their means, best first, each with the ranks it takes when resampled.

    >>> [place.name for place in ranked({"a": [0, 0, 1], "b": [1, 1, 1]})]
    ['b', 'a']
    """
    table = np.array([np.asarray(one, np.float64) for one in values.values()])  # names images
    times = resampled(table.shape[1], groups, seed=seed)
    means = (times @ table.T) / times.sum(1, keepdims=True)  # draws names
    ranks = _ranks(means)
    whole = _ranks(table.mean(1)[None])[0]
    places = [
        Place(
            name,
            _range(float(table[k].mean()), means[:, k], confidence),
            _range(float(whole[k]), ranks[:, k], confidence),
        )
        for k, name in enumerate(values)
    ]
    return sorted(places, key=lambda place: -place.mean.value)


def _ranks(means: np.ndarray) -> np.ndarray:
    """1 for the largest of a row; equals share the mean of their ranks."""
    above = (means[:, None, :] > means[:, :, None]).sum(2)
    equal = (means[:, None, :] == means[:, :, None]).sum(2)
    return 1 + above + (equal - 1) / 2


def _range(value: float, drawn: np.ndarray, confidence: float) -> Range:
    if not len(drawn):
        return Range(value, float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Range(value, float(low), float(high))
