"""How strange each image is among the others: farther off than is usual around it."""

from __future__ import annotations

import numpy as np

from fallow.vectors.space import Neighbours, leading, neighbours, unit

# Chosen leave-one-set-out by recipes.judgement.strangers.
TEXTURES = 0.5  # what colours and textures weigh beside the encoder's vectors
LOCAL = 50  # neighbours whose own distances say how far would be usual there
PART = 4  # of a small collection only such a part is asked
ODD = 10.0  # spreads above the middle from which an image is a stranger
DIRECTIONS = 256  # of the space, the main ones


def outlier_scores(
    embedding: np.ndarray, statistics: np.ndarray, *, textures: float = TEXTURES, seed: int = 0
) -> np.ndarray:
    """0 for an ordinary row, larger the stranger, in spreads of the collection; N float32.

    Vectors keep their distance from the collection's middle: scaled to length one around it, as
    for groups, what is unlike everything would be like something. Strangers may have company of
    their kind, so that a few nearest ones say little: up to 50 are asked.
    """
    if len(embedding) < 3:
        return np.zeros(len(embedding), np.float32)
    near = neighbours(strange_space(embedding, statistics, textures), LOCAL, seed=seed)
    return strangeness(near)


def strange_space(embedding: np.ndarray, statistics: np.ndarray, textures: float) -> np.ndarray:
    """Both blocks side by side, brought to one spread; nothing else is scaled.  N D"""
    parts = []
    for block, weight in ((unit(embedding), 1.0), (statistics, textures)):
        centred = block - block.mean(axis=0)
        spread = np.sqrt((centred**2).sum(axis=1).mean())
        parts.append(centred * np.float32(weight / max(float(spread), 1e-9)))
    vectors = np.concatenate(parts, axis=1).astype(np.float32)
    if min(vectors.shape) <= DIRECTIONS:
        return vectors
    return vectors @ leading(vectors, DIRECTIONS)[1]


def strangeness(near: Neighbours) -> np.ndarray:
    """Local outlier factors in spreads; N float32."""
    return local(near, min(LOCAL, max(len(near.rows) // PART, 2))).astype(np.float32)


def local(near: Neighbours, k: int) -> np.ndarray:
    """How many times farther neighbours are than is usual around them (Breunig et al. 2000)."""
    rows = near.rows[:, :k]
    reach = np.maximum(near.distances[:, :k][:, -1][rows], near.distances[:, :k]).mean(axis=1)
    # copies of copies, at distance zero, would make everything else a stray
    reach = np.maximum(reach, 0.1 * float(np.median(reach)) + 1e-9)
    return spreads(reach * (1 / reach)[rows].mean(axis=1))


def spreads(values: np.ndarray) -> np.ndarray:
    """Logarithms as robust deviations from their median."""
    values = np.log(np.maximum(values, 1e-9))
    away = values - np.median(values)
    return away / max(1.4826 * float(np.median(np.abs(away))), 1e-3)


def outliers(scores: np.ndarray, odd: float = ODD) -> np.ndarray:
    """Rows that stand out, the strangest first: `odd` spreads or more above the middle.

    >>> outliers(np.array([0.1, -1.0, 0.5, 0.2, 19.0, -0.7])).tolist()
    [4]
    """
    chosen = np.flatnonzero(scores >= odd)
    return chosen[np.argsort(-scores[chosen], kind="stable")]
