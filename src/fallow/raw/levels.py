"""Between a sensor's numbers and light: black and white levels, white balance, lens shading.

Everything takes NumPy arrays and torch tensors alike, with any axes in front of the mosaic's two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fallow.problems import SettingProblem
from fallow.raw.mosaic import Array, by_colour, over


def normalised(
    mosaic: Array,
    black: Any,
    white: Any,
    low: float | None = None,
    high: float | None = None,
) -> Array:
    """The sensor's numbers as light: 0 at the black level, 1 at the white level.

    Levels are one number, or one for each place of the pattern. Values below black are noise, and
    its mean is only right if they stay; `low` and `high` cut off where a later step wants that.

    >>> normalised(np.array([[64, 40], [1023, 543]], np.uint16), 64, 1023, low=0).round(2).tolist()
    [[0.0, 0.0], [1.0, 0.5]]
    """
    values = _float(mosaic)  # unsigned numbers would wrap below black
    dark, bright = over(black, values), over(white, values)
    if not bool((bright > dark).all()):
        raise SettingProblem(f"the white level {white} does not lie above the black level {black}")
    light = (values - dark) / (bright - dark)
    return light if low is None and high is None else light.clip(low, high)


def numbers(light: Array, black: Any, white: Any) -> Array:
    """The sensor's numbers again, from 0 to the white level, not yet whole.

    >>> numbers(np.array([[0.0, -0.01], [1.0, 2.0]]), 64, 1023).round(1)
    array([[  64. ,   54.4],
           [1023. , 1023. ]])
    """
    dark, bright = over(black, light), over(white, light)
    values = (light * (bright - dark) + dark).clip(min=0)
    if isinstance(values, torch.Tensor):
        return torch.minimum(values, bright)  # type: ignore[arg-type, return-value]
    return np.minimum(values, bright)


def whole(values: np.ndarray) -> np.ndarray:
    """The nearest whole numbers, as a sensor's 16 bits hold them.

    >>> whole(np.array([0.4, 63.5, 70000.0]))
    array([    0,    64, 65535], dtype=uint16)
    """
    return np.floor(np.clip(values, 0, 65535) + 0.5).astype(np.uint16)


def truncated(values: np.ndarray) -> np.ndarray:
    """Whole numbers with the rest cut off, as some original programs write them.

    >>> truncated(np.array([0.4, 63.9, 70000.0]))
    array([    0,    63, 65535], dtype=uint16)
    """
    return np.clip(values, 0, 65535).astype(np.uint16)


def gains_of(neutral: Any) -> np.ndarray:
    """White balance from the camera's answer to white: what red, green, blue are multiplied by.

    >>> gains_of([0.5, 1, 0.8]).tolist(), gains_of([1, 2, 1.6]).tolist()
    ([2.0, 1.0, 1.25], [2.0, 1.0, 1.25])
    """
    answer = np.asarray(neutral, np.float64)
    if answer.shape != (3,) or not (answer > 0).all() or not np.isfinite(answer).all():
        raise SettingProblem(
            f"a camera's answer to white is three numbers above 0, not {answer.tolist()}"
        )
    return answer[1] / answer


def balanced(light: Array, gains: Any, pattern: Any, high: float | None = 1.0) -> Array:
    """Every place times the gain of its colour; cut at 1, or bright clipped places turn magenta.

    >>> balanced(np.array([[0.2, 0.5], [0.5, 0.8]]), [2, 1, 1.5], "RGGB")
    array([[0.4, 0.5],
           [0.5, 1. ]])
    """
    result = light * over(by_colour(gains, pattern), light)
    return result if high is None else result.clip(max=high)


# --- lens shading ---


def shading_of(flat: np.ndarray, order: int = 4) -> np.ndarray:
    """What an evenly lit frame (light, H W) must be multiplied by, place by place, to be even.

    A polynomial in the position is laid through each of the 2 x 2 places on its own, as lenses
    shade colours differently: neither dust nor noise of that one frame enters. The least gain of
    each place is 1.

    >>> y, x = np.mgrid[-1:1:40j, -1:1:60j]
    >>> flat = 0.8 - 0.3 * (x**2 + y**2)
    >>> even = flat * shading_of(flat)
    >>> bool(np.ptp(even) / even.mean() < 0.01)
    True
    """
    flat = np.asarray(flat, np.float64)
    gains = np.empty_like(flat)
    for row, column in np.ndindex(2, 2):
        part = flat[row::2, column::2]
        y, x = (np.linspace(-1, 1, length) for length in part.shape)
        vertical = np.polynomial.legendre.legvander(y, order)
        horizontal = np.polynomial.legendre.legvander(x, order)
        weights = np.linalg.pinv(vertical) @ part @ np.linalg.pinv(horizontal).T
        smooth = vertical @ weights @ horizontal.T
        if smooth.min() <= 0:
            raise SettingProblem("a frame of even light is dark in places: expose it longer")
        gains[row::2, column::2] = smooth.max() / smooth
    return gains


def shading_map(gains: Any, height: int, width: int) -> np.ndarray:
    """A coarse map of gains, (h, w) or (4, h, w) for 2 x 2 places, over a whole mosaic.  H W

    The outermost gains lie on the outermost places; in between they run straight.

    >>> shading_map([[1.0, 2.0]], 2, 3).tolist()
    [[1.0, 1.5, 2.0], [1.0, 1.5, 2.0]]
    """
    coarse = np.asarray(gains, np.float64)
    if coarse.ndim == 2:
        return _stretched(coarse, height, width)
    if coarse.ndim != 3 or len(coarse) != 4:
        raise SettingProblem(f"gains of a lens are h x w or 4 x h x w, not {coarse.shape}")
    full = np.empty((height, width))
    for place, one in enumerate(coarse):
        here = np.s_[place // 2 :: 2, place % 2 :: 2]
        full[here] = _stretched(one, height, width)[here]
    return full


def _stretched(coarse: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = (
        np.linspace(0, have - 1, want)
        for have, want in zip(coarse.shape, (height, width), strict=True)
    )
    across = np.stack([np.interp(columns, np.arange(coarse.shape[1]), row) for row in coarse])
    return np.stack([np.interp(rows, np.arange(len(across)), one) for one in across.T], 1)


def _float(mosaic: Array) -> Array:
    if isinstance(mosaic, torch.Tensor):
        return mosaic if mosaic.is_floating_point() else mosaic.float()
    return mosaic if mosaic.dtype.kind == "f" else mosaic.astype(np.float32)
