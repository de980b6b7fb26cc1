"""Colours between sensor and screen: camera matrices, XYZ, sRGB, and the temperature of a light.

Matrices multiply column vectors: `coloured(rgb, m)` gives m · (r, g, b). A camera matrix turns XYZ
into what the camera answers, as DNG files store it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fallow.problems import SettingProblem
from fallow.raw.mosaic import Array

# x and y of the primaries of sRGB and of its white, D65
_PRIMARIES, _WHITE = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), (0.3127, 0.3290)


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _from_primaries() -> np.ndarray:
    columns = np.stack([_xyz(*primary) for primary in _PRIMARIES], 1)
    return columns * np.linalg.solve(columns, _xyz(*_WHITE))


D65 = _xyz(*_WHITE)
RGB_TO_XYZ = _from_primaries()  # linear sRGB to XYZ
XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ)
# EXIF light sources that calibrate cameras, in kelvin
LIGHTS = {
    **{1: 5500.0, 2: 4150.0, 3: 2856.0, 4: 5500.0, 9: 5500.0, 10: 6500.0, 11: 7500.0},
    **{12: 6430.0, 13: 5000.0, 14: 4150.0, 15: 3450.0, 17: 2856.0, 18: 4874.0, 19: 6774.0},
    **{20: 5503.0, 21: 6504.0, 22: 7504.0, 23: 5003.0, 24: 3200.0},
}
# Robertson (1968): reciprocal megakelvin, u, v and slope of 31 lines of equal temperature
_LINES = np.array(
    [
        [0, 0.18006, 0.26352, -0.24341],
        [10, 0.18066, 0.26589, -0.25479],
        [20, 0.18133, 0.26846, -0.26876],
        [30, 0.18208, 0.27119, -0.28539],
        [40, 0.18293, 0.27407, -0.30470],
        [50, 0.18388, 0.27709, -0.32675],
        [60, 0.18494, 0.28021, -0.35156],
        [70, 0.18611, 0.28342, -0.37915],
        [80, 0.18740, 0.28668, -0.40955],
        [90, 0.18880, 0.28997, -0.44278],
        [100, 0.19032, 0.29326, -0.47888],
        [125, 0.19462, 0.30141, -0.58204],
        [150, 0.19962, 0.30921, -0.70471],
        [175, 0.20525, 0.31647, -0.84901],
        [200, 0.21142, 0.32312, -1.0182],
        [225, 0.21807, 0.32909, -1.2168],
        [250, 0.22511, 0.33439, -1.4512],
        [275, 0.23247, 0.33904, -1.7298],
        [300, 0.24010, 0.34308, -2.0637],
        [325, 0.24792, 0.34655, -2.4681],
        [350, 0.25591, 0.34951, -2.9641],
        [375, 0.26400, 0.35200, -3.5814],
        [400, 0.27218, 0.35407, -4.3633],
        [425, 0.28039, 0.35577, -5.3762],
        [450, 0.28863, 0.35714, -6.7262],
        [475, 0.29685, 0.35823, -8.5955],
        [500, 0.30505, 0.35907, -11.324],
        [525, 0.31320, 0.35968, -15.628],
        [550, 0.32129, 0.36011, -23.325],
        [575, 0.32931, 0.36038, -40.770],
        [600, 0.33724, 0.36051, -116.45],
    ]
)


def coloured(rgb: Array, matrix: Any) -> Array:
    """Every colour times a 3 x 3 matrix: last axis of an array, third from last of a tensor.

    >>> coloured(np.ones((2, 2, 3)), RGB_TO_XYZ)[0, 0].round(4).tolist()
    [0.9505, 1.0, 1.0891]
    >>> coloured(torch.ones(1, 3, 4, 4), np.eye(3)).shape
    torch.Size([1, 3, 4, 4])
    """
    if isinstance(rgb, torch.Tensor):
        taken = torch.as_tensor(matrix, dtype=rgb.dtype, device=rgb.device)
        return torch.einsum("...ij,...jhw->...ihw", taken, rgb)  # type: ignore[return-value]
    return rgb @ np.asarray(matrix, rgb.dtype).T


def with_white_kept(matrix: Any) -> np.ndarray:
    """Rows divided by their sums: (1, 1, 1) goes to (1, 1, 1), whatever light that stands for.

    >>> with_white_kept([[2.0, 2, 0], [0, 1, 0], [1, 1, 2]]).sum(1).tolist()
    [1.0, 1.0, 1.0]
    """
    rows = np.asarray(matrix, np.float64)
    sums = rows.sum(-1, keepdims=True)
    if not (np.abs(sums) > 1e-9).all():
        raise SettingProblem("a colour matrix whose rows add up to 0 has no white to keep")
    return rows / sums


def camera_to_srgb(camera: Any) -> np.ndarray:
    """White-balanced camera colours to linear sRGB, from a camera matrix; white stays white.

    >>> bool(np.allclose(camera_to_srgb(np.linalg.inv(RGB_TO_XYZ)), np.eye(3)))
    True
    """
    # what a balanced camera answers to the three primaries of a screen
    return np.linalg.inv(with_white_kept(np.asarray(camera, np.float64) @ RGB_TO_XYZ))


def temperature(xyz: Any) -> float:
    """Correlated colour temperature of a light in kelvin, by Robertson's lines; NaN off them all.

    >>> round(temperature(D65)), round(temperature([1.0985, 1.0, 0.3558]))
    (6504, 2856)
    """
    x, y, z = (float(value) for value in xyz)
    total = x + 15 * y + 3 * z
    if total <= 0:
        return float("nan")
    u, v = 4 * x / total, 6 * y / total
    mired, at_u, at_v, slope = _LINES.T
    apart = ((v - at_v) - slope * (u - at_u)) / np.hypot(1, slope)
    crossed = np.flatnonzero((apart[:-1] >= 0) & (apart[1:] < 0))
    if not len(crossed):
        return float("nan")
    line = crossed[0]
    share = apart[line] / (apart[line] - apart[line + 1])
    found = mired[line] + share * (mired[line + 1] - mired[line])
    return float(1e6 / max(found, 1e-9))


def blended(kelvin: float, cool: Any, warm: Any, at: Sequence[float] = (6500, 2500)) -> np.ndarray:
    """A camera matrix for a light in between the two it was measured with, by 1/temperature.

    Beyond the warm light the warm matrix holds. Beyond the cool one the cool matrix holds, too,
    but longer by a factor, which `with_white_kept` takes away.

    >>> blended(2000, np.eye(3), 2 * np.eye(3))[0, 0], blended(6500, np.eye(3), 2 * np.eye(3))[0, 0]
    (np.float64(2.0), np.float64(1.0))
    """
    share = (1 / kelvin - 1 / at[1]) / (1 / at[0] - 1 / at[1])
    first, second = max(share, 0.0), min(max(1 - share, 0.0), 1.0)
    return first * np.asarray(cool, np.float64) + second * np.asarray(warm, np.float64)


def temperature_of_neutral(
    neutral: Any, cool: Any, warm: Any, at: Sequence[float] = (6500, 2500), steps: int = 50
) -> float:
    """The temperature of the light under which the camera answers `neutral` to white.

    The matrix depends on the temperature and the temperature on the matrix: both are found by
    turns. Lights that lie off Robertson's lines (a coloured lamp) count as the nearer of the two
    calibrating lights.

    >>> cool = np.linalg.inv(RGB_TO_XYZ)
    >>> round(temperature_of_neutral(cool @ D65, cool, cool))
    6504
    """
    answer = np.asarray(neutral, np.float64)
    xyz = np.full(3, 0.3)
    for _ in range(steps):
        kelvin = temperature(xyz)
        if not np.isfinite(kelvin):
            return float(at[1] if xyz[0] > xyz[2] else at[0])
        before, xyz = xyz, np.linalg.solve(blended(kelvin, cool, warm, at), answer)
        if np.abs(xyz - before).mean() < 1e-4:
            break
    kelvin = temperature(xyz)
    return kelvin if np.isfinite(kelvin) else float(at[1] if xyz[0] > xyz[2] else at[0])


def white_of(kelvin: float) -> np.ndarray:
    """XYZ of the light of that temperature: a glowing body below 4000 K, daylight above.

    >>> white_of(2856).round(2).tolist(), round(temperature(white_of(5000)), -1)
    ([1.1, 1.0, 0.36], 5000.0)
    """
    t = 1e3 / kelvin
    if kelvin < 4000:  # Kim et al. 2002, from 1667 K on
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
        if kelvin < 2222:
            y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
        else:
            y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:  # the daylight locus of the CIE
        if kelvin <= 7000:
            x = 0.244063 + 0.09911 * t + 2.9678 * t**2 - 4.6070 * t**3
        else:
            x = 0.237040 + 0.24748 * t + 1.9018 * t**2 - 2.0064 * t**3
        y = 2.870 * x - 3.0 * x**2 - 0.275
    return _xyz(x, y)


def angle(one: Any, other: Any) -> np.ndarray:
    """Degrees between colours, whatever their brightness: the usual error of an illuminant.

    >>> angle([1.0, 0, 0], [[2.0, 0, 0], [0, 3.0, 0]]).round(6).tolist()
    [0.0, 90.0]
    """
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.degrees(np.arccos(np.clip((first * second).sum(-1) / lengths, -1, 1)))
