"""An encoder's last step, fitted to a collection: no direction of its vectors drowns the rest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

LEAST = 50  # images: the directions of fewer are mostly chance
MOST = 128  # directions that are made shorter
POWER = 0.25  # of a direction's variance: half-way to equal variances


class Whitening(nn.Module):
    """Vectors seen from their mean, shorter along some directions; all else stays as it is."""

    mean: Tensor  # D
    directions: Tensor  # D K, of length 1
    scales: Tensor  # K, at most 1

    def __init__(self, mean: Tensor, directions: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("scales", scales)

    def forward(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            centred = vectors.float() - self.mean
            along = centred @ self.directions  # B K
            return centred + (along * (self.scales - 1)) @ self.directions.T  # B D


def half_whitening(vectors: np.ndarray, most: int = MOST, power: float = POWER) -> Whitening:
    """The main directions of vectors (N D), whose spread becomes its root, the least kept as it is.

    Where a few directions differ most between images (light, say), they decide which images are
    near each other. Full whitening makes all equal, noise included; half-way serves best.

    >>> spread = np.random.default_rng(0).normal(size=(400, 3)) * (16, 4, 1)
    >>> made = half_whitening(spread, most=3)
    >>> made(torch.from_numpy(spread).float()).std(0).numpy().round(0)
    array([4., 2., 1.], dtype=float32)
    """
    mean = vectors.mean(0, dtype=np.float64)
    centred = vectors - mean
    # of the two products the smaller one has all there is to know
    wide = centred.shape[1] > len(centred)
    product = (centred @ centred.T if wide else centred.T @ centred) / len(centred)
    variances, axes = np.linalg.eigh(product)
    kept = min(most, len(centred) // 2, int((variances > 1e-9 * variances[-1]).sum()))
    variances, axes = variances[::-1][:kept], axes[:, ::-1][:, :kept]
    if wide:
        axes = centred.T @ axes / np.sqrt(variances * len(centred))
    scales = (variances / variances[-1:]) ** -power
    held = (torch.from_numpy(part.copy()).float() for part in (mean, axes, scales))
    return Whitening(*held)
