"""Semi-supervised k-means: some rows are pinned to their class, the rest find or found one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fallow.problems import Problem, SettingProblem

BLOCK = 8192  # rows compared with all centres at once


class SemiClusters(NamedTuple):
    """Cluster k < len(classes) is the class classes[k]; those from there on are new."""

    member: np.ndarray  # N int64
    centres: np.ndarray  # K D float64
    inertia: float  # squared distances of all rows to their centres
    classes: np.ndarray  # ids of the known classes, ascending


def semi_kmeans(
    vectors: np.ndarray,
    known: np.ndarray,
    count: int,
    *,
    weights: np.ndarray | None = None,
    start: np.ndarray | None = None,
    starts: int = 10,
    rounds: int = 100,
    tolerance: float = 1e-4,
    sample: int = 10_000,
    seed: int = 0,
) -> SemiClusters:
    """Cluster rows (N D) around `count` centres; `known` (N) is a class id, or -1 where unknown.

    Known rows stay with their class, whose centre is the mean of all its rows. New centres begin
    at unknown rows drawn by squared distance (times weight to the power 1/4), and of `starts` such
    beginnings the one with the lowest inertia is kept. With `weights` centres are weighted means;
    the inertia is not weighted. Above `sample` unknown rows the beginnings compete on a sample of
    that size and only the best goes on with all rows. `start` (K D) gives the centres instead,
    known classes first. A cluster that runs empty begins again at the row farthest from its centre.

    >>> points = np.array([[0.0], [0.2], [5.0], [5.2], [9.0], [9.2]])
    >>> found = semi_kmeans(points, np.array([7, -1, 3, -1, -1, -1]), 3)
    >>> found.member.tolist(), found.centres.ravel().round(2).tolist(), found.classes.tolist()
    ([1, 1, 0, 0, 2, 2], [5.1, 0.1, 9.1], [3, 7])
    """
    classes, rank = _checked(vectors, known, count)
    pinned, free = np.flatnonzero(known >= 0), np.flatnonzero(known < 0)
    weights = np.ones(len(vectors)) if weights is None else np.asarray(weights, float)
    names = rank[pinned]
    held, held_weights = vectors[pinned], weights[pinned]
    draw = np.random.default_rng(seed)
    whole = _Rows(vectors[free], weights[free], held, held_weights, names, count)
    if start is not None:
        member, centres, inertia = whole.settle(np.array(start, np.float64), rounds, tolerance)
    else:
        some = whole
        sample = max(sample, 50 * count)
        if len(free) > sample:
            few = free[np.sort(draw.choice(len(free), sample, replace=False))]
            some = _Rows(vectors[few], weights[few], held, held_weights, names, count)
        begun = [some.beginning(len(classes), draw) for _ in range(max(1, starts))]
        done = [some.settle(centres, rounds, tolerance) for centres in begun]
        member, centres, inertia = min(done, key=lambda one: one[2])
        if some is not whole:
            member, centres, inertia = whole.settle(centres, rounds, tolerance)
    every = np.empty(len(vectors), np.int64)
    every[pinned], every[free] = names, member
    return SemiClusters(every, centres, inertia, classes)


def nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre of each row.

    >>> nearest(np.array([[0.0], [4.0]]), np.array([[1.0], [3.0]])).tolist()
    [0, 1]
    """
    return _closest(vectors, centres)[0]


