"""Groups of similar images: a hierarchy, and the cuts of it that a reader is shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fallow.vectors.space import Neighbours, neighbours, squared, unit

NEIGHBOURS = 15  # of each row in the graph
# Of moving rows towards their neighbours. Told the number, 2 and 5 agree with classes equally well
# on up to 3,000 rows of 17 sets; recipes.judgement.groups, on 400 rows of each, prefers 2.
ROUNDS = 2
MOST = 3000  # rows the hierarchy is made of; the others join the group of their neighbours
FINEST = 250  # groups at most
WIDE = 4.0  # a finest cut so many times the coarse one is given a level between
SAME = 1e-6  # between numbers of copies of one picture
CLEAR = 0.25  # more links inside groups, as a share of all, than where there are no groups


class Tree(NamedTuple):
    """Which rows were joined, nearest first, and where they had been moved to before."""

    places: np.ndarray  # N D float32
    joined: np.ndarray  # N-1 2, rows and, from N on, earlier joints
    near: Neighbours


@dataclass(frozen=True)
class Groups:
    """The proposed grouping, largest group first; finer levels lie within coarser ones."""

    levels: tuple[np.ndarray, ...]  # coarse first; each N int64, the group of each row
    typical: tuple[list[list[int]], ...]  # by level: rows nearest the middle of each group
    separation: float  # how many more neighbours share a group than without any groups

    @property
    def member(self) -> np.ndarray:
        return self.levels[0]

    @property
    def representatives(self) -> list[list[int]]:
        return self.typical[0]

    @property
    def count(self) -> int:
        return len(self.typical[0])

    @property
    def clear(self) -> bool:
        return self.separation >= CLEAR

    @cached_property
    def parents(self) -> tuple[np.ndarray, ...]:
        """For each level but the first: the group of the level above that holds each group."""
        return tuple(
            above[[rows[0] for rows in typical]]
            for above, typical in zip(self.levels, self.typical[1:], strict=False)
        )


def group(
    vectors: np.ndarray,
    *,
    count: int | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    show: int = 12,
) -> Groups:
    """Group rows; without `count`, the coarse level has as many groups as links speak for.

    Rows move towards those they share neighbours with, which draws groups together and leaves gaps
    between them; then the two nearest are joined until all are one. The coarse cut is where most
    more neighbours lie within groups than chance would put there (modularity). The finest is where
    groups are tightest and farthest apart (silhouette) compared with the same steps on a cloud of
    the same spread that has no groups: so what the steps themselves make is not counted.

    >>> corners = np.repeat(np.array([[0, 0], [0, 9], [9, 0]], np.float32), 20, axis=0)
    >>> cloud = corners + np.random.default_rng(0).normal(0, 0.3, (60, 2)).astype(np.float32)
    >>> group(cloud).count
    3
    """
    total = len(vectors)
    if total < 6 and count is None:
        count = 1
    chosen = np.arange(total)
    draw = np.random.default_rng(seed)
    if total > MOST:
        chosen = np.sort(draw.choice(total, MOST, replace=False))
    some = np.ascontiguousarray(vectors[chosen], np.float32)
    if len(some) < 2 or (count is None and float(np.ptp(some, axis=0).max()) < SAME):
        return _groups(vectors, [np.zeros(total, np.int64)], 0.0, show)
    made = tree(some, rounds)
    cuts = numbers(len(some))
    blind = tree(_blind(some, draw), rounds)
    coarse = count or proposed(made)
    separation = modularity(made.near, cut(made, coarse))
    separation -= modularity(blind.near, cut(blind, coarse))
    tight, chance = _silhouettes(made, cuts, draw), _silhouettes(blind, cuts, draw)
    finest = max(cuts, key=lambda number: tight[number] - chance[number])
    wanted = [coarse]
    if finest >= WIDE * coarse:
        wanted.append(round(float(np.sqrt(finest * coarse))))
    if finest >= 1.5 * coarse:
        wanted.append(finest)
    levels = _everyone(vectors, chosen, [cut(made, number) for number in wanted])
    return _groups(vectors, levels, separation, show)


def tree(vectors: np.ndarray, rounds: int = ROUNDS) -> Tree:
    """Rows moved towards those they share neighbours with, then joined by Ward's rule."""
    from scipy.cluster.hierarchy import linkage

    near = neighbours(vectors, NEIGHBOURS)
    places = drawn_together(vectors, near, rounds)
    return Tree(places, linkage(places, "ward")[:, :2].astype(np.int64), near)


def drawn_together(vectors: np.ndarray, near: Neighbours, rounds: int = ROUNDS) -> np.ndarray:
    """Rows moved halfway, round by round, to the mean of their neighbours.

    A neighbour weighs as much as the two have neighbours in common, as a share of those of both.
    """
    from scipy.sparse import csr_matrix, diags

    count, k = near.rows.shape
    own = np.concatenate([np.arange(count)[:, None], near.rows], axis=1)
    ends = np.arange(count + 1) * (k + 1)
    lists = csr_matrix((np.ones(own.size, np.float32), own.ravel(), ends), (count, count))
    common = (lists @ lists.T).multiply((lists + lists.T) > 0).tocsr()
    common.setdiag(0)
    common.eliminate_zeros()
    common.data /= 2 * (k + 1) - common.data
    weights = np.asarray(common.sum(axis=1)).ravel()
    mean = diags(1 / np.maximum(weights, 1e-9)) @ common
    places = np.asarray(vectors, np.float32)
    for _ in range(rounds):
        places = unit(0.5 * places + 0.5 * (mean @ places))
    return places


