"""How many classes there are, by dividing everything by k-means, coarsely and finely.

Known classes say how often two images of one class stay together in a division, and how widely a
class spreads. The first gives the share of pairs of one class among all pairs, whatever the
division; the second the division whose parts are as wide as classes are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fallow.vectors import space

# Picked on the sets of recipes.judgement.count, all of them in sight.
DIMENSIONS = 32
DIVISIONS = 8  # from as many parts as known classes to as many as classes may be
PARTS = 1000  # of a division, at most
ROUNDS = 6  # of k-means on everything: where borders lie exactly changes nothing
REHEARSALS = 3  # of k-means on the labelled images alone
TIGHTER = (0.3, 1.5)  # its parts beside classes: what is believed of a rehearsal


class Told(NamedTuple):
    """Logarithms of how many times the known classes there are."""

    together: float  # by pairs
    width: float  # by how widely classes spread


class Division(NamedTuple):
    """Everything in so many parts."""

    parts: int
    inertia: float  # mean squared distance from the own part's middle
    same: float  # share of labelled pairs of one class that are in one part
    other: float  # of labelled pairs of two classes
    every: float  # of all pairs


def by_divisions(
    vectors: np.ndarray,
    known: np.ndarray,
    most: float,
    *,
    sources: np.ndarray | None = None,
    seed: int = 0,
) -> Told:
    """What divisions of rows (N F) say; `known` (N) is a class from 0, or -1.

    Rows of the same one of `sources` (N) make no pair.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(12).repeat(40)
    >>> vectors = np.eye(12)[truth] + 0.2 * draw.normal(size=(480, 12))
    >>> known = np.where((truth < 4) & (draw.random(480) < 0.5), truth, -1)
    >>> [bool(2 < np.exp(told) < 4.5) for told in by_divisions(vectors, known, 240)]
    [True, True]
    """
    points = space.fit(vectors, dimensions=DIMENSIONS, whiten=0.5, seed=seed).place(vectors)
    points = np.asarray(space.unit(points), np.float32)
    total = int(known.max()) + 1
    top = max(min(most, len(points) / 2, PARTS), total + 2)
    numbers = np.unique(np.round(np.geomspace(max(total, 2), top, DIVISIONS)).astype(int))
    found = [divided(points, known, number, sources, seed) for number in numbers.tolist()]
    highest = float(np.log(most / total))
    return Told(_together(found, total, highest), _width(found, points, known, highest))


def divided(
    points: np.ndarray, known: np.ndarray, parts: int, sources: np.ndarray | None, seed: int
) -> Division:
    """One division, and what of it is compared with what is known."""
    member = space.kmeans(points, parts, rounds=ROUNDS, seed=seed)[1]
    labelled = known >= 0
    names, place = known[labelled], member[labelled]
    rows = np.arange(len(points)) if sources is None else sources
    own = rows[labelled]
    same = _pairs([names, place], own) / max(_pairs([names], own), 1)
    apart = max(_pairs([], own) - _pairs([names], own), 1)
    other = (_pairs([place], own) - _pairs([names, place], own)) / apart
    every = _pairs([member], rows) / max(_pairs([], rows), 1)
    return Division(parts, _inertia(points, member), same, other, every)


def _pairs(groups: list[np.ndarray], sources: np.ndarray) -> float:
    """Ordered pairs of rows that are alike in all groups, but of two sources."""

    def alike(columns: list[np.ndarray]) -> float:
        if not columns:
            return float(len(sources)) ** 2
        counts = np.unique(np.stack(columns, 1), axis=0, return_counts=True)[1]
        return float((counts.astype(float) ** 2).sum())

    return alike(groups) - alike([*groups, sources])


def _inertia(points: np.ndarray, member: np.ndarray) -> float:
    sums = np.zeros((int(member.max()) + 1, points.shape[1]))
    np.add.at(sums, member, points)
    sizes = np.bincount(member)
    lost = (sums**2).sum(1) / np.maximum(sizes, 1)
    return float(((points.astype(float) ** 2).sum() - lost.sum()) / len(points))


def _together(found: list[Division], total: int, highest: float) -> float:
    """All pairs in one part are pairs of one class or of two: the share of the former follows."""
    clear = np.array([max(one.same - one.other, 1e-3) for one in found])
    share = np.array([max(one.every - one.other, 1e-6) for one in found]) / clear
    logs = np.clip(-np.log(share * total), 0, highest)
    return float(np.average(logs, weights=clear))


def _width(found: list[Division], points: np.ndarray, known: np.ndarray, highest: float) -> float:
    """Where parts are as wide as classes are, less what k-means makes tighter in a rehearsal."""
    labelled = known >= 0
    own, names = points[labelled], known[labelled]
    total, count = int(names.max()) + 1, int(labelled.sum())
    classes = _inertia(own, names)
    within = classes * count / max(count - total, 1)
    parts = [space.kmeans(own, total, rounds=12, seed=one)[1] for one in range(REHEARSALS)]
    tighter = np.mean([_inertia(own, member) for member in parts]) / max(classes, 1e-9)
    wanted = within * float(np.clip(tighter, *TIGHTER))
    logs = np.log([one.parts / total for one in found])
    left = np.array([one.inertia for one in found]) - wanted
    place = int((left > 0).argmin())
    if left[place] > 0:
        return highest  # no division is as fine
    if place == 0:
        return float(np.clip(logs[0], 0, highest))
    before, after = left[place - 1], -left[place]
    log = (logs[place - 1] * after + logs[place] * before) / (before + after)
    return float(np.clip(log, 0, highest))