def _checked(vectors: np.ndarray, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The known ids, and the rank of every row's id among them (-1: none)."""
    if vectors.ndim != 2 or not len(vectors) or len(vectors) != len(known):
        raise Problem(f"{len(known)} classes or -1 do not fit features of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise Problem("some features are not finite numbers: leave those images out")
    classes = np.unique(known[known >= 0])
    if count < max(1, len(classes)):
        raise SettingProblem(
            f"{count} clusters cannot hold {len(classes)} known classes: ask for more"
        )
    if count - len(classes) > (known < 0).sum():
        raise SettingProblem(
            f"{count - len(classes)} new clusters of {(known < 0).sum()} unlabelled images are "
            "not possible: ask for fewer"
        )
    rank = np.where(known >= 0, np.searchsorted(classes, known), -1)
    return classes, rank


class _Rows:
    """Free rows and pinned rows, with all that one start after another can share."""

    def __init__(
        self,
        free: np.ndarray,
        free_weights: np.ndarray,
        held: np.ndarray,
        held_weights: np.ndarray,
        names: np.ndarray,
        count: int,
    ) -> None:
        self.free, self.weights, self.count = free, free_weights, count
        self.lengths = np.einsum("nd,nd->n", free, free, dtype=np.float64)
        self.plain = bool((free_weights == 1).all() and (held_weights == 1).all())
        held = held.astype(np.float64)
        # what pinned rows bring never changes
        self.sums = _summed(held, held_weights, names, count)
        self.mass = np.bincount(names, held_weights, minlength=count).astype(float)
        self.held_sums = _summed(held, np.ones(len(held)), names, count)
        self.sizes = np.bincount(names, minlength=count).astype(float)
        self.squares = float((held**2).sum() + self.lengths.sum())

    def beginning(self, old: int, draw: np.random.Generator) -> np.ndarray:
        """Class means, then free rows drawn by their squared distance to what is there."""
        centres = np.zeros((self.count, self.sums.shape[1]))
        centres[:old] = self.sums[:old] / self.mass[:old, None]
        share = self.weights**0.25
        distance = np.ones(len(self.free))
        if old and old < self.count:
            distance = np.maximum(self.lengths + _closest(self.free, centres[:old])[1], 0)
        for k in range(old, self.count):
            chance = np.cumsum(share * distance)
            if chance[-1] <= 0:  # fewer different rows than centres
                chance = np.arange(1.0, len(share) + 1)
            row = min(int(np.searchsorted(chance, draw.random() * chance[-1], "right")),
                      len(share) - 1)  # fmt: skip
            centres[k] = self.free[row]
            away = self.lengths - 2 * (self.free @ self.free[row]) + self.lengths[row]
            away[row] = 0
            distance = np.maximum(away, 0) if k == 0 else np.minimum(distance, np.maximum(away, 0))
        return centres

    def settle(
        self, centres: np.ndarray, rounds: int, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Assign and average until the centres rest; the best round's members, centres, inertia."""
        member = np.full(len(self.free), -1)
        sums, mass = self.sums.copy(), self.mass.copy()
        plain_sums = sums if self.plain else self.held_sums.copy()
        sizes = mass if self.plain else self.sizes.copy()
        best, lowest = centres, np.inf
        for _ in range(rounds):
            found, part = _closest(self.free, centres)
            moved = np.flatnonzero(found != member)
            self._move(moved, member[moved], found[moved], sums, mass, plain_sums, sizes)
            member = found
            # sum |x|^2 - 2 sum x.c + sum |c|^2, without another pass over the rows
            across = float((plain_sums * centres).sum())
            inertia = self.squares - 2 * across + float(sizes @ (centres**2).sum(1))
            empty = np.flatnonzero(sizes == 0)
            new = np.where(sizes[:, None] > 0, sums / np.maximum(mass, 1e-300)[:, None], centres)
            if len(empty):
                far = np.argsort(-(self.lengths + part), kind="stable")[: len(empty)]
                new[empty[: len(far)]] = self.free[far]
            shift = float(np.linalg.norm(new - centres, axis=1).sum())
            if inertia < lowest:
                best, lowest = new, inertia
            centres = new
            if shift**2 <= tolerance and not len(empty):
                break
            if not len(moved) and not len(empty):
                break
        member, part = _closest(self.free, best)
        return member, best, max(lowest, 0.0)

    def _move(
        self,
        rows: np.ndarray,
        before: np.ndarray,
        after: np.ndarray,
        sums: np.ndarray,
        mass: np.ndarray,
        plain_sums: np.ndarray,
        sizes: np.ndarray,
    ) -> None:
        """Take rows out of their old clusters' sums and put them into the new ones'."""
        for first in range(0, len(rows), BLOCK):
            part = slice(first, first + BLOCK)
            vectors = self.free[rows[part]].astype(np.float64)
            weight = self.weights[rows[part]]
            for clusters, sign in ((before[part], -1.0), (after[part], 1.0)):
                there = clusters >= 0
                if not there.any():
                    continue
                names, moved = clusters[there], vectors[there]
                sums += sign * _summed(moved, weight[there], names, self.count)
                mass += sign * np.bincount(names, weight[there], minlength=self.count)
                if not self.plain:
                    ones = np.ones(len(names))
                    plain_sums += sign * _summed(moved, ones, names, self.count)
                    sizes += sign * np.bincount(names, minlength=self.count)


def _summed(vectors: np.ndarray, weights: np.ndarray, names: np.ndarray, count: int) -> np.ndarray:
    """Weighted sums of the rows of each cluster (count D)."""
    from scipy.sparse import csr_matrix

    chosen = csr_matrix((weights, (names, np.arange(len(names)))), shape=(count, len(names)))
    return chosen @ vectors


def _closest(vectors: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each row, and its squared distance less the row's squared length."""
    centres = centres.astype(vectors.dtype)
    half = np.einsum("kd,kd->k", centres, centres) / 2
    member = np.empty(len(vectors), np.int64)
    part = np.empty(len(vectors))
    for first in range(0, len(vectors), BLOCK):
        rows = slice(first, first + BLOCK)
        score = vectors[rows] @ centres.T
        score -= half
        member[rows] = score.argmax(1)
        part[rows] = -2 * np.take_along_axis(score, member[rows][:, None], 1)[:, 0]
    return member, part
