"""Rigid maps of the plane: fitted to pairs of points, found among wrong pairs, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Ransac:
    """How a map is found among pairs of points of which many are wrong; lengths in pixels."""

    near: float = 10.0  # of a pair that fits
    agreeing: int = 15  # pairs more than which must fit
    sample: int = 5
    tries: int = 4000
    enough: int = 20  # good maps after which no more are tried


class Fit(NamedTuple):
    """A rigid map and how good it is."""

    map: np.ndarray  # 2 3
    fitness: float
    strict: bool  # every pair of its sample fits, and enough others


def fitted(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation and shift (2 3) that takes points (n 2) nearest to others; never a mirror.

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> (fitted(square, square + [2.0, 3.0]).round(6) + 0.0).tolist()
    [[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]]
    """
    turn = _turns(source[None], target[None])[0]
    shift = target.mean(0) - turn @ source.mean(0)
    return np.concatenate([turn, shift[:, None]], 1)


def _turns(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The best rotations of many sets of points at once.  N n 2, N n 2 -> N 2 2

    In the plane the best one has a closed form: the angle of the sum of turned products.
    """
    a = source - source.mean(1, keepdims=True)
    b = target - target.mean(1, keepdims=True)
    along = (a * b).sum((1, 2))
    across = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(1)
    length = np.hypot(along, across)
    still = length == 0
    along, across = np.where(still, 1.0, along), np.where(still, 0.0, across)
    length = np.where(still, 1.0, length)
    cosine, sine = along / length, across / length
    return np.stack([np.stack([cosine, -sine], 1), np.stack([sine, cosine], 1)], 1)


def moved(points: np.ndarray, map: np.ndarray) -> np.ndarray:
    """Points under a map.  n 2

    >>> moved(np.array([[1.0, 2.0]]), np.array([[0.0, -1.0, 5.0], [1.0, 0.0, 0.0]])).tolist()
    [[3.0, 1.0]]
    """
    return points @ map[:, :2].T + map[:, 2]


def inverse(map: np.ndarray) -> np.ndarray:
    """The rigid map back.

    >>> turn = np.array([[0.0, -1.0, 5.0], [1.0, 0.0, 2.0]])
    >>> (after(turn, inverse(turn)).round(9) + 0.0).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    back = map[:, :2].T
    return np.concatenate([back, -(back @ map[:, 2:])], 1)


def after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map that does the first and then the second."""
    turn = second[:, :2] @ first[:, :2]
    return np.concatenate([turn, second[:, :2] @ first[:, 2:] + second[:, 2:]], 1)


def angle(map: np.ndarray) -> float:
    """How far a map turns, in radians from -pi to pi."""
    return float(np.arctan2(map[1, 0], map[0, 0]))


def misfit(source: np.ndarray, target: np.ndarray, map: np.ndarray) -> float:
    """The root of the mean distance of points to where they belong: 4 means 16 pixels.

    >>> misfit(np.zeros((2, 2)), np.array([[3.0, 4.0], [3.0, 4.0]]), np.eye(2, 3)) == 5**0.5
    True
    """
    return float(np.sqrt(np.linalg.norm(moved(source, map) - target, axis=1).mean()))


def agreed(
    source: np.ndarray, target: np.ndarray, how: Ransac, draw: np.random.Generator
) -> Fit | None:
    """The map that most pairs of points (n 2, n 2) agree on; None with fewer than a sample.

    >>> points = np.random.default_rng(0).uniform(0, 90, (40, 2))
    >>> found = agreed(points, points + 5, Ransac(), np.random.default_rng(0))
    >>> found.strict, found.map[:, 2].round(6).tolist()
    (True, [5.0, 5.0])
    """
    return next(iter(hypotheses(source, target, how, draw)), None)


def hypotheses(
    source: np.ndarray, target: np.ndarray, how: Ransac, draw: np.random.Generator
) -> list[Fit]:
    """The maps that pairs of points agree on, the best first: all good ones, else the least bad.

    Samples are fitted and judged all at once: only the first of them that are good, and the best
    of the others, are looked at closely.
    """
    count = len(source)
    if count < how.sample:
        return []
    tree = cKDTree(target)
    loose: Fit | None = None
    strict: list[Fit] = []
    left = how.tries
    while left > 0 and len(strict) < how.enough:
        block = min(left, 256)
        left -= block
        rows = draw.random((block, count)).argpartition(how.sample - 1, 1)[:, : how.sample]
        some, wanted = source[rows], target[rows]
        turns = _turns(some, wanted)
        shifts = wanted.mean(1) - np.einsum("nij,nj->ni", turns, some.mean(1))
        maps = np.concatenate([turns, shifts[..., None]], 2)
        own = np.linalg.norm(
            np.einsum("nij,nkj->nki", turns, some) + shifts[:, None] - wanted, axis=2
        )
        away = np.linalg.norm(
            np.einsum("nij,kj->nki", turns, source) + shifts[:, None] - target, axis=2
        )
        fit = (own <= how.near).all(1)
        good = np.flatnonzero(fit & ((away < how.near).sum(1) > how.agreeing))
        strict += [
            _judged(maps[k], own[k], source, tree, how, True)
            for k in good[: how.enough - len(strict)]
        ]
        if not strict:
            # the pairs of a sample that does not fit say little: the most agreed on is judged
            rest = np.flatnonzero(~fit)
            if len(rest):
                best = rest[np.argmax((away[rest] < how.near).sum(1) / own[rest].mean(1))]
                one = _judged(maps[best], own[best], source, tree, how, False)
                loose = one if loose is None or one.fitness > loose.fitness else loose
    if strict:
        return sorted(strict, key=lambda one: -one.fitness)
    return [] if loose is None else [loose]


def unlike(fits: Sequence[Fit], points: np.ndarray, apart: float) -> list[Fit]:
    """Those of some maps that take points (n 2) elsewhere than every better one does.

    >>> fit = Fit(np.eye(2, 3), 1.0, True)
    >>> len(unlike([fit, fit], np.zeros((1, 2)), 1.0))
    1
    """
    kept: list[Fit] = []
    for fit in fits:
        there = moved(points, fit.map)
        if all(np.linalg.norm(there - moved(points, k.map), axis=1).max() > apart for k in kept):
            kept.append(fit)
    return kept


def _judged(
    map: np.ndarray, own: np.ndarray, source: np.ndarray, tree: cKDTree, how: Ransac, strict: bool
) -> Fit:
    """How many points come near any target, over how far the sample itself is off."""
    distances, _ = tree.query(moved(source, map))
    return Fit(map, float((distances <= how.near).sum() / max(own.mean(), 1e-9)), strict)


def contacts(
    source: np.ndarray, target: np.ndarray, map: np.ndarray, reach: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Points of an outline that lie less than `reach` from another's under a map, and whose.

    >>> one, other = contacts(
    ...     np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([[0.0, 1.0]]), np.eye(2, 3)
    ... )
    >>> one.tolist(), other.tolist()
    ([0], [0])
    """
    distances, nearest = cKDTree(target).query(moved(source, map))
    near = np.flatnonzero(distances < reach)
    return near, nearest[near]
