"""How many classes there are, from how often neighbours of labelled images carry their label.

If classes are alike in kind, known or not, two facts of the known ones hold for all: how often an
image of the same class is near, and how often one of a given other class is. Everything near is
either; so the share of pairs of one class follows, and from it how many classes there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fallow.problems import Problem
from fallow.vectors.space import leading, squared, unit

# Chosen leave-one-set-out by recipes.judgement.
DIMENSIONS = 64  # main directions in which neighbours are looked for
ROUND = 0.6  # of a round spread mixed into that of the known classes
RANKS = (1, 2, 3, 5, 8, 12)  # how near neighbours are; what they say is averaged
ALIKE = 0.35  # how much pairs of classes differ in how near they are, as a share of the mean
EVEN = 0.3  # how much classes differ in how near their own images are
STEADY = 10.0  # neighbours of one class that weigh as much as the mean of all classes
MOST = 6000  # images looked at


class Count(NamedTuple):
    """How many classes there are, and the range that holds the truth eight times of ten."""

    classes: int
    low: int
    high: int


class Tally(NamedTuple):
    """Labelled neighbours of labelled images, and how many there would be if nearness said nothing.

    Each is the mean over RANKS of counts up to that rank.
    """

    same: np.ndarray  # C, of a class's images, with their own label
    same_blind: np.ndarray  # C
    other: np.ndarray  # C C, of a class's images, with another one's label; 0 on the diagonal
    other_blind: np.ndarray  # C C
    images: int


def count_classes(vectors: np.ndarray, known: np.ndarray, *, seed: int = 0) -> Count:
    """How many classes rows (N F) belong to; `known` (N) is a class from 0, or -1.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(12).repeat(40)
    >>> vectors = np.eye(12)[truth] + 0.2 * draw.normal(size=(480, 12))
    >>> known = np.where((truth < 4) & (draw.random(480) < 0.5), truth, -1)
    >>> count_classes(vectors, known)
    Count(classes=11, low=9, high=14)
    """
    return counted(tally(vectors, known, seed=seed))


def tally(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    dimensions: int = DIMENSIONS,
    roundness: float = ROUND,
    seed: int = 0,
) -> Tally:
    """Look for neighbours of the images of each class where all other known classes are round.

    A class does not shape the space its own neighbours are counted in: it would look tighter than
    the classes nobody knows.
    """
    chosen = np.arange(len(vectors))
    if len(chosen) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), MOST, replace=False))
    classes, codes = np.unique(known[chosen], return_inverse=True)
    codes = codes - int((classes < 0).any())
    total = int(codes.max()) + 1
    if total < 2 or np.bincount(codes[codes >= 0]).max() < 2:
        raise Problem(
            "classes are counted by at least two known ones, one of them with two labelled images"
        )
    points = principal(vectors[chosen], dimensions)
    labelled = np.flatnonzero(codes >= 0)
    names = codes[labelled]
    sizes = np.bincount(names, minlength=total)
    scatters = [_scatter(points[codes == code]) for code in range(total)]
    whole = sum(scatters)
    ranks = [rank for rank in RANKS if rank < len(points)]
    found = np.zeros((total, total))
    for code in range(total):
        rows = labelled[names == code]
        spread = (whole - scatters[code]) / max(len(names) - sizes[code] - total + 1, 1)
        seen = unit(points @ rounding(spread, roundness))
        away = squared(seen[rows], seen)
        away[np.arange(len(rows)), rows] = np.inf
        near = np.sort(np.partition(away, max(ranks), axis=1)[:, : max(ranks)], axis=1)
        for rank in ranks:
            within = away[:, labelled] <= near[:, rank - 1 : rank]
            found[code] += np.bincount(names, within.sum(0), minlength=total) / len(ranks)
    blind = np.mean(ranks) / (len(points) - 1) * np.outer(sizes, sizes)
    apart = ~np.eye(total, dtype=bool)
    same_blind = np.mean(ranks) / (len(points) - 1) * sizes * (sizes - 1)
    return Tally(np.diag(found), same_blind, found * apart, blind * apart, len(points))


def counted(found: Tally, *, alike: float = ALIKE, even: float = EVEN) -> Count:
    """The most credible number of classes, every share of pairs of one class equally likely before.

    With `times` as many neighbours of the own label as by chance, and `rest` as many of another,
    all neighbours are accounted for if times / K + (1 - 1 / K) * rest = 1. Counts scatter as those
    of few events do, and classes differ.
    """
    from scipy.special import gammaln

    def chance(count: float, mean: np.ndarray, shape: float) -> np.ndarray:
        """Log probability of a count whose mean differs between classes (gamma-Poisson)."""
        whole = gammaln(count + shape) - gammaln(shape)
        return (
            whole + shape * np.log(shape / (shape + mean)) + count * np.log(mean / (shape + mean))
        )

    total = len(found.same)
    times = _own(found)
    blind = found.other_blind.sum()
    rest = float(np.mean(found.other.sum(1) / np.maximum(found.other_blind.sum(1), 1e-12)))
    numbers = np.geomspace(total, max(found.images / 2, total + 1), 400)  # K
    tried = np.maximum(times * np.geomspace(0.25, 4, 61), 1)  # T
    left = (numbers[:, None] - tried) / np.maximum(numbers[:, None] - 1, 1e-12)
    credible = chance(rest * blind, blind * np.maximum(left, 1e-3),
                      total * (total - 1) / 2 / alike**2)  # K T  # fmt: skip
    # more neighbours than all there are would be needed
    credible -= 20 * np.log(np.maximum(tried / numbers[:, None], 1))
    own = found.same.sum()
    credible += chance(own, own * tried / times, total / even**2)
    weights = np.exp(credible - credible.max()).sum(1) / numbers
    steps = np.cumsum(weights) / weights.sum()
    low, middle, high = (
        round(float(numbers[min(int(np.searchsorted(steps, part)), len(numbers) - 1)]))
        for part in (0.1, 0.5, 0.9)
    )
    return Count(middle, low, high)


def _own(found: Tally, steady: float = STEADY) -> float:
    """How many times as many neighbours have the own label as by chance, in a class of mean size.

    The larger a class, the fewer times. Sizes are averaged, not times: a rare class has many times.
    """
    there = found.same_blind > 0
    times = found.same[there] / found.same_blind[there]
    mean = float(times.mean())
    if mean <= 0:
        return 1.0
    held = (found.same[there] * times + steady * mean) / (found.same[there] + steady)
    return max(1.0, 1 / float(np.mean(1 / held)))


def principal(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Rows of unit length on their main directions, again of unit length there."""
    points = unit(vectors)
    points = points - points.mean(0)
    return unit(points @ leading(points, dimensions)[1])


def rounding(spread: np.ndarray, roundness: float) -> np.ndarray:
    """The map (D D) under which a spread, mixed with `roundness` of a round one, becomes round.

    >>> rounding(np.diag([4.0, 1.0]), 0.0).round(3).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    size = np.trace(spread) / len(spread)
    if size <= 1e-15:
        return np.eye(len(spread))
    mixed = (1 - roundness) * spread + (roundness + 1e-6) * size * np.eye(len(spread))
    return np.linalg.cholesky(np.linalg.inv(mixed))


def _scatter(points: np.ndarray) -> np.ndarray:
    away = (points - points.mean(0)).astype(np.float64)
    return away.T @ away
