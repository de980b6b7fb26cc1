"""Which images are the same picture: by content hash, and by looks where two measures agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

# Bits (of 64) two perceptual hashes may differ, and the likeness of the vectors asked then:
# the more the hash disagrees, the closer the vectors must be.
RADIUS = 10
LIKENESS = (0.55, 0.9)


@dataclass(frozen=True)
class NearGroup:
    """Images that look the same, the copy worth keeping, and hash distances to it."""

    items: list[int]
    keep: int
    distances: list[int]


def exact_groups(hashes: list[str]) -> list[list[int]]:
    """Rows that share a content hash, where more than one does.

    >>> exact_groups(["a", "b", "a", "c"])
    [[0, 2]]
    """
    where: dict[str, list[int]] = {}
    for row, key in enumerate(hashes):
        where.setdefault(key, []).append(row)
    return [rows for rows in where.values() if len(rows) > 1]


def near_groups(
    hashes: np.ndarray,
    vectors: np.ndarray,
    worth: np.ndarray,
    *,
    radius: int = RADIUS,
    likeness: tuple[float, float] = LIKENESS,
) -> list[NearGroup]:
    """Groups of look-alikes; `worth` (N M) ranks the copies, first column first, larger better.

    Rows whose hashes differ in at most `radius` bits and whose unit vectors have a cosine of at
    least `likeness` (asked at distance 0, asked at `radius`) are joined; a joined group then keeps
    the best copy and those that also match it directly, so that a chain of small steps does not
    tie different pictures together.
    """
    keys = np.asarray(hashes, np.uint64)
    if len(keys) < 2:
        return []
    vectors = np.ascontiguousarray(vectors, np.float32)
    asked = np.linspace(likeness[0], likeness[1], radius + 1).astype(np.float32)
    tables = [_buckets(keys, block) for block in range(4)]
    orders = np.stack([order for order, _ in tables])
    starts = np.stack([start for _, start in tables])
    flips = np.array(_flips(radius // 4), np.uint64)
    root = _join(keys, vectors, asked, orders, starts, flips)
    sizes = np.bincount(root, minlength=len(keys))
    together = np.flatnonzero(sizes[root] > 1)
    together = together[np.argsort(root[together], kind="stable")]
    cuts = np.flatnonzero(np.diff(root[together])) + 1
    rank = np.empty(len(keys), np.int64)
    rank[np.lexsort([-worth[:, i] for i in range(worth.shape[1])][::-1])] = np.arange(len(keys))
    groups: list[NearGroup] = []
    for members in np.split(together, cuts) if len(together) else []:
        left = members[np.argsort(rank[members], kind="stable")]
        while len(left) > 1:
            keep = left[0]
            bits = distance(keys[left], keys[keep])
            alike = vectors[left] @ vectors[keep]
            match = (bits <= radius) & (alike >= asked[np.minimum(bits, radius)])
            match[0] = True
            chosen = left[match]
            if len(chosen) > 1:
                items = np.sort(chosen)
                distances = distance(keys[items], keys[keep]).tolist()
                groups.append(NearGroup(items.tolist(), int(keep), distances))
            left = left[~match]
    return sorted(groups, key=lambda group: group.items[0])


def distance(hashes: np.ndarray, other: np.uint64) -> np.ndarray:
    """Bits in which each hash differs from another.

    >>> distance(np.array([0, 7], np.uint64), np.uint64(1)).tolist()
    [1, 2]
    """
    bits = np.ascontiguousarray(hashes ^ other).view(np.uint8).reshape(-1, 8)
    return np.unpackbits(bits, axis=1).sum(axis=1, dtype=np.int64)


def _buckets(keys: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows sorted by one 16-bit quarter of the hash, and where each value starts."""
    part = ((keys >> np.uint64(16 * block)) & np.uint64(0xFFFF)).astype(np.int64)
    order = np.argsort(part, kind="stable")
    start = np.searchsorted(part[order], np.arange(65537))
    return order.astype(np.int32), start.astype(np.int32)


def _flips(bits: int) -> list[int]:
    """All 16-bit masks with at most `bits` bits set."""
    return [mask for mask in range(1 << 16) if mask.bit_count() <= bits] if bits else [0]


@njit(cache=True, nogil=True)
def _root(parent: np.ndarray, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@njit(cache=True, nogil=True)
def _join(
    keys: np.ndarray,
    vectors: np.ndarray,
    asked: np.ndarray,
    orders: np.ndarray,
    starts: np.ndarray,
    flips: np.ndarray,
) -> np.ndarray:
    """Union-find over pairs that agree.

    Two hashes at most `radius` bits apart agree to radius // 4 bits in one quarter at least: only
    rows in the buckets around a row's own four quarters are compared.
    """
    count, radius = len(keys), len(asked) - 1
    parent = np.arange(count)
    for row in range(count):
        for block in range(4):
            own = (keys[row] >> np.uint64(16 * block)) & np.uint64(0xFFFF)
            for flip in flips:
                bucket = np.int64(own ^ flip)
                for place in range(starts[block, bucket], starts[block, bucket + 1]):
                    other = orders[block, place]
                    if other >= row:  # rows of a bucket ascend; each pair is met from one side
                        break
                    difference = keys[row] ^ keys[other]
                    bits = 0
                    while difference and bits <= radius:
                        difference &= difference - np.uint64(1)
                        bits += 1
                    if bits > radius:
                        continue
                    first, second = _root(parent, row), _root(parent, other)
                    if first == second:
                        continue
                    alike = np.float32(0)
                    for i in range(vectors.shape[1]):
                        alike += vectors[row, i] * vectors[other, i]
                    if alike >= asked[bits]:
                        parent[max(first, second)] = min(first, second)
    for row in range(count):
        parent[row] = _root(parent, row)
    return parent