def cut(made: Tree, number: int) -> np.ndarray:
    """The group of each row, from 0, when so many are left.

    >>> near = Neighbours(np.zeros((3, 0), int), np.zeros((3, 0)))
    >>> cut(Tree(np.zeros((3, 1)), np.array([[1, 2], [0, 3]]), near), 2).tolist()
    [0, 1, 1]
    """
    count = len(made.joined) + 1
    done = max(count - number, 0)
    top = np.arange(count + done)
    top[made.joined[:done].ravel()] = np.repeat(np.arange(done), 2) + count
    while not np.array_equal(top, higher := top[top]):
        top = higher
    return np.unique(top[:count], return_inverse=True)[1]


def proposed(made: Tree) -> int:
    """As many groups as links speak for: most more lie within groups than chance would put there.

    >>> proposed(tree(np.repeat(np.eye(4, dtype=np.float32), 20, axis=0)))
    4
    """
    cuts = numbers(len(made.joined) + 1)
    return max(cuts, key=lambda number: modularity(made.near, cut(made, number)))


def numbers(rows: int) -> list[int]:
    """Numbers of groups worth trying: all small ones, then ever wider steps.

    >>> numbers(30)
    [2, 3, 4, 5, 6, 7, 8, 9, 10]
    """
    tried = {2}
    while max(tried) < min(FINEST, rows // 3):
        tried.add(max(max(tried) + 1, round(max(tried) * 1.12)))
    return sorted(number for number in tried if number <= max(min(FINEST, rows // 3), 2))


def modularity(near: Neighbours, member: np.ndarray) -> float:
    """The share of links to neighbours that stay within a group, beyond what chance would put.

    >>> rows = np.array([[1], [0], [3], [2]])
    >>> modularity(Neighbours(rows, np.ones((4, 1))), np.array([0, 0, 1, 1]))
    0.5
    """
    inside = float((member[near.rows] == member[:, None]).mean())
    ends = np.bincount(near.rows.ravel(), minlength=len(member)) + near.rows.shape[1]
    share = np.bincount(member, weights=ends) / ends.sum()
    return inside - float((share**2).sum())


def silhouette(distance: np.ndarray, member: np.ndarray) -> float:
    """Mean silhouette from all pairwise distances (N N); rows alone in a group count 0.

    >>> points = np.array([0.0, 1.0, 10.0, 11.0])
    >>> round(silhouette(np.abs(points[:, None] - points), np.array([0, 0, 1, 1])), 3)
    0.9
    """
    values, member = np.unique(member, return_inverse=True)
    if len(values) < 2:
        return 0.0
    onehot = np.eye(len(values), dtype=distance.dtype)[member]  # N K
    sizes = onehot.sum(axis=0)
    sums = distance @ onehot
    rows = np.arange(len(member))
    own = sums[rows, member] / np.maximum(sizes[member] - 1, 1)
    means = sums / sizes
    means[rows, member] = np.inf
    other = means.min(axis=1)
    score = (other - own) / np.maximum(np.maximum(own, other), 1e-12)
    score[sizes[member] < 2] = 0
    return float(score.mean())


def _silhouettes(made: Tree, cuts: list[int], draw: np.random.Generator) -> dict[int, float]:
    """The silhouette of every cut, on at most 1,000 rows."""
    count = len(made.places)
    some = np.sort(draw.choice(count, min(count, 1000), replace=False))
    distance = np.sqrt(squared(made.places[some], made.places[some]))
    return {number: silhouette(distance, cut(made, number)[some]) for number in cuts}


def _blind(vectors: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """As many rows with the same spread in every direction, and no groups."""
    cloud = draw.normal(size=vectors.shape) * vectors.std(axis=0)
    return unit(cloud.astype(np.float32))


def _everyone(
    vectors: np.ndarray, chosen: np.ndarray, levels: list[np.ndarray]
) -> list[np.ndarray]:
    """Groups of all rows: those not chosen join the finest one most of their neighbours are in."""
    total = len(vectors)
    if len(chosen) == total:
        return levels
    finest = levels[-1]
    rest = np.setdiff1d(np.arange(total), chosen)
    joins = np.empty(len(rest), np.int64)
    bank = vectors[chosen]
    for first in range(0, len(rest), 512):
        away = squared(vectors[rest[first : first + 512]], bank)
        near = finest[np.argpartition(away, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]]
        votes = (near[:, :, None] == near[:, None]).sum(axis=2)
        joins[first : first + 512] = near[np.arange(len(near)), votes.argmax(axis=1)]
    found = []
    for level in levels:
        above = np.empty(int(finest.max()) + 1, np.int64)
        above[finest] = level  # of each finest group, the one it lies in
        member = np.empty(total, np.int64)
        member[chosen], member[rest] = level, above[joins]
        found.append(member)
    return found


def _groups(vectors: np.ndarray, levels: list[np.ndarray], separation: float, show: int) -> Groups:
    """Numbered so that sizes fall; within a coarser group, its own follow each other."""
    ordered: list[np.ndarray] = []
    typical: list[list[list[int]]] = []
    for member in levels:
        sizes = np.bincount(member)
        above = np.zeros(len(sizes), np.int64)
        if ordered:
            above[member] = ordered[-1]
        order = np.lexsort((-sizes, above))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        ordered.append(rank[member])
        typical.append(_typical(vectors, ordered[-1], show))
    return Groups(tuple(ordered), tuple(typical), separation)


def _typical(vectors: np.ndarray, member: np.ndarray, show: int) -> list[list[int]]:
    """Of every group, the rows nearest its middle."""
    found = []
    for place in range(int(member.max()) + 1 if len(member) else 0):
        rows = np.flatnonzero(member == place)
        middle = vectors[rows].mean(axis=0, keepdims=True)
        near = np.argsort(squared(vectors[rows], middle)[:, 0], kind="stable")[:show]
        found.append(rows[near].tolist())
    return found
