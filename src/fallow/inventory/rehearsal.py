"""How readily components should split, from rehearsals on classes that are known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fallow.inventory.normals import Prior, prior
from fallow.inventory.semi import semi_kmeans
from fallow.inventory.splits import Proposals, decide, proposals, without_empty

NEARER = 0.35  # where, between what must not split and what must not merge, the border lies


class Calibration(NamedTuple):
    """The prior, how readily to split, as a logarithm, and how well classes were found again."""

    before: Prior
    log_alpha: float
    again: float  # share of the images sorted rightly when their labels were hidden


def calibrate(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    ratio: float = 2.0,
    freedom: float | None = None,
    kappa: float = 1e-4,
    alpha: float | None = None,
    rehearsals: int = 8,
    least: int = 5,
    seed: int = 0,
) -> Calibration:
    """The prior of components as wide as known classes, and alpha from rehearsals on them.

    In a rehearsal half of the known classes keep half of their labels and the others lose all.
    k-means is told the true number; alpha is then where as many components would split as merge,
    so that the number stays right. `ratio` is how many images a class has for each that is known:
    in a rehearsal each image counts so often.

    >>> draw = np.random.default_rng(0)
    >>> known = np.arange(4).repeat(20)
    >>> vectors = 9.0 * np.eye(4)[known] + draw.normal(size=(80, 4))
    >>> fit = calibrate(vectors, known)
    >>> fit.again, bool(0.5 < fit.before.psi[0] / (fit.before.nu - 5) < 2.0)
    (1.0, True)
    """
    from fallow.measure.discovery import discovery_accuracy

    labelled = known >= 0
    points, names = vectors[labelled], known[labelled]
    before = prior(vectors, 1.0, nu=freedom or 10.0 * vectors.shape[1], kappa=kappa)
    width = within(points, names)
    before = before._replace(psi=width * max(before.nu - vectors.shape[1] - 1, 1.0)
                             * np.ones(vectors.shape[1]))  # fmt: skip
    if alpha is not None:
        return Calibration(before, math.log(alpha), float("nan"))
    old = int(names.max()) + 1
    borders, again = [], []
    for number in range(rehearsals):
        draw = np.random.default_rng([seed, number])
        rank = np.full(old, -1)
        kept = draw.permutation(old)[: (old + 1) // 2]
        rank[kept] = np.arange(len(kept))
        shown = np.where(draw.random(len(names)) < 0.5, rank[names], -1)
        for one in kept:  # each keeps a label
            shown[np.flatnonzero(names == one)[0]] = rank[one]
        member = semi_kmeans(points, shown, old, starts=3, seed=seed + number).member
        member, _ = without_empty(points, member, len(kept))
        tests = proposals(points, member, shown, before, draw,
                          least=max(1, round(least / ratio)), worth=ratio)  # fmt: skip
        borders.append(balance(tests))
        hidden = shown < 0
        if hidden.any():
            sure = rank[names[hidden]] >= 0
            again.append(discovery_accuracy(names[hidden], member[hidden], sure).all)
    return Calibration(before, float(np.median(borders)), float(np.mean(again or [1.0])))


def within(points: np.ndarray, names: np.ndarray) -> float:
    """Mean variance of a class in one direction.

    >>> within(np.array([[0.0], [2.0], [9.0]]), np.array([0, 0, 1]))
    2.0
    """
    sums, freedom = 0.0, 0
    for one in np.unique(names):
        own = points[names == one]
        sums += float(((own - own.mean(0)) ** 2).sum())
        freedom += len(own) - 1
    return max(sums / max(freedom * points.shape[1], 1), 1e-12)


def balance(tests: Proposals) -> float:
    """Log alpha at which as many components split as merge, and as few as that allows."""
    values = np.unique([cut[1] for cut in tests.cuts] + [pair[2] for pair in tests.pairs])
    if not len(values):
        return 0.0
    borders = np.r_[values[0] - 1, (values[1:] + values[:-1]) / 2, values[-1] + 1]
    tried = []
    for border in borders:
        certain = Proposals(
            [(k, math.copysign(1e6, ratio - border), x, y) for k, ratio, x, y in tests.cuts],
            [(a, b, math.copysign(1e6, ratio - border), x) for a, b, ratio, x in tests.pairs],
        )
        cuts, pairs = decide(certain, 0.0, np.random.default_rng(0))
        tried.append((abs(len(cuts) - len(pairs)), len(cuts) + len(pairs)))
    good = [place for place, one in enumerate(tried) if one == min(tried)]
    low = values[max(good[0] - 1, 0)]
    high = values[min(good[-1], len(values) - 1)]
    return -float(low + NEARER * (high - low))
