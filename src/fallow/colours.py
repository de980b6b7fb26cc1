"""Colours of values, of categories, and of what is laid over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _linear(lightness: ArrayLike, chroma: ArrayLike, hue: ArrayLike) -> NDArray[np.float64]:
    """OKLCH (hue in degrees) to linear RGB; equal steps in it look equal (Ottosson 2020)."""
    angle = np.deg2rad(np.asarray(hue, float))
    a, b = np.asarray(chroma) * np.cos(angle), np.asarray(chroma) * np.sin(angle)
    lightness, a, b = np.broadcast_arrays(lightness, a, b)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    )


def _srgb(linear: NDArray[np.float64]) -> NDArray[np.uint8]:
    linear = linear.clip(0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)


def _hex(colours: NDArray[np.uint8]) -> list[str]:
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours.tolist()]


@cache
def palette(count: int = 12) -> tuple[str, ...]:
    """Colours for categories, apart from each other and readable on light and dark.

    >>> palette(3)[0] != palette(3)[1]
    True
    """
    return tuple(_hex(categories(count)))


def categories(count: int) -> NDArray[np.uint8]:
    """The same colours as numbers.  count 3"""
    place = np.arange(count)
    # the golden angle keeps every prefix well spread; lightness moves too, for weak colour sight
    lightness = np.array([0.62, 0.72, 0.54])[place % 3]
    return _srgb(_linear(lightness, 0.135, 255 + place * 137.508))


@cache
def _ramp() -> NDArray[np.uint8]:  # 256 3
    """Dark blue over green to pale yellow, in steps of equal visible difference."""
    place = np.linspace(0, 1, 1024)
    lightness, hue = 0.30 + 0.60 * place, 285 - 185 * place
    chroma = np.full(1024, 0.15)
    for _ in range(60):  # as colourful as a screen can show
        linear = _linear(lightness, chroma, hue)
        chroma[(linear.min(-1) < 0) | (linear.max(-1) > 1)] *= 0.98
    angle = np.deg2rad(hue)
    steps = np.diff([lightness, chroma * np.cos(angle), chroma * np.sin(angle)])
    travelled = np.r_[0, np.cumsum(np.sqrt((steps**2).sum(0)))]
    even = np.interp(np.linspace(0, travelled[-1], 256), travelled, np.arange(1024))
    return _srgb(_linear(lightness, chroma, hue))[np.rint(even).astype(int)]


def colours(values: ArrayLike) -> NDArray[np.uint8]:
    """Colour of each value in 0…1, in any shape; equal steps in value look equal.

    >>> colours([0.0, 1.0]).shape
    (2, 3)
    """
    place = np.nan_to_num(np.asarray(values, float)).clip(0, 1)
    return _ramp()[np.rint(place * 255).astype(int)]


def ramp(count: int = 32) -> list[str]:
    """The same colours as text, from low to high."""
    return _hex(colours(np.linspace(0, 1, count)))


def heat(
    picture: NDArray[np.uint8],  # H W 3
    values: ArrayLike,  # H W, any range
    low: float | None = None,
    high: float | None = None,
    opacity: float = 0.6,
) -> NDArray[np.uint8]:
    """A heat map laid over its picture; give `low` and `high` to compare several pictures.

    >>> heat(np.zeros((2, 2, 3), np.uint8), [[0, 1], [2, 3]]).shape
    (2, 2, 3)
    """
    values = np.asarray(values, float)
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    laid = colours((values - low) / (high - low) if high > low else np.zeros_like(values))
    gray = np.asarray(picture, float).mean(-1, keepdims=True)  # colour belongs to the heat
    return np.rint((1 - opacity) * gray + opacity * laid).astype(np.uint8)


def tinted(
    picture: NDArray[np.uint8],  # H W 3
    codes: NDArray[np.uint8],  # H W, classes
    tints: Sequence[tuple[int, int, int]],
    opacity: float = 0.4,
) -> NDArray[np.uint8]:
    """A mask laid over its picture: classes above 0 in their colours, with borders.

    >>> codes = np.zeros((4, 4), np.uint8)
    >>> codes[1:3, 1:3] = 1
    >>> tinted(np.zeros((4, 4, 3), np.uint8), codes, [(0, 0, 0), (255, 0, 0)])[1, 1].tolist()
    [255, 0, 0]
    """
    table = np.zeros((256, 3), float)
    table[: len(tints)] = tints
    marked = (codes > 0) & (codes < len(tints))
    padded = np.pad(codes, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    border = np.zeros(codes.shape, bool)
    for down, across in ((0, 1), (2, 1), (1, 0), (1, 2)):
        height, width = codes.shape
        border |= padded[down : down + height, across : across + width] != inner
    share = np.where(marked, np.where(border, 1.0, opacity), 0.0)[..., None]
    return np.rint((1 - share) * np.asarray(picture, float) + share * table[codes]).astype(np.uint8)
