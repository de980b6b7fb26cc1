"""Groups of similar images: how many there are, who belongs, and who stands for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fallow.vectors.space import kmeans, squared

STARTS = 3  # k-means runs per number tried: one alone may settle badly
CLEAR = 0.15  # mean silhouette from which groups have borders worth the name


@dataclass(frozen=True)
class Groups:
    """The proposed grouping, largest group first."""

    member: np.ndarray  # N int64, group of each row
    representatives: list[list[int]]  # rows nearest the middle of each group
    scores: dict[int, float]  # silhouette for each number of groups tried
    separation: float  # silhouette of the proposal: near 0 means no clear groups

    @property
    def count(self) -> int:
        return len(self.representatives)


def group(
    vectors: np.ndarray, *, count: int | None = None, most: int = 40, seed: int = 0, show: int = 12
) -> Groups:
    """Group rows by k-means; without `count`, the silhouette on at most 1,000 rows proposes one.

    Where groups are clear (a best mean silhouette of at least CLEAR), that best is proposed. A
    cloud without borders scores a little best in two halves, which helps nobody: there, the best
    from the cube root of the number of images upwards is taken, small enough to look through.

    >>> corners = np.repeat(np.array([[0, 0], [0, 9], [9, 0]], np.float32), 20, axis=0)
    >>> cloud = corners + np.random.default_rng(0).normal(0, 0.3, (60, 2)).astype(np.float32)
    >>> group(cloud).count
    3
    """
    total = len(vectors)
    scores: dict[int, float] = {}
    if count is None and total < 6:
        count = 1
    if count is not None:
        member = kmeans(vectors, count, seed=seed)[1]
    else:
        draw = np.random.default_rng(seed)
        sample = np.sort(draw.choice(total, min(total, 1000), replace=False))
        distance = np.sqrt(squared(vectors[sample], vectors[sample]))
        found: dict[int, np.ndarray] = {}
        for tried in _numbers(min(most, total // 3)):
            for start in range(STARTS):
                centres, member = kmeans(vectors[sample], tried, rounds=8, seed=seed + start)
                score = silhouette(distance, member)
                if score > scores.get(tried, -1.0):
                    found[tried], scores[tried] = centres, score
        count = max(scores, key=lambda tried: scores[tried])
        if scores[count] < CLEAR:
            fine = [tried for tried in scores if tried >= round(total ** (1 / 3))]
            count = max(fine or [count], key=lambda tried: scores[tried])
        member = kmeans(vectors, count, start=found[count], rounds=10, seed=seed)[1]
    order = np.argsort(-np.bincount(member), kind="stable")
    order = order[np.bincount(member)[order] > 0]
    rank = np.full(int(member.max()) + 1, -1)
    rank[order] = np.arange(len(order))
    member = rank[member]
    representatives = []
    for place in range(len(order)):
        rows = np.flatnonzero(member == place)
        middle = vectors[rows].mean(axis=0, keepdims=True)
        near = np.argsort(squared(vectors[rows], middle)[:, 0], kind="stable")[:show]
        representatives.append(rows[near].tolist())
    separation = scores.get(count, 0.0)
    return Groups(member, representatives, scores, separation)


def _numbers(most: int) -> list[int]:
    """Numbers of groups worth trying: all small ones, then ever wider steps."""
    numbers = {2}
    while max(numbers) < most:
        numbers.add(max(max(numbers) + 1, round(max(numbers) * 1.15)))
    return sorted(number for number in numbers if number <= max(most, 2))


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
