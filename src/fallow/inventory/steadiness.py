"""How steady groups are: what becomes of them with other pictures, fewer of them, or other eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fallow.inventory.groups import NEIGHBOURS, cut, proposed, tree
from fallow.vectors import space

MOST = 2000  # rows that are shared out; their halves say enough
LEAST = 24  # rows of a part that can form groups
ENOUGH = 10 * NEIGHBOURS  # rows of a quarter that say how many: a graph of fewer has no room


@dataclass(frozen=True)
class Steadiness:
    """Second opinions on the groups of one level; empty where there are too few images."""

    halves: tuple[float, ...] = ()  # of each group, what it shares with one that halves form alone
    colours: tuple[float, ...] = ()  # the same, with one that plain colours and textures form
    numbers: tuple[float, ...] = ()  # groups that quarters, halves and all propose

    @property
    def kept(self) -> int:
        """Groups that share more than half of all pictures with one of each half."""
        return sum(share > 0.5 for share in self.halves)

    @property
    def coloured(self) -> int:
        """Groups that share more than half of all pictures with one formed by colours alone."""
        return sum(share > 0.5 for share in self.colours)


def steadiness(
    vectors: np.ndarray, statistics: np.ndarray, member: np.ndarray, *, seed: int = 0
) -> Steadiness:
    """Group halves and quarters of the rows (N D) anew, and plain statistics (N S) of them.

    No picture is in two parts, so parts differ as two collections of the same kind would.

    >>> truth = np.repeat(np.arange(4), 150)
    >>> cloud = np.eye(4)[truth] + np.random.default_rng(0).normal(0, 0.1, (600, 4))
    >>> found = steadiness(cloud, np.random.default_rng(1).normal(size=(600, 3)), truth)
    >>> found.kept, found.coloured, found.numbers
    (4, 0, (4.0, 4.0, 4.0))
    """
    count, total = len(vectors), int(member.max()) + 1 if len(member) else 0
    if count < 2 * LEAST or total < 2:
        return Steadiness()
    order = np.random.default_rng(seed).permutation(count)[:MOST]
    shares, halves = [], []
    for part in _parts(order, 2):
        made = tree(np.ascontiguousarray(vectors[part], np.float32))
        halves.append(proposed(made))
        shares.append(overlaps(member[part], cut(made, min(total, len(part))), total))
    numbers: tuple[float, ...] = ()
    if len(order) // 4 >= ENOUGH:
        quarters = [
            proposed(tree(np.ascontiguousarray(vectors[part], np.float32)))
            for part in _parts(order, 4)
        ]
        numbers = (float(np.mean(quarters)), float(np.mean(halves)), float(total))
    whole = np.sort(order)
    plain = space.fit(statistics[whole], seed=seed).place(statistics[whole])
    others = cut(tree(plain), min(total, len(whole)))
    return Steadiness(
        tuple(np.mean(shares, axis=0).round(4).tolist()),
        tuple(overlaps(member[whole], others, total).round(4).tolist()),
        numbers,
    )


def overlaps(member: np.ndarray, others: np.ndarray, total: int) -> np.ndarray:
    """Of each group (total), what it shares with its best match, as a part of both together.

    >>> overlaps(np.array([0, 0, 1, 1]), np.array([5, 5, 5, 7]), 2).round(2).tolist()
    [0.67, 0.5]
    """
    names, others = np.unique(others, return_inverse=True)
    both = np.zeros((total, len(names)))
    np.add.at(both, (member, others), 1)
    either = both.sum(1, keepdims=True) + both.sum(0) - both
    return (both / np.maximum(either, 1)).max(axis=1, initial=0.0)


def _parts(order: np.ndarray, number: int) -> list[np.ndarray]:
    return [np.sort(order[first::number]) for first in range(number)]
