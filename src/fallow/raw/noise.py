"""The noise of a sensor: how much, drawing it, and finding it in frames.

Shot noise grows with the light and read noise does not: the variance is slope · signal + offset.
The signal is light in 0...1 (as the NoiseProfile of DNG files has it) or the sensor's numbers with
the black level in them; `for_numbers` and `for_light` turn one into the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fallow.problems import Problem, SettingProblem
from fallow.raw.mosaic import Array


def for_numbers(slope: Any, offset: Any, black: Any, white: Any) -> tuple[Any, Any]:
    """Slope and offset over a sensor's numbers, black level included, from those over light.

    The offset is negative where the black level outweighs the read noise: that is right.

    >>> slope, offset = for_numbers(0.002, 1e-5, 64, 1023)
    >>> (
    ...     float(slope.round(3)),
    ...     float((slope * 64 + offset).round(3)),
    ... )  # at black the read noise remains
    (1.918, 9.197)
    """
    reach = np.subtract(white, black)
    return slope * reach, offset * reach**2 - slope * reach * np.asarray(black)


def for_light(slope: Any, offset: Any, black: Any, white: Any) -> tuple[Any, Any]:
    """The other way.

    >>> slope, offset = for_light(*for_numbers(0.002, 1e-5, 64, 1023), 64, 1023)
    >>> float(slope.round(6)), float(offset.round(8))
    (0.002, 1e-05)
    """
    reach = np.subtract(white, black)
    return slope / reach, (offset + slope * np.asarray(black)) / reach**2


def variance(signal: Array, slope: Any, offset: Any) -> Array:
    """The variance of the noise on a signal, never below 0.

    >>> variance(np.array([0.0, 0.5]), 0.002, 1e-5).tolist()
    [1e-05, 0.00101]
    """
    return (signal * slope + offset).clip(min=0)


def noisy(
    signal: Array,
    slope: Any,
    offset: Any,
    normal: Array,
    low: float | None = None,
    high: float | None = None,
) -> Array:
    """A signal with Gaussian noise of the right variance, from a given standard normal field.

    Derivatives pass to the signal, and to slope and offset where these are tensors.

    >>> noisy(np.full(3, 0.5), 0.002, 0.0, np.array([-1.0, 0, 1])).round(4).tolist()
    [0.4684, 0.5, 0.5316]
    """
    level = variance(signal, slope, offset)
    if isinstance(level, torch.Tensor):
        # the derivative of a root is infinite at 0, where there is no noise to speak of
        spread: Any = torch.sqrt(level.clip(min=torch.finfo(level.dtype).tiny))
    else:
        spread = np.sqrt(level)
    result = signal + normal * spread
    return result if low is None and high is None else result.clip(low, high)


def counted(light: np.ndarray, slope: Any, offset: Any, draw: np.random.Generator) -> np.ndarray:
    """Noise as it arises, from whole electrons and a Gaussian amplifier: exact in deep shadow.

    >>> dark = counted(np.full(20000, 0.01), 0.002, 1e-5, np.random.default_rng(0))
    >>> bool(abs(dark.var() / (0.01 * 0.002 + 1e-5) - 1) < 0.05)
    True
    """
    slope = np.maximum(slope, 1e-12)
    electrons = draw.poisson(np.maximum(light, 0) / slope)
    read = np.sqrt(np.maximum(offset, 0))
    return electrons * slope + read * draw.standard_normal(np.shape(light))


def typical(iso: float, full_well: float = 6500.0, read: float = 2.0) -> tuple[float, float]:
    """Slope and offset over light of a sensor described by its electrons.

    `full_well` electrons fill a place at ISO 100, `read` electrons of noise come on top: the
    default is a small sensor as in phones; 50000 and 3 make one as in large cameras.

    >>> slope, offset = typical(1600)
    >>> round(slope, 5), round(offset**0.5, 5)
    (0.00246, 0.00492)
    """
    if not (iso > 0 and full_well > 0 and read >= 0):
        raise SettingProblem(f"ISO {iso} and {full_well} electrons must lie above 0")
    electrons = full_well * 100 / iso  # that make white
    return 1 / electrons, (read / electrons) ** 2


def scaled_to_iso(
    noise: Sequence[tuple[float, float]], known: float, iso: float
) -> tuple[tuple[float, float], ...]:
    """Slopes and offsets over light at another ISO, from those at a known one.

    Fewer electrons make white: shot noise grows with the ISO, read noise with its square.

    >>> scaled_to_iso([(0.001, 1e-6)], 100, 400)
    ((0.004, 1.6e-05),)
    """
    times = iso / known
    return tuple((float(slope) * times, float(offset) * times**2) for slope, offset in noise)


def along_iso(
    known: Sequence[float], slopes: Any, offsets: Any, iso: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and offsets at another ISO, from those measured at some; any axes behind the first.

    Slopes run straight from one measured ISO to the next and offsets along a cubic spline, both
    also beyond the ends.

    >>> slope, offset = along_iso([100, 200, 400], [0.1, 0.2, 0.4], [1.0, 4.0, 16.0], 300)
    >>> float(slope.round(3)), float(offset.round(3))
    (0.3, 9.0)
    """
    from scipy.interpolate import InterpolatedUnivariateSpline

    place = np.argsort(known)
    at = np.asarray(known, np.float64)[place]
    if len(at) < 2 or len(set(at)) < len(at):
        raise SettingProblem("noise along ISO needs two or more different ISOs to go by")

    def there(values: Any, degree: int) -> np.ndarray:
        rows = np.asarray(values, np.float64)[place]
        flat = rows.reshape(len(at), -1)
        found = [
            InterpolatedUnivariateSpline(at, one, k=min(degree, len(at) - 1))(iso) for one in flat.T
        ]
        return np.array(found).reshape(rows.shape[1:])

    return there(slopes, 1), there(offsets, 3)


