"""What a method that discovers classes says of every image, in one form for all methods."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Discovery:
    """Groups below `old` are the known classes in the order of their codes; the rest are new."""

    member: np.ndarray  # N
    old: int
    chance: np.ndarray  # N, of the group it is in
    second: np.ndarray  # N, the next likely group
    second_chance: np.ndarray  # N
    distance: np.ndarray  # N, from the middle of its group
    counts: list[int]  # how many groups each start ended with
    notes: list[str] = field(default_factory=list)
    likely: tuple[int, int] | None = None  # the range of their number, where it was counted

    @property
    def count(self) -> int:
        return max(self.old, int(self.member.max()) + 1)

    @property
    def new(self) -> int:
        return self.count - self.old

    @property
    def interval(self) -> tuple[int, int]:
        """What the number of classes is likely between; else where the starts ended."""
        if self.likely is not None:
            return min(self.likely[0], self.count), max(self.likely[1], self.count)
        ends = [*self.counts, self.count]
        return min(ends), max(ends)


def discovered(
    vectors: np.ndarray,
    member: np.ndarray,
    old: int,
    chances: np.ndarray,
    counts: list[int],
    notes: list[str] | None = None,
) -> Discovery:
    """A Discovery from groups and the chances (N K) of all of them; new ones by falling size.

    >>> found = discovered(np.zeros((3, 1)), np.array([0, 2, 2]), 1, np.eye(3)[[0, 2, 2]], [3])
    >>> found.member.tolist(), found.chance.tolist(), found.count
    ([0, 1, 1], [1.0, 1.0, 1.0], 2)
    """
    sizes = np.bincount(member, minlength=chances.shape[1])
    order = np.r_[np.arange(old), old + np.argsort(-sizes[old:], kind="stable")]
    order = order[(order < old) | (sizes[order] > 0)]
    rank = np.full(len(sizes), -1)
    rank[order] = np.arange(len(order))
    member, chances = rank[member], chances[:, order]
    rows = np.arange(len(member))
    others = chances.copy()
    others[rows, member] = -1
    second = others.argmax(1)
    centres = np.zeros((len(order), vectors.shape[1]))
    np.add.at(centres, member, vectors)
    centres /= np.maximum(np.bincount(member, minlength=len(order)), 1)[:, None]
    return Discovery(
        member=member,
        old=old,
        chance=chances[rows, member],
        second=second,
        second_chance=np.maximum(others[rows, second], 0),
        distance=np.linalg.norm(vectors - centres[member], axis=1),
        counts=list(counts),
        notes=list(notes or []),
    )


def likeness(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Chances (N K) of equally wide round groups, as wide as the rows lie from their centres.

    >>> likeness(np.array([[0.0], [2.0], [1.0]]), np.array([[0.0], [2.0]]))[2].tolist()
    [0.5, 0.5]
    """
    from fallow.vectors.space import squared

    away = squared(np.asarray(vectors, np.float64), np.asarray(centres, np.float64))
    width = max(float(away.min(1).mean()) / vectors.shape[1], 1e-12)
    table = np.exp(-(away - away.min(1, keepdims=True)) / (2 * width))
    return table / table.sum(1, keepdims=True)
