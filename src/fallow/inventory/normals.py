"""Normal components: what is believed of one before its points are seen, and after.

Everything is float64: the multivariate gamma function loses tenths of a unit in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Prior(NamedTuple):
    """Normal-inverse-Wishart: what a component is taken to look like before its points are seen."""

    mean: np.ndarray  # D
    kappa: float  # how many points the mean is worth
    nu: float  # how many the spread is worth, above D
    psi: np.ndarray  # D, the diagonal of the scatter


class Moments(NamedTuple):
    """What a component needs to know of its points."""

    number: float  # of points
    mean: np.ndarray  # D
    scatter: np.ndarray  # D D, about the mean


def prior(
    vectors: np.ndarray,
    scale: float,
    *,
    nu: float | None = None,
    kappa: float = 1e-4,
    by_spread: bool = False,
) -> Prior:
    """The prior of a collection: its mean, and `scale` times the unit scatter.

    `by_spread` scales every direction with its standard deviation instead.

    >>> prior(np.array([[0.0, 0.0], [2.0, 4.0]]), 0.5).psi.tolist()
    [0.5, 0.5]
    """
    vectors = np.asarray(vectors, np.float64)
    width = vectors.shape[1]
    spread = vectors.std(0, ddof=1) if by_spread else np.ones(width)
    return Prior(vectors.mean(0), kappa, width + 3.0 if nu is None else nu, scale * spread)


def moments(points: np.ndarray) -> Moments:
    """Count, mean and scatter of some points (N D).

    >>> moments(np.array([[0.0], [2.0]])).scatter.tolist()
    [[2.0]]
    """
    points = np.asarray(points, np.float64)
    mean = points.mean(0)
    away = points - mean
    return Moments(float(len(points)), mean, away.T @ away)


def joined(one: Moments, two: Moments) -> Moments:
    """The moments of both sets of points together.

    >>> joined(moments(np.array([[0.0]])), moments(np.array([[2.0]]))).scatter.tolist()
    [[2.0]]
    """
    count = one.number + two.number
    apart = two.mean - one.mean
    mean = (one.number * one.mean + two.number * two.mean) / count
    between = one.number * two.number / count * np.outer(apart, apart)
    return Moments(count, mean, one.scatter + two.scatter + between)


def counted_often(found: Moments, worth: float) -> Moments:
    """The same points, each of them counted so often."""
    return Moments(found.number * worth, found.mean, found.scatter * worth)


def posterior(found: Moments, before: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a component, given its points."""
    weight = found.number + before.kappa
    mean = (found.number * found.mean + before.kappa * before.mean) / weight
    away = found.mean - before.mean
    pull = before.kappa * found.number / weight * np.outer(away, away)
    freedom = before.nu + found.number + len(mean) + 2
    return mean, (np.diag(before.psi) + found.scatter + pull) / freedom


def evidence(found: Moments, before: Prior, centre: np.ndarray | None = None) -> float:
    """Log marginal likelihood of a component's points; `centre` is by default the posterior mean.

    >>> flat = Prior(np.zeros(1), 1.0, 1.0, np.ones(1))
    >>> round(evidence(moments(np.zeros((1, 1))), flat), 4)  # Student's t with one degree at 0
    -1.4913
    """
    from scipy.special import multigammaln

    count, width = found.number, len(found.mean)
    if centre is None:
        centre = (count * found.mean + before.kappa * before.mean) / (count + before.kappa)
    off, away = found.mean - centre, centre - before.mean
    kappa, nu = before.kappa + count, before.nu + count
    scatter = np.diag(before.psi) + found.scatter + count * np.outer(off, off)
    scatter += before.kappa * count / kappa * np.outer(away, away)
    return float(
        -count * width / 2 * math.log(math.pi)
        + multigammaln(nu / 2, width)
        - multigammaln(before.nu / 2, width)
        + before.nu / 2 * np.log(before.psi).sum()
        - nu / 2 * np.linalg.slogdet(scatter)[1]
        + width / 2 * (math.log(before.kappa) - math.log(kappa))
    )


def responsibilities(vectors: np.ndarray, member: np.ndarray, before: Prior) -> np.ndarray:
    """The chance of every component for every row (N K), by size, posterior mean and covariance."""
    scores = []
    for k in range(int(member.max()) + 1):
        part = moments(vectors[member == k])
        mean, covariance = posterior(part, before)
        lower = np.linalg.cholesky(covariance)
        away = np.linalg.solve(lower, (vectors - mean).T)
        volume = np.log(np.diag(lower)).sum()
        scores.append(math.log(part.number) - volume - (away**2).sum(0) / 2)
    table = np.stack(scores, 1)
    table = np.exp(table - table.max(1, keepdims=True))
    return table / table.sum(1, keepdims=True)
