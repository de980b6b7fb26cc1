"""Item-response curves: how answers change along a measured level, instead of one average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fallow.measure.paired import CONFIDENCE, DRAWS
from fallow.problems import Problem


@dataclass(frozen=True)
class ResponseCurve:
    """Mean answer at each level with its interval, the area below, and where it has half fallen."""

    levels: np.ndarray  # L, rising
    mean: np.ndarray  # L
    low: np.ndarray  # L
    high: np.ndarray  # L
    area: float  # mean height over the range of levels
    threshold: float  # NaN where the curve does not cross


def response_curve(
    levels: Any,
    answers: Any,
    *,
    chance: float = 0.0,
    bins: int = 8,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> ResponseCurve:
    """The curve of answers (0 or 1, or scores in 0...1) over levels such as strength of a blur.

    Levels of more than `bins` values are gathered into that many, each as full as the others. The
    threshold is the level at which a logistic curve through the means crosses the middle between
    `chance` and the best mean.

    >>> x = np.repeat([0, 1, 2, 3, 4], 40)
    >>> curve = response_curve(x, x < 2)
    >>> curve.mean.tolist(), bool(1 < curve.threshold < 2)
    ([1.0, 1.0, 0.0, 0.0, 0.0], True)
    """
    x, y = np.asarray(levels, np.float64), np.asarray(answers, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or np.ptp(x) == 0:
        raise Problem("a response curve needs an answer a level, at two levels or more.")
    if len(np.unique(x)) > bins:
        edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
        place = np.clip(np.searchsorted(edges, x, "right") - 1, 0, len(edges) - 2)
    else:
        place = np.unique(x, return_inverse=True)[1]
    draw = np.random.default_rng(seed)
    tail = (1 - confidence) / 2
    rows = []
    for number in np.unique(place):
        part = y[place == number]
        means = draw.choice(part, (DRAWS, len(part))).mean(1)
        rows.append([x[place == number].mean(), part.mean(), *np.quantile(means, [tail, 1 - tail])])
    at, mean, low, high = np.array(rows).T
    area = float(np.trapezoid(mean, at) / np.ptp(at))
    return ResponseCurve(at, mean, low, high, area, _crossing(at, mean, chance))


def _crossing(at: np.ndarray, mean: np.ndarray, chance: float) -> float:
    """Where a logistic between chance and the best mean, fitted to the means, is at its middle."""
    from scipy.optimize import minimize

    top = float(mean.max())
    wanted = (chance + top) / 2
    if top <= chance or not mean.min() < wanted:
        return float("nan")
    reach = np.ptp(at)
    sign = 1.0 if mean[0] > mean[-1] else -1.0

    def away(values: np.ndarray) -> float:
        middle, width = values[0], np.exp(values[1])
        fitted = chance + (top - chance) / (
            1 + np.exp(np.clip(sign * (at - middle) / width, -50, 50))
        )
        return float(((fitted - mean) ** 2).sum())

    starts = [(at[0] + share * reach, np.log(reach / 10)) for share in (0.25, 0.5, 0.75)]
    best = min(
        (minimize(away, start, method="Nelder-Mead") for start in starts), key=lambda r: r.fun
    )
    return float(best.x[0])


def changed_share(before: np.ndarray, after: np.ndarray) -> float:
    """The share of answers that are others than before, right or wrong (fooling rate).

    >>> changed_share(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]))
    0.25
    """
    return float((np.asarray(before) != np.asarray(after)).mean())
