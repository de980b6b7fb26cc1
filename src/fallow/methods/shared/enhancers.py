"""Simple enhancers of pictures, to compare others with: uint8 in, uint8 of the same size out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]


def unchanged(pixels: np.ndarray) -> np.ndarray:
    """The picture itself: what every enhancer must beat.

    >>> unchanged(np.zeros((2, 2, 3), np.uint8)).shape
    (2, 2, 3)
    """
    return pixels


def gamma(pixels: np.ndarray, aim: float = 0.5) -> np.ndarray:
    """The power that brings mean brightness to the middle, within 0.4 to 2.5.

    >>> int(gamma(np.full((4, 4, 3), 64, np.uint8)).mean())
    128
    """
    mean = float(_brightness(pixels / 255.0).mean())
    if not 0 < mean < 1:
        return pixels
    return _eight((pixels / 255.0) ** np.clip(np.log(aim) / np.log(mean), 0.4, 2.5))


def clahe(pixels: np.ndarray, tiles: int = 8, limit: float = 2.0) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of brightness (Zuiderveld 1994).

    >>> ramp = np.repeat(np.arange(100, 140, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    >>> bool(np.ptp(clahe(ramp)) > np.ptp(ramp))
    True
    """
    grey = np.rint(_brightness(pixels.astype(np.float64))).astype(np.int64)
    rows, columns = (np.linspace(0, side, min(tiles, side) + 1).astype(int) for side in grey.shape)
    tables = np.empty((len(rows) - 1, len(columns) - 1, 256))
    for i, j in np.ndindex(*tables.shape[:2]):
        part = grey[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
        count = np.bincount(part.ravel(), minlength=256).astype(np.float64)
        most = max(limit * part.size / 256, 1.0)
        over = np.maximum(count - most, 0).sum()
        tables[i, j] = np.cumsum(np.minimum(count, most) + over / 256) / part.size * 255
    place, weight = zip(*(_between(edges) for edges in (rows, columns)), strict=True)
    (up, left), (down_share, right_share) = place, weight
    down, right = np.minimum(up + 1, len(rows) - 2), np.minimum(left + 1, len(columns) - 2)

    def mapped(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return tables[i[:, None], j[None, :], grey]

    v, h = down_share[:, None], right_share[None, :]
    new = (1 - v) * ((1 - h) * mapped(up, left) + h * mapped(up, right))
    new += v * ((1 - h) * mapped(down, left) + h * mapped(down, right))
    return _rescaled(pixels, grey, new)


def denoise(pixels: np.ndarray, side: int = 5) -> np.ndarray:
    """Wiener's local filter with the noise measured in the picture itself.

    >>> draw = np.random.default_rng(0)
    >>> noisy = draw.normal(120, 20, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    >>> bool(denoise(noisy).std() < 0.5 * noisy.std())
    True
    """
    from scipy.ndimage import uniform_filter

    values = pixels.astype(np.float64)
    window = (side, side, 1)
    mean = uniform_filter(values, window)
    spread = np.maximum(uniform_filter(values**2, window) - mean**2, 0)
    noise = noise_level(pixels) ** 2
    kept = np.maximum(spread - noise, 0) / np.maximum(spread, max(noise, 1e-9))
    return _eight((mean + kept * (values - mean)) / 255)


def noise_level(pixels: np.ndarray) -> float:
    """Standard deviation of the noise in levels, from a difference that structure hardly enters.

    >>> draw = np.random.default_rng(0)
    >>> bool(abs(noise_level(draw.normal(128, 10, (99, 99, 3))) - 10) < 1)
    True
    """
    from scipy.ndimage import convolve

    taps = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)[..., None]
    if min(pixels.shape[:2]) < 3:
        return 0.0
    inner = convolve(pixels.astype(np.float64), taps)[1:-1, 1:-1]
    # the median is not moved by edges, as the mean of Immerkaer (1996) is
    return float(np.median(np.abs(inner)) / 0.6745 / 6)


def sharpen(pixels: np.ndarray, sigma: float = 1.0, amount: float = 1.0) -> np.ndarray:
    """Unsharp masking.

    >>> edge = np.repeat(np.array([[80, 80, 120, 120]], np.uint8), 4, 0)[..., None].repeat(3, 2)
    >>> bool(np.ptp(sharpen(edge)) > np.ptp(edge))
    True
    """
    from scipy.ndimage import gaussian_filter

    values = pixels.astype(np.float64)
    return _eight((values + amount * (values - gaussian_filter(values, (sigma, sigma, 0)))) / 255)


def dehaze(pixels: np.ndarray, side: int = 15, strength: float = 0.95) -> np.ndarray:
    """The dark channel prior (He et al. 2009): haze is what keeps all colours bright together.

    >>> draw = np.random.default_rng(0)
    >>> scene = draw.integers(0, 256, (40, 40, 3))
    >>> hazy = (scene * 0.4 + 255 * 0.6).astype(np.uint8)
    >>> bool(dehaze(hazy).std() > 1.5 * hazy.std())
    True
    """
    from scipy.ndimage import minimum_filter

    values = pixels / 255.0
    dark = minimum_filter(values.min(2), side)
    hazy = dark >= np.quantile(dark, 0.999)
    air = np.maximum(values[hazy].mean(0), 0.05)
    through = 1 - strength * minimum_filter((values / air).min(2), side)
    through = guided(_brightness(values), through, 4 * side, 1e-3)
    return _eight((values - air) / np.maximum(through, 0.1)[..., None] + air)


def retinex(pixels: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Low light: divided by a smooth map of the illumination, edges kept, to a power.

    >>> dark = np.full((20, 20, 3), 20, np.uint8)
    >>> bool(retinex(dark).mean() > 2 * dark.mean())
    True
    """
    values = pixels / 255.0
    brightest = values.max(2)
    side = max(3, min(pixels.shape[:2]) // 8)
    light = np.clip(guided(brightest, brightest, side, 1e-2), 0.02, 1)
    return _eight(values / (light**strength)[..., None])


def upscaled(pixels: np.ndarray, times: int, smooth: bool = True) -> np.ndarray:
    """Enlarged by plain resampling: what a super-resolving enhancer must beat.

    >>> upscaled(np.zeros((3, 4, 3), np.uint8), 2).shape
    (6, 8, 3)
    """
    from PIL import Image

    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    size = (pixels.shape[1] * times, pixels.shape[0] * times)
    return np.array(Image.fromarray(pixels).resize(size, how))


ENHANCERS: dict[str, Function] = {
    "none": unchanged,
    "gamma": gamma,
    "clahe": clahe,
    "denoise": denoise,
    "sharpen": sharpen,
    "dehaze": dehaze,
    "retinex": retinex,
}


def guided(guide: np.ndarray, values: np.ndarray, side: int, least: float) -> np.ndarray:
    """Values smoothed over windows, but along the edges of the guide (He et al. 2010).  H W

    >>> step = np.repeat([[0.0, 1.0]], 8, 0).repeat(8, 1)
    >>> bool(np.abs(guided(step, step, 5, 1e-4) - step).max() < 0.01)
    True
    """
    from scipy.ndimage import uniform_filter

    def mean(one: np.ndarray) -> np.ndarray:
        return uniform_filter(one, side)

    centre, level = mean(guide), mean(values)
    slope = (mean(guide * values) - centre * level) / (mean(guide**2) - centre**2 + least)
    return mean(slope) * guide + mean(level - slope * centre)


def _between(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the tile whose middle lies before it, and how far it is to the next."""
    middles = (edges[:-1] + edges[1:] - 1) / 2
    at = np.interp(np.arange(edges[-1]), middles, np.arange(len(middles)))
    first = np.floor(at).astype(int)
    return first, at - first


def _rescaled(pixels: np.ndarray, grey: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Colours in the proportion that brightness has changed."""
    ratio = new / np.maximum(grey, 1)
    return _eight(pixels / 255.0 * ratio[..., None])


def _brightness(values: np.ndarray) -> np.ndarray:
    return values @ np.array([0.299, 0.587, 0.114])


def _eight(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
