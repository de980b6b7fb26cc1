"""How different two colours look: CIE Lab and the distances 1976, 1994 and 2000 in it.

Everything is about display-referred sRGB, uint8 or 0...1, seen under D65.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fallow.raw.curves import from_srgb

# as scikit-image and OpenCV round them, so that numbers agree with theirs
_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(pixels: np.ndarray) -> np.ndarray:
    """Lightness 0...100 and two opponent colours.  ... 3

    >>> lab(np.array([[255, 255, 255], [119, 119, 119]], np.uint8))[:, 0].round(1).tolist()
    [100.0, 50.0]
    """
    shown = np.asarray(pixels)
    coded = shown / 255.0 if shown.dtype == np.uint8 else shown.astype(np.float64)
    xyz = from_srgb(coded) @ _TO_XYZ.T / _WHITE
    bent = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def difference_1976(one: Any, other: Any) -> np.ndarray:
    """Euclidean distance of Lab colours.  ... 3 -> ...

    >>> float(difference_1976([50, 3, 4], [50, 0, 0]))
    5.0
    """
    return np.sqrt(((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2).sum(-1))


def difference_1994(one: Any, other: Any) -> np.ndarray:
    """The same with less weight on chroma and hue of strong colours; the first is the reference.

    >>> round(float(difference_1994([50, 60, 0], [50, 65, 0])), 3)
    1.351
    """
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    chroma, chroma2 = np.hypot(*_ab(first)), np.hypot(*_ab(second))
    lightness, grey = first[..., 0] - second[..., 0], chroma - chroma2
    (a, b), (a2, b2) = _ab(first), _ab(second)
    hue2 = np.maximum((a - a2) ** 2 + (b - b2) ** 2 - grey**2, 0)
    return np.sqrt(
        lightness**2 + (grey / (1 + 0.045 * chroma)) ** 2 + hue2 / (1 + 0.015 * chroma) ** 2
    )


def difference_2000(one: Any, other: Any) -> np.ndarray:
    """CIEDE2000, the usual ΔE; about 1 is just visible.

    >>> round(float(difference_2000([50, 2.6772, -79.7751], [50, 0, -82.7485])), 4)
    2.0425
    """
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    mean_chroma = (np.hypot(*_ab(first)) + np.hypot(*_ab(second))) / 2
    # greyish colours lie too near each other on the axis of red and green
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))

    def polar(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = _ab(colour)
        a = a * stretch
        return np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360

    (chroma, hue), (chroma2, hue2) = polar(first), polar(second)
    coloured = chroma * chroma2 > 0
    turn = np.where(coloured, (hue2 - hue + 180) % 360 - 180, 0.0)
    turn = np.where(coloured & (hue2 - hue == 180), 180.0, turn)
    lightness = (first[..., 0] + second[..., 0]) / 2
    middle = (chroma + chroma2) / 2
    mean_hue = np.where(
        coloured & (np.abs(hue - hue2) > 180), (hue + hue2 + 360) / 2 % 360, (hue + hue2) / 2
    )
    mean_hue = np.where(coloured, mean_hue, hue + hue2)

    def cosine(factor: float, shift: float) -> np.ndarray:
        return np.cos(np.radians(factor * mean_hue + shift))

    tint = 1 - 0.17 * cosine(1, -30) + 0.24 * cosine(2, 0) + 0.32 * cosine(3, 6)
    tint = tint - 0.20 * cosine(4, -63)
    away = (lightness - 50) ** 2
    of_lightness = (second[..., 0] - first[..., 0]) / (1 + 0.015 * away / np.sqrt(20 + away))
    of_chroma = (chroma2 - chroma) / (1 + 0.045 * middle)
    of_hue = 2 * np.sqrt(chroma * chroma2) * np.sin(np.radians(turn / 2))
    of_hue = of_hue / (1 + 0.015 * middle * tint)
    # blues: chroma and hue are not at right angles there
    twist = 2 * np.sqrt(middle**7 / (middle**7 + 25.0**7))
    twist = -twist * np.sin(np.radians(60 * np.exp(-(((mean_hue - 275) / 25) ** 2))))
    total = of_lightness**2 + of_chroma**2 + of_hue**2 + twist * of_chroma * of_hue
    return np.sqrt(np.maximum(total, 0))


def colour_difference(original: np.ndarray, copy: np.ndarray) -> float:
    """Mean CIEDE2000 of two pictures, sRGB as uint8 or 0...1.

    >>> colour_difference(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8))
    0.0
    """
    return float(difference_2000(lab(original), lab(copy)).mean())


def _ab(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return colour[..., 1], colour[..., 2]
