"""How near a changed picture is to its original: PSNR, SSIM and MS-SSIM.

`largest` is the value of white: 255 for uint8 pixels, 1 for floats in 0...1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fallow.problems import Problem

SIGMA, REACH = 1.5, 5  # the published Gaussian window of 11 pixels
DARK, FLAT = 0.01**2, 0.03**2  # of white's square, keep even areas from dividing by nothing
# of the scales of MS-SSIM, from fine to coarse (Wang et al. 2003)
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(original: np.ndarray, copy: np.ndarray, largest: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures.

    >>> round(psnr(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 16, np.uint8)), 2)
    24.05
    """
    difference = original.astype(np.float32) - copy.astype(np.float32)
    error = float(np.square(difference).mean(dtype=np.float64))
    return float("inf") if error == 0 else float(10 * np.log10(largest**2 / error))


def ssim(original: np.ndarray, copy: np.ndarray, largest: float = 255.0) -> float:
    """Structural similarity (Wang et al. 2004): mean over channels and all places but the border.

    >>> ssim(np.eye(16, dtype=np.uint8) * 255, np.eye(16, dtype=np.uint8) * 255)
    1.0
    """
    likeness, contrast = _local(original, copy, largest)
    return float((likeness * contrast).mean())


def ssim_uniform(original: np.ndarray, copy: np.ndarray, largest: float = 255.0) -> float:
    """The same over plain windows of 7 x 7 with sample variances: scikit-image's default.

    >>> ssim_uniform(np.eye(16, dtype=np.uint8) * 255, np.eye(16, dtype=np.uint8) * 255)
    1.0
    """
    from scipy.ndimage import uniform_filter

    side = 7
    if min(original.shape[:2]) < side:
        raise Problem(f"windows of {side} x {side} pixels do not fit into {original.shape[:2]}.")
    bessel = side**2 / (side**2 - 1)
    likeness, contrast = _compared(
        original, copy, largest, lambda values: uniform_filter(values, (side, side, 0)), bessel
    )
    inner = np.s_[side // 2 : -(side // 2), side // 2 : -(side // 2)]
    return float((likeness * contrast)[inner].mean())


def ms_ssim(original: np.ndarray, copy: np.ndarray, largest: float = 255.0) -> float:
    """SSIM over five scales, each half the last (Wang et al. 2003); sides above 160 pixels.

    >>> grey = np.random.default_rng(0).integers(0, 255, (176, 176)).astype(np.uint8)
    >>> round(ms_ssim(grey, grey), 6)
    1.0
    """
    if min(original.shape[:2]) <= 2 * REACH * 2 ** (len(SCALES) - 1):
        raise Problem(f"five scales need sides above 160 pixels, not {original.shape[:2]}.")
    one, two = (np.atleast_3d(pixels).astype(np.float64) for pixels in (original, copy))
    found = np.ones(one.shape[2])
    for scale, weight in enumerate(SCALES):
        likeness, contrast = _local(one, two, largest)
        last = scale == len(SCALES) - 1
        kept = (likeness * contrast if last else contrast).mean((0, 1))  # C
        found *= np.maximum(kept, 0) ** weight
        if not last:
            one, two = (_halved(values) for values in (one, two))
    return float(found.mean())


def _halved(values: np.ndarray) -> np.ndarray:
    """Means of 2 x 2; an odd side is led by a row of zeros that counts."""
    odd = [(side % 2, side % 2) for side in values.shape[:2]]
    padded = np.pad(values, [*odd, (0, 0)])
    height, width = (side // 2 * 2 for side in padded.shape[:2])
    block = padded[:height, :width].reshape(height // 2, 2, width // 2, 2, -1)
    return block.mean((1, 3))


def _local(one: np.ndarray, two: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Likeness of brightness and of contrast and structure under Gaussian windows.  h w C"""
    from scipy.ndimage import gaussian_filter

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (SIGMA, SIGMA, 0), truncate=3.5)

    both = _compared(one, two, largest, mean, 1.0)
    if min(one.shape[:2]) <= 2 * REACH:  # the window reaches beyond the picture anyway
        return both
    inner = np.s_[REACH:-REACH, REACH:-REACH]
    return both[0][inner], both[1][inner]


def _compared(
    original: np.ndarray, copy: np.ndarray, largest: float, mean: Any, bessel: float
) -> tuple[np.ndarray, np.ndarray]:
    one, two = (np.atleast_3d(pixels).astype(np.float64) for pixels in (original, copy))  # H W C
    dark, flat = DARK * largest**2, FLAT * largest**2
    mean_one, mean_two = mean(one), mean(two)
    spread_one = bessel * (mean(one * one) - mean_one**2)
    spread_two = bessel * (mean(two * two) - mean_two**2)
    shared = bessel * (mean(one * two) - mean_one * mean_two)
    brightness = (2 * mean_one * mean_two + dark) / (mean_one**2 + mean_two**2 + dark)
    return brightness, (2 * shared + flat) / (spread_one + spread_two + flat)
