"""The vector space all findings share: partly whitened components, and neighbours in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Space:
    """Where raw vectors go: centre, scale per block, components; rows end on the unit sphere."""

    centres: tuple[np.ndarray, ...]
    scales: tuple[float, ...]
    components: np.ndarray  # D K

    def place(self, *blocks: np.ndarray) -> np.ndarray:
        """Vectors (N K) of unit length for raw blocks (N D_b), in the order given to `fit`."""
        parts = [
            (block - centre) * np.float32(scale)
            for block, centre, scale in zip(blocks, self.centres, self.scales, strict=True)
        ]
        vectors = np.concatenate(parts, axis=1) @ self.components
        return unit(vectors)


class Neighbours(NamedTuple):
    """The nearest rows of every row, itself left out, and their distances."""

    rows: np.ndarray  # N k int32
    distances: np.ndarray  # N k float32, ascending


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length one; a row of zeros stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def fit(*blocks: np.ndarray, dimensions: int = 64, whiten: float = 0.5, seed: int = 0) -> Space:
    """Learn the space from the collection itself; every block weighs the same.

    `whiten` 0 keeps the spread of each component, 1 evens them all out. The middle keeps noisy
    small components from shouting while a dominant one (brightness, often) does not drown the rest.
    """
    count = len(blocks[0])
    chosen = np.arange(count)
    if count > 5000:
        chosen = np.sort(np.random.default_rng(seed).choice(count, 5000, replace=False))
    centres, scales, parts = [], [], []
    for block in blocks:
        sample = block[chosen].astype(np.float32)
        centre = sample.mean(axis=0)
        sample = sample - centre
        spread = float(np.sqrt((sample**2).sum(axis=1).mean()))
        scale = 1 / spread if spread > 1e-6 else 0.0
        centres.append(centre)
        scales.append(scale)
        parts.append(sample * np.float32(scale))
    values = np.concatenate(parts, axis=1)
    variance, directions = leading(values, dimensions, seed=seed)
    keep = variance > max(float(variance[0]), 1e-12) * 1e-4
    if not keep.any():
        keep[0] = True
    variance, directions = variance[keep], directions[:, keep]
    # eigenvectors come with any sign: fix it, so that the same images give the same map
    sign = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    components = directions * sign * np.maximum(variance, 1e-12) ** (-whiten / 2)
    return Space(tuple(centres), tuple(scales), components.astype(np.float32))


def leading(
    values: np.ndarray, count: int, *, rounds: int = 4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares along the main directions of rows (N D), largest first, and those (D count).

    A basis somewhat larger than asked for is turned towards them round by round (Halko et al.
    2011): a full decomposition of thousands of numbers a row takes longer than all that follows.
    Exact where the rows have few numbers.

    >>> variance, directions = leading(np.diag([1.0, 3.0, 2.0]), 2)
    >>> (3 * variance).round(6).tolist(), np.abs(directions).round(6).T.tolist()
    ([9.0, 4.0], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    """
    width = values.shape[1]
    draw = np.random.default_rng(seed)
    basis = draw.standard_normal((width, min(width, count + 32))).astype(values.dtype)
    for _ in range(rounds if basis.shape[1] < width else 1):
        basis = np.linalg.qr(values.T @ (values @ basis))[0]
    seen = values @ basis
    variance, turn = np.linalg.eigh((seen.T @ seen) / max(len(values), 1))
    order = np.argsort(-variance, kind="stable")[:count]
    return variance[order], basis @ turn[:, order]


def neighbours(vectors: np.ndarray, k: int, *, seed: int = 0) -> Neighbours:
    """The k nearest rows of each row (Euclidean): exact to 6,000 rows, by cells beyond.

    >>> near = neighbours(np.array([[0.0], [1.0], [3.0]], np.float32), 1)
    >>> near.rows.ravel().tolist(), near.distances.ravel().tolist()
    ([1, 0, 1], [1.0, 1.0, 2.0])
    """
    count = len(vectors)
    k = min(k, count - 1)
    if k < 1:
        return Neighbours(np.zeros((count, 0), np.int32), np.zeros((count, 0), np.float32))
    rows = np.empty((count, k), np.int32)
    distances = np.empty((count, k), np.float32)
    if count <= 6000:
        everything = np.arange(count)
        for start in range(0, count, 512):
            queries = everything[start : start + 512]
            rows[queries], distances[queries] = _nearest(vectors, queries, everything, k)
        return Neighbours(rows, distances)
    # each row is compared with the cells whose centres are near its own cell's centre; the
    # number looked at per row stays near 3,000, so the whole grows with count, not its square
    cells = int(np.sqrt(count))
    centres, member = kmeans(vectors, cells, rounds=6, seed=seed)
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(cells + 1))
    between = squared(centres, centres)
    wanted = max(3000, 4 * k)
    for cell in range(cells):
        queries = order[starts[cell] : starts[cell + 1]]
        if len(queries) == 0:
            continue
        ranked = np.argsort(between[cell], kind="stable")
        sizes = np.cumsum(starts[ranked + 1] - starts[ranked])
        used = ranked[: int(np.searchsorted(sizes, wanted)) + 1]
        candidates = np.concatenate([order[starts[c] : starts[c + 1]] for c in used])
        for start in range(0, len(queries), 512):
            block = queries[start : start + 512]
            rows[block], distances[block] = _nearest(vectors, block, candidates, k)
    return Neighbours(rows, distances)