def fitted(signals: Any, variances: Any, weights: Any = None) -> tuple[float, float]:
    """Slope and offset through measured points (signal, variance).

    Each point counts by its relative error, so that bright points do not decide alone.

    >>> slope, offset = fitted([0.1, 0.5, 0.9], [0.0011, 0.0051, 0.0091])
    >>> round(slope, 6), round(offset, 6)
    (0.01, 0.0001)
    """
    x, y = np.asarray(signals, np.float64), np.asarray(variances, np.float64)
    known = np.isfinite(x) & np.isfinite(y) & (y > 0)
    x, y = x[known], y[known]
    many = np.ones_like(x) if weights is None else np.asarray(weights, np.float64)[known]
    if len(x) < 2 or np.ptp(x) == 0:
        raise Problem("noise cannot be measured from a single brightness: add brighter frames.")
    expected = y
    for _ in range(4):  # the error of a variance is in proportion to the variance itself
        root = np.sqrt(many) / np.maximum(expected, 1e-12 * y.max())
        design = np.stack([x, np.ones_like(x)], 1) * root[:, None]
        slope, offset = np.linalg.lstsq(design, y * root, rcond=None)[0]
        expected = np.maximum(slope * x + offset, 1e-3 * y)
    return float(slope), float(offset)


def noise_of_pair(
    one: np.ndarray, other: np.ndarray, bins: int = 32, high: float = 0.9
) -> tuple[float, float]:
    """Slope and offset from two frames of the same still scene, each pixel its own measurement.

    Half the variance of the difference, over the mean: what both frames share drops out. Pixels
    are gathered by how bright the next places of their colour are, not by their own value, whose
    noise would decide where it is counted. Those above `high` are left out: the white level cuts
    off their noise.

    >>> draw = np.random.default_rng(0)
    >>> light = np.linspace(0.02, 0.85, 1 << 18).reshape(512, 512)
    >>> pair = [noisy(light, 0.01, 1e-4, draw.standard_normal(light.shape)) for _ in range(2)]
    >>> slope, offset = noise_of_pair(*pair)
    >>> bool(abs(slope / 0.01 - 1) < 0.02 and abs(offset - 1e-4) < 5e-5)
    True
    """
    if one.shape != other.shape or one.ndim != 2 or one.shape[1] < 5:
        raise Problem(f"two frames of one scene share a size, not {one.shape} and {other.shape}.")
    first, second = (np.asarray(frame, np.float64) for frame in (one, other))
    mean, half = (first + second) / 2, (first - second) ** 2 / 2
    around = ((mean[:, :-4] + mean[:, 4:]) / 2).ravel()
    mean, half = mean[:, 2:-2].ravel(), half[:, 2:-2].ravel()
    kept = around <= high
    around, mean, half = around[kept], mean[kept], half[kept]
    if not len(mean):
        raise Problem("noise cannot be measured in saturated frames.")
    edges = np.quantile(around, np.linspace(0, 1, bins + 1))
    place = np.clip(np.searchsorted(edges, around, "right") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    signal = np.bincount(place, mean, bins) / np.maximum(count, 1)
    spread = np.bincount(place, half, bins) / np.maximum(count, 1)
    return fitted(signal[count > 0], spread[count > 0], count[count > 0])


def noise_of_flats(frames: Sequence[np.ndarray]) -> tuple[float, float]:
    """Slope and offset from frames or patches that each show one even brightness.

    >>> draw = np.random.default_rng(0)
    >>> patches = [
    ...     noisy(np.full((200, 200), s), 0.01, 1e-4, draw.standard_normal((200, 200)))
    ...     for s in (0.05, 0.2, 0.5, 0.8)
    ... ]
    >>> slope, offset = noise_of_flats(patches)
    >>> bool(abs(slope / 0.01 - 1) < 0.05)
    True
    """
    return fitted(
        [float(np.mean(one)) for one in frames],
        [float(np.var(one, ddof=1)) for one in frames],
        [np.size(one) for one in frames],
    )
