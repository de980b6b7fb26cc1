"""How many classes there are, from how often neighbours of labelled images carry their label.

If classes are alike in kind, known or not, two facts of the known ones hold for all: how often an
image of the same class is near, and how often one of a given other class is. Everything near is
either; so the share of pairs of one class follows, and from it how many classes there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fallow.inventory.rounded import principal, rounding, scatter
from fallow.vectors.space import squared, unit

# Picked on the sets of recipes.judgement.count, all of them in sight.
SPACES = ((32, 0.3), (64, 0.6), (128, 0.6))  # main directions, and roundness, of what is averaged
RANKS = (1, 2, 3, 5, 8, 12)  # how near neighbours are; what they say is averaged
ALIKE = 0.35  # how much pairs of classes differ in how near they are, as a share of the mean
EVEN = 0.3  # how much classes differ in how near their own images are
STEADY = 10.0  # neighbours of one class that weigh as much as the mean of all classes


class Tally(NamedTuple):
    """Labelled neighbours of labelled images, and how many there would be if nearness said nothing.

    Each is the mean over RANKS of counts up to that rank.
    """

    same: np.ndarray  # C, of a class's images, with their own label
    same_blind: np.ndarray  # C
    other: np.ndarray  # C C, of a class's images, with another one's label; 0 on the diagonal
    other_blind: np.ndarray  # C C


class Believed(NamedTuple):
    """A number of classes, as the logarithm of how many times the known ones, and its spread."""

    log: float
    spread: float


def tally(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    dimensions: int = 64,
    roundness: float = 0.6,
    sources: np.ndarray | None = None,
) -> Tally:
    """Look for neighbours of the images of each class where all other known classes are round.

    A class does not shape the space its own neighbours are counted in: it would look tighter than
    the classes nobody knows. `known` (N) is a class from 0, or -1; rows of the same one of
    `sources` (N) are no neighbours.
    """
    points = principal(vectors, dimensions)
    labelled = np.flatnonzero(known >= 0)
    names = known[labelled]
    total = int(names.max()) + 1
    sizes = np.bincount(names, minlength=total)
    scatters = [scatter(points[known == code]) for code in range(total)]
    whole = sum(scatters)
    ranks = [rank for rank in RANKS if rank < len(points)]
    found = np.zeros((total, total))
    for code in range(total):
        rows = labelled[names == code]
        spread = (whole - scatters[code]) / max(len(names) - sizes[code] - total + 1, 1)
        seen = unit(points @ rounding(spread, roundness))
        away = squared(seen[rows], seen)
        away[np.arange(len(rows)), rows] = np.inf
        if sources is not None:
            away[sources[rows][:, None] == sources] = np.inf
        near = np.sort(np.partition(away, max(ranks), axis=1)[:, : max(ranks)], axis=1)
        for rank in ranks:
            border = near[:, rank - 1 : rank]
            within = (away[:, labelled] <= border) & np.isfinite(border)
            found[code] += np.bincount(names, within.sum(0), minlength=total) / len(ranks)
    share = np.mean(ranks) / (len(points) - 1)
    apart = ~np.eye(total, dtype=bool)
    return Tally(
        np.diag(found),
        share * sizes * (sizes - 1),
        found * apart,
        share * np.outer(sizes, sizes) * apart,
    )


def credible(found: Tally, most: float) -> Believed:
    """The middle of what is credible between the known number and `most` classes.

    Before anything is seen, every share of pairs of one class is as likely. With `times` as many
    neighbours of the own label as by chance, and `rest` as many of another, all neighbours are
    accounted for if times / K + (1 - 1 / K) * rest = 1. Counts scatter as those of few events do,
    and classes differ.

    >>> blind = 10.0 * (1 - np.eye(3))
    >>> told = credible(Tally(np.full(3, 80.0), np.full(3, 10.0), 0 * blind, blind), 60.0)
    >>> round(3 * np.exp(told.log)), told.spread < 0.5
    (8, True)
    """
    from scipy.special import gammaln

    def chance(count: float, mean: np.ndarray, shape: float) -> np.ndarray:
        """Log probability of a count whose mean differs between classes (gamma-Poisson)."""
        mean = np.maximum(mean, 1e-9)
        whole = gammaln(count + shape) - gammaln(shape)
        return (
            whole + shape * np.log(shape / (shape + mean)) + count * np.log(mean / (shape + mean))
        )

    total = len(found.same)
    times = _own(found)
    blind = found.other_blind.sum()
    rest = float(np.mean(found.other.sum(1) / np.maximum(found.other_blind.sum(1), 1e-12)))
    numbers = np.geomspace(total, max(most, 1.05 * total), 200)  # K
    tried = np.maximum(times * np.geomspace(0.25, 4, 41), 1)  # T
    left = (numbers[:, None] - tried) / np.maximum(numbers[:, None] - 1, 1e-12)
    known = chance(rest * blind, blind * np.maximum(left, 1e-3),
                   max(total * (total - 1) / 2, 1) / ALIKE**2)  # K T  # fmt: skip
    # more neighbours than all there are would be needed
    known -= 20 * np.log(np.maximum(tried / numbers[:, None], 1))
    known += chance(found.same.sum(), found.same.sum() * tried / times, total / EVEN**2)
    weights = np.exp(known - known.max()).sum(1) / numbers
    steps = np.cumsum(weights) / weights.sum()
    places = np.minimum(np.searchsorted(steps, (0.16, 0.5, 0.84)), len(numbers) - 1)
    low, middle, high = np.log(numbers[places] / total).tolist()
    return Believed(middle, (high - low) / 2)


def _own(found: Tally) -> float:
    """How many times as many neighbours have the own label as by chance, in a class of mean size.

    The larger a class, the fewer times. Sizes are averaged, not times: a rare class has many times.
    """
    there = found.same_blind > 0
    times = found.same[there] / found.same_blind[there]
    mean = float(times.mean())
    if mean <= 0:
        return 1.0
    held = (found.same[there] * times + STEADY * mean) / (found.same[there] + STEADY)
    return max(1.0, 1 / float(np.mean(1 / held)))
