"""A line through numbers given for pictures, as strong as leaving each out in turn says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALPHAS = tuple(10.0 ** np.arange(-2, 6))  # its inputs have a spread of 1


@dataclass(frozen=True)
class Ridge:
    """What it takes of each number, after these are centred and scaled."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray  # F or F K
    offset: np.ndarray | float  # () or K
    alpha: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        predicted: np.ndarray = ((features - self.mean) / self.scale) @ self.weights + self.offset
        return predicted


def ridge(features: np.ndarray, targets: np.ndarray, alphas: Sequence[float] = ALPHAS) -> Ridge:
    """A ridge from rows (N F) to numbers (N) or several at once (N K).

    >>> x = np.arange(20.0)[:, None]
    >>> round(float(ridge(x, 2 * x[:, 0] + 1)(np.array([[3.0]]))[0]), 1)
    7.0
    """
    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    x, offset = (features - mean) / scale, targets.mean(0)
    # rows rather than columns: there are mostly fewer pictures than numbers of each
    values, vectors = np.linalg.eigh(x @ x.T)
    turned = vectors.T @ (targets - offset)
    best, chosen = np.inf, (alphas[0], np.zeros_like(turned))
    for alpha in alphas:
        inverse = 1 / (np.maximum(values, 0) + alpha)
        dual = (vectors * inverse) @ turned
        held = np.square(vectors) @ inverse  # each picture's error without it is dual / held
        error = float(np.square(dual.T / held).mean())
        if error < best:
            best, chosen = error, (alpha, dual)
    return Ridge(mean, scale, x.T @ chosen[1], offset, float(chosen[0]))