def squared(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances between rows (N D) and (M D), as N M."""
    result = left @ right.T
    result *= -2
    result += (left**2).sum(axis=1)[:, None]
    result += (right**2).sum(axis=1)[None]
    return np.maximum(result, 0, out=result)


def _nearest(
    vectors: np.ndarray, queries: np.ndarray, candidates: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    distance = squared(vectors[queries], vectors[candidates])
    distance[queries[:, None] == candidates[None]] = np.inf
    near = np.argpartition(distance, k - 1, axis=1)[:, :k]
    near_distance = np.take_along_axis(distance, near, axis=1)
    # ties by row number, so that the order does not hang on how the partition was made
    order = np.lexsort((candidates[near], near_distance), axis=1)
    near = np.take_along_axis(near, order, axis=1)
    return candidates[near], np.sqrt(np.take_along_axis(near_distance, order, axis=1))


def kmeans(
    vectors: np.ndarray,
    count: int,
    *,
    start: np.ndarray | None = None,
    rounds: int = 25,
    seed: int = 0,
    sample: int = 20000,
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (count D) and the centre of each row; empty cells are re-seeded.

    Begins at `start`, or at rows spread out by greedy k-means++.
    """
    draw = np.random.default_rng(seed)
    learn = vectors
    if len(vectors) > sample:
        learn = vectors[np.sort(draw.choice(len(vectors), sample, replace=False))]
    count = min(count, len(learn))
    if start is None:
        some = learn[draw.permutation(len(learn))[: 50 * count]]
        start = some[_spread(some, count, draw)]
    centres = start
    for _ in range(rounds):
        member = _closest(learn, centres)
        sums = np.zeros_like(centres)
        order = np.argsort(member, kind="stable")
        starts = np.searchsorted(member[order], np.arange(count))
        sizes = np.bincount(member, minlength=count)
        filled = sizes > 0
        sums[filled] = np.add.reduceat(learn[order], starts[filled], axis=0)
        new = centres.copy()
        new[filled] = sums[filled] / sizes[filled, None]
        if not filled.all():
            new[~filled] = learn[draw.choice(len(learn), int((~filled).sum()), replace=False)]
        moved = float(np.abs(new - centres).max())
        centres = new
        if moved < 1e-4:
            break
    return centres, _closest(vectors, centres)


def _closest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre of each row; in blocks, so that memory stays small."""
    half = (centres**2).sum(axis=1)[None] / 2
    blocks = [
        (half - vectors[start : start + 4096] @ centres.T).argmin(axis=1)
        for start in range(0, len(vectors), 4096)
    ]
    return np.concatenate(blocks).astype(np.int64)


def _spread(vectors: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Greedy k-means++: of a few rows drawn by squared distance, the one that helps most."""
    chosen = [int(draw.integers(len(vectors)))]
    length = (vectors**2).sum(axis=1)
    distance = squared(vectors, vectors[chosen])[:, 0]
    tries = 2 + int(np.log(count))
    for _ in range(count - 1):
        distance[chosen] = 0
        total = distance.cumsum(dtype=np.float64)
        if total[-1] <= 1e-9:
            chosen.append(int(draw.integers(len(vectors))))
            continue
        drawn = np.searchsorted(total, draw.random(tries) * total[-1])
        drawn = np.minimum(drawn, len(vectors) - 1)
        away = length[:, None] - 2 * (vectors @ vectors[drawn].T) + length[drawn]
        left = np.minimum(distance[:, None], np.maximum(away, 0))
        best = int(left.sum(axis=0).argmin())
        chosen.append(int(drawn[best]))
        distance = left[:, best]
    return np.array(chosen)
