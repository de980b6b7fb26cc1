"""Around made nights: as dark as real ones, and as a network for nights is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fallow.measure.darkness import apart, histogram
from fallow.methods.develop.day2night import Settings, night_of_photo
from fallow.problems import Problem, SettingProblem
from fallow.raw.colour import XYZ_TO_RGB, coloured, with_white_kept
from fallow.raw.curves import curve, power
from fallow.raw.demosaic import bilinear, menon, quantised
from fallow.raw.develop import upright
from fallow.raw.levels import balanced, gains_of, normalised
from fallow.raw.sensor import Raw
from fallow.train.method import make_settings


def matched(
    days: Sequence[np.ndarray],
    nights: Sequence[np.ndarray],
    settings: Settings | None = None,
    seed: int = 0,
    steps: int = 8,
) -> tuple[Settings, float]:
    """Settings whose nights are about as dark as real ones, and how far apart they remain.

    The range of `dim` and the ambient light are scaled together until the histogram of nights
    made from `days` lies nearest to that of `nights`. The distance is that of `apart`.
    """
    start = settings or make_settings(Settings, {})
    if not len(days) or not len(nights):
        raise Problem("matching needs some day pictures and some night pictures.")
    wanted = histogram(nights)

    def tried(times: float) -> tuple[float, Settings]:
        scaled = start.model_copy(
            update={
                "dim": tuple(min(1.0, max(1e-3, bound * times)) for bound in start.dim),
                "ambient": min(1.0, max(1e-3, start.ambient * times)),
            }
        )
        made = [night_of_photo(one, scaled, seed).noisy for one in days]
        return apart(histogram(made), wanted), scaled

    low, high = np.log(0.05), np.log(20.0)
    inner = (np.sqrt(5) - 1) / 2  # golden sections: the distance has one valley
    left, right = high - inner * (high - low), low + inner * (high - low)
    at_left, at_right = tried(np.exp(left)), tried(np.exp(right))
    best = min(tried(1.0), at_left, at_right, key=lambda one: one[0])
    for _ in range(steps):
        if at_left[0] <= at_right[0]:
            high, right, at_right = right, left, at_left
            left = high - inner * (high - low)
            at_left = tried(np.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + inner * (high - low)
            at_right = tried(np.exp(right))
        best = min(best, at_left, at_right, key=lambda one: one[0])
    return best[1], best[0]


# --- what a network for nights is trained on ---


def rendered(raw: Raw, neutral: Any = None, low: float | None = 0) -> np.ndarray:
    """The target: a frame developed as the authors' software does, upright.  h w 3, 0...1

    Menon's demosaicking at 14 bits, the camera matrix for the light, a power of 1/2.2, and an
    S-curve on top.
    """
    sensor = raw.sensor
    answer = sensor.neutral if neutral is None else np.asarray(neutral, np.float64)
    camera = sensor.matrix(answer)
    if answer is None or camera is None:
        raise Problem(f"{raw.name} names no white balance or no colour matrix to develop with.")
    light = normalised(raw.mosaic.astype(np.float64), sensor.black, sensor.white, low=low)
    light = balanced(light, gains_of(answer), sensor.pattern)
    rgb = menon(quantised(light), sensor.pattern)
    xyz = coloured(rgb, np.linalg.inv(camera)).clip(0, 1)
    shown = curve("power-s").forward(coloured(xyz, with_white_kept(XYZ_TO_RGB)).clip(0, 1))
    return upright(shown, sensor.orientation)


def network_input(raw: Raw) -> np.ndarray:
    """The input: balanced, bilinear, a power of 1/2.2, in the camera's colours.  h w 3, 0...1"""
    sensor = raw.sensor
    if sensor.neutral is None:
        raise Problem(f"{raw.name} names no white balance to develop with.")
    light = normalised(raw.mosaic, sensor.black, sensor.white, low=0)
    light = balanced(light, gains_of(sensor.neutral), sensor.pattern)
    return upright(power(bilinear(quantised(light), sensor.pattern)), sensor.orientation)


def kept_real(count: int, percent: float, seed: int = 0) -> np.ndarray:
    """Which of a training set's frames stay real when the others are made nights.  N, bool

    >>> int(kept_real(60, 10).sum())
    6
    """
    if not 0 <= percent <= 100:
        raise SettingProblem(f"a percentage lies between 0 and 100, not {percent}")
    chosen = np.zeros(count, bool)
    order = np.random.default_rng(seed).permutation(count)
    chosen[order[: round(count * percent / 100)]] = True
    return chosen
