"""How dark pictures are, and how far apart two collections lie in that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fallow.problems import Problem


def darkness(pictures: Sequence[np.ndarray]) -> dict[str, float]:
    """How dark pictures (H W 3, uint8) are: means over all of them, in shares of white.

    >>> darkness([np.full((4, 4, 3), 51, np.uint8)])
    {'mean': 0.2, 'median': 0.2, 'brightest': 0.2, 'black': 0.0}
    """
    rows = []
    for pixels in pictures:
        grey = brightness(pixels)
        rows.append([grey.mean(), np.median(grey), np.quantile(grey, 0.99), (grey < 0.04).mean()])
    found = np.mean(rows, 0)
    names = ("mean", "median", "brightest", "black")
    return {name: round(float(value), 4) for name, value in zip(names, found, strict=True)}


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Brightness as displayed, 0...1.  H W"""
    return (pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)) / 255


def histogram(pictures: Sequence[np.ndarray], bins: int = 64) -> np.ndarray:
    """Shares of pixels by brightness, every picture counting the same.  bins

    >>> histogram([np.zeros((4, 4, 3), np.uint8)], 4).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    if not len(pictures):
        raise Problem("a histogram needs at least one picture.")
    each = [np.histogram(brightness(one), bins, (0, 1))[0] / one[..., 0].size for one in pictures]
    return np.mean(each, 0)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """How far brightness must move to turn one histogram into the other, in shares of white.

    >>> apart(np.array([1.0, 0, 0, 0]), np.array([0, 0, 1.0, 0]))
    0.5
    """
    return float(np.abs(np.cumsum(one - other)).sum() / len(one))
