"""How near a changed picture is to its original: PSNR and SSIM of uint8 pixels."""

from __future__ import annotations

import numpy as np

SIGMA, REACH = 1.5, 5  # the published Gaussian window of 11 pixels
DARK, FLAT = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(original: np.ndarray, copy: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures.

    >>> round(psnr(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 16, np.uint8)), 2)
    24.05
    """
    error = float(np.square(original.astype(np.float32) - copy.astype(np.float32)).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(original: np.ndarray, copy: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004): mean over channels and all places but the border.

    >>> ssim(np.eye(16, dtype=np.uint8) * 255, np.eye(16, dtype=np.uint8) * 255)
    1.0
    """
    from scipy.ndimage import gaussian_filter

    one, two = (np.atleast_3d(pixels).astype(np.float64) for pixels in (original, copy))  # H W C

    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (SIGMA, SIGMA, 0), truncate=3.5)

    mean_one, mean_two = local(one), local(two)
    spread_one = local(one * one) - mean_one**2
    spread_two = local(two * two) - mean_two**2
    shared = local(one * two) - mean_one * mean_two
    likeness = (2 * mean_one * mean_two + DARK) * (2 * shared + FLAT)
    likeness /= (mean_one**2 + mean_two**2 + DARK) * (spread_one + spread_two + FLAT)
    if min(one.shape[:2]) > 2 * REACH:  # elsewhere the window reaches beyond the picture
        likeness = likeness[REACH:-REACH, REACH:-REACH]
    return float(likeness.mean())
