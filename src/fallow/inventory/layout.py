"""A flat map of the collection: neighbours pull together, everyone else pushes apart."""

from __future__ import annotations

import numpy as np
from numba import njit

from fallow.vectors.space import Neighbours


def layout(
    vectors: np.ndarray,
    near: Neighbours,
    *,
    seed: int = 0,
    rounds: int | None = None,
) -> np.ndarray:
    """Positions (N 2) float32, centred, mostly within [-1, 1]; the same for the same seed.

    A fuzzy neighbour graph (each row's distances turned into weights on its own scale, both
    directions joined) is laid out by stochastic descent on the Cauchy kernel 1 / (1 + d²): edges
    attract, random rows repel. The start is the two widest components, so that the coarse
    arrangement means something and nothing hangs on chance.
    """
    count = len(vectors)
    centred = vectors - vectors.mean(axis=0, keepdims=True)
    if count < 4 or near.rows.shape[1] == 0:
        line = np.linspace(-1, 1, count) if count > 1 else np.zeros(count)
        return np.stack([line, np.zeros(count)], axis=1).astype(np.float32)
    start = np.zeros((count, 2), np.float32)
    flat = centred[:, :2]
    start[:, : flat.shape[1]] = flat / max(float(np.abs(flat).max()), 1e-9) * 10
    jitter = np.random.default_rng(seed).normal(0, 0.05, start.shape)
    start += jitter.astype(np.float32)
    heads, tails, weights = graph(near)
    if rounds is None:
        rounds = 250 if count <= 5000 else 120
    strongest = float(weights.max())
    used = weights >= strongest / rounds
    every = (strongest / weights[used]).astype(np.float32)
    heads, tails = heads[used], tails[used]
    placed = _descend(start, heads, tails, every, rounds, np.uint64(seed * 2 + 1))
    placed -= np.median(placed, axis=0, keepdims=True)
    reach = max(float(np.quantile(np.abs(placed), 0.995)), 1e-6)
    # a few strays would shrink everything else: beyond the edge, distance grows slowly
    placed /= reach
    length = np.maximum(np.linalg.norm(placed, axis=1, keepdims=True), 1e-9)
    return (placed * np.where(length > 1.2, (1.2 + np.log(length / 1.2) * 0.3) / length, 1)).astype(
        np.float32
    )


def graph(near: Neighbours) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges (head, tail, weight) of the joined fuzzy neighbour graph, both directions listed."""
    count, k = near.rows.shape
    closest = near.distances[:, :1]
    beyond = np.maximum(near.distances - closest, 0)
    # the width per row that makes its weights sum to log2(k + 1): bisection, all rows at once
    low, high = np.full((count, 1), 1e-6), np.full((count, 1), 1e3)
    for _ in range(40):
        width = np.sqrt(low * high)
        wide = np.exp(-beyond / width).sum(axis=1, keepdims=True) > np.log2(k + 1)
        high = np.where(wide, width, high)
        low = np.where(wide, low, width)
    weight = np.exp(-beyond / np.sqrt(low * high)).ravel()
    heads = np.repeat(np.arange(count, dtype=np.int64), k)
    tails = near.rows.ravel().astype(np.int64)
    # a + b - ab over both directions, by sorting edge keys instead of a sparse matrix
    key = np.concatenate([heads * count + tails, tails * count + heads])
    values = np.concatenate([weight, weight])
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    size = np.diff(np.append(first, len(key)))
    second = np.where(size > 1, values[np.minimum(first + 1, len(key) - 1)], 0)
    joined = values[first] + second - values[first] * second
    return key[first] // count, key[first] % count, joined


@njit(cache=True, nogil=True, fastmath=True)
def _descend(
    placed: np.ndarray,
    heads: np.ndarray,
    tails: np.ndarray,
    every: np.ndarray,
    rounds: int,
    state: np.uint64,
) -> np.ndarray:
    count = np.uint64(len(placed))
    due = every.copy()
    for step in range(rounds):
        rate = np.float32(1.0 - step / rounds)
        for edge in range(len(heads)):
            if due[edge] > step + 1:
                continue
            due[edge] += every[edge]
            head, tail = heads[edge], tails[edge]
            x = placed[head, 0] - placed[tail, 0]
            y = placed[head, 1] - placed[tail, 1]
            pull = np.float32(2.0) / (np.float32(1.0) + x * x + y * y) * rate
            moved_x = min(max(pull * x, np.float32(-4)), np.float32(4)) * np.float32(0.5)
            moved_y = min(max(pull * y, np.float32(-4)), np.float32(4)) * np.float32(0.5)
            placed[head, 0] -= moved_x
            placed[head, 1] -= moved_y
            placed[tail, 0] += moved_x
            placed[tail, 1] += moved_y
            for _ in range(4):
                # xorshift: three shifts give the next number, seed in, same map out
                state ^= state << np.uint64(13)
                state ^= state >> np.uint64(7)
                state ^= state << np.uint64(17)
                other = np.int64((state >> np.uint64(11)) % count)
                if other == head:
                    continue
                x = placed[head, 0] - placed[other, 0]
                y = placed[head, 1] - placed[other, 1]
                far = x * x + y * y
                push = np.float32(2.0) / ((np.float32(0.01) + far) * (np.float32(1.0) + far)) * rate
                placed[head, 0] += min(max(push * x, np.float32(-4)), np.float32(4))
                placed[head, 1] += min(max(push * y, np.float32(-4)), np.float32(4))
    return placed
