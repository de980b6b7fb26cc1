"""How well scores agree with people's opinions, and how well people agree among themselves.

Correlations of raw scores say nothing of a scale; errors do, and are of raw scores or of scores
bent to the ratings by a rising curve of four numbers. Which of the two is always said.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fallow.problems import Problem

Fit = Literal["raw", "curve", "line"]


@dataclass(frozen=True)
class Agreement:
    """Correlations and errors, and what was done to the scores before."""

    srcc: float  # of ranks
    krcc: float  # of pairs, ties taken into account
    plcc: float  # linear
    rmse: float
    mae: float
    fit: Fit  # what scores went through for plcc, rmse and mae


@dataclass(frozen=True)
class Opinion:
    """Mean opinions, how sure they are, and how far raters can be trusted."""

    mean: np.ndarray  # N
    spread: np.ndarray  # N, standard deviation over ratings
    half_width: np.ndarray  # N, of the 95 % interval around the mean
    self_plcc: np.ndarray  # R, each rater's first round with the second
    self_srcc: np.ndarray  # R
    with_others: np.ndarray  # R, each rater with the mean of the others
    ceiling: float  # rank correlation of half of the raters with the other half


def agreement(scores: Any, ratings: Any) -> Agreement:
    """Agreement of raw scores, whose scale must be that of the ratings.

    >>> found = agreement([0.1, 0.2, 0.4], [0.2, 0.3, 0.5])
    >>> round(found.srcc, 3), round(found.plcc, 3), round(found.rmse, 3)
    (1.0, 1.0, 0.1)
    """
    x, y = _pair(scores, ratings)
    return _agreement(x, y, x, "raw")


def agreement_after_fit(scores: Any, ratings: Any) -> Agreement:
    """Agreement of scores bent to the ratings by a curve fitted to these very ratings.

    That flatters, the more the fewer there are. Where no curve can be fitted a rising line is.

    >>> x = np.linspace(-3, 3, 20)
    >>> found = agreement_after_fit(x, 0.5 + 0.2 / (1 + np.exp(-x)))
    >>> found.fit, round(found.plcc, 6), round(found.rmse, 6)
    ('curve', 1.0, 0.0)
    """
    x, y = _pair(scores, ratings)
    bent, fit = fitted(x, y)
    return _agreement(x, y, bent(x), fit)


def fitted(scores: Any, ratings: Any) -> tuple[Callable[[np.ndarray], np.ndarray], Fit]:
    """The curve b + (a - b) / (1 + exp(-(x - c) / |d|)) nearest the ratings, as challenges fit it.

    A curve that cannot be found gives way to a line that rises or is flat, and ranks stay.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    x, y = _pair(scores, ratings)
    middle, width = float(x.mean()), float(x.std()) or 1.0
    start = [y.max(), y.min(), 0.0, 0.25]
    try:
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)  # how sure the four are is not asked
            # scores are brought to a spread of 1 first: the search is lost on other scales
            found, _ = curve_fit(_curve, (x - middle) / width, y, start, maxfev=20_000)
    except (RuntimeError, TypeError):  # no end in sight, or fewer ratings than numbers
        slope, offset = np.polyfit((x - middle) / width, y, 1) if x.std() else (0.0, 0.0)
        if slope <= 0:
            return lambda values: np.full(np.shape(values), y.mean()), "line"
        return lambda values: slope * (np.asarray(values) - middle) / width + offset, "line"
    return lambda values: _curve((np.asarray(values) - middle) / width, *found), "curve"


def constant(ratings: Any) -> Agreement:
    """What predicting the mean of the ratings for every picture reaches: the row to beat.

    >>> round(constant([0.2, 0.4]).rmse, 3)
    0.1
    """
    y = np.asarray(ratings, np.float64)
    away = y - y.mean()
    return Agreement(
        0.0, 0.0, 0.0, float(np.sqrt((away**2).mean())), float(abs(away).mean()), "raw"
    )


def opinion(ratings: Any, seed: int = 0) -> Opinion:
    """Mean opinions of ratings (N pictures, R raters, S rounds).

    >>> found = opinion(np.array([[[0.2, 0.4]], [[0.6, 0.8]], [[0.5, 0.7]]]))
    >>> found.mean.round(3).tolist(), found.self_srcc.round(3).tolist()
    ([0.3, 0.7, 0.6], [1.0])
    """
    values = np.asarray(ratings, np.float64)
    if values.ndim != 3 or not np.isfinite(values).all():
        raise Problem("ratings must be numbers for each picture, rater and round, none missing.")
    count, raters, rounds = values.shape
    each = values.reshape(count, -1)
    spread = each.std(1, ddof=1) if each.shape[1] > 1 else np.zeros(count)
    twice = rounds > 1
    pairs = [(values[:, r, 0], values[:, r, 1]) for r in range(raters)] if twice else []
    own = values.mean(2)  # N R
    others = [
        _correlation(own[:, r], np.delete(own, r, 1).mean(1)) if raters > 1 else np.nan
        for r in range(raters)
    ]
    return Opinion(
        each.mean(1),
        spread,
        1.96 * spread / np.sqrt(each.shape[1]),
        np.array([_correlation(*pair) for pair in pairs]),
        np.array([_correlation(_ranks(a), _ranks(b)) for a, b in pairs]),
        np.array(others),
        _halves(own, seed),
    )


def trusted(found: Opinion, least: float = 0.3) -> np.ndarray:
    """Raters who agree with themselves and with the others by `least` or more.  R

    >>> ratings = np.random.default_rng(0).random((30, 1, 1)) + np.zeros((30, 4, 2))
    >>> ratings[:, 3] = np.random.default_rng(1).random((30, 2))
    >>> trusted(opinion(ratings)).tolist()
    [True, True, True, False]
    """
    good = np.nan_to_num(found.with_others) >= least
    return good & (np.nan_to_num(found.self_srcc) >= least) if len(found.self_srcc) else good


def _curve(x: np.ndarray, a: float, b: float, c: float, d: float) -> np.ndarray:
    from scipy.special import expit

    return (a - b) * expit((x - c) / max(abs(d), 1e-12)) + b


def _agreement(x: np.ndarray, y: np.ndarray, bent: np.ndarray, fit: Fit) -> Agreement:
    from scipy.stats import kendalltau

    flat = x.std() == 0 or y.std() == 0  # no order: no correlation
    pairs = 0.0 if flat else float(kendalltau(x, y).statistic)
    away = bent - y
    return Agreement(
        _correlation(_ranks(x), _ranks(y)),
        pairs,
        _correlation(bent, y),
        float(np.sqrt((away**2).mean())),
        float(np.abs(away).mean()),
        fit,
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    length = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / length) if length > 1e-300 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values)


def _halves(own: np.ndarray, seed: int, rounds: int = 100) -> float:
    """Mean rank correlation of two halves of the raters, over random halves."""
    raters = own.shape[1]
    if raters < 2:
        return float("nan")
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        order = draw.permutation(raters)
        one, two = own[:, order[: raters // 2]].mean(1), own[:, order[raters // 2 :]].mean(1)
        found.append(_correlation(_ranks(one), _ranks(two)))
    return float(np.mean(found))


def _pair(scores: Any, ratings: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(values, np.float64).reshape(-1) for values in (scores, ratings))
    if len(x) != len(y):
        raise Problem(f"{len(x)} scores do not fit {len(y)} ratings.")
    if len(x) < 2:
        raise Problem("agreement needs two pictures or more with a rating.")
    for values, what in ((x, "scores"), (y, "ratings")):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise Problem(f"{what} hold no number for picture {row}: leave it out.")
    return x, y
