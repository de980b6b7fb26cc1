"""Display curves and their inverses, from linear light in 0...1 to what a screen is sent.

They differ by paper and file format, so each has its own name. All take NumPy arrays and torch
tensors; derivatives exist everywhere that values do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fallow.problems import SettingProblem, did_you_mean
from fallow.raw.mosaic import Array

_LINEAR_END, _CODED_END = 0.0031308, 0.04045  # where the straight start of sRGB ends


def srgb(light: Array) -> Array:
    """The curve of sRGB: straight near black, then a power; not the same as a power of 1/2.2.

    >>> srgb(np.array([0.0, 0.002, 0.2140411, 1.0])).round(4)
    array([0.    , 0.0258, 0.5   , 1.    ])
    """
    straight = 12.92 * light
    bent = 1.055 * light.clip(min=_LINEAR_END) ** (1 / 2.4) - 0.055
    return _where(light <= _LINEAR_END, straight, bent)


def from_srgb(coded: Array) -> Array:
    """Linear light from sRGB values.

    >>> from_srgb(np.array([0.0, 0.0258, 0.5, 1.0])).round(4)
    array([0.   , 0.002, 0.214, 1.   ])
    """
    straight = coded / 12.92
    bent = ((coded.clip(min=_CODED_END) + 0.055) / 1.055) ** 2.4
    return _where(coded <= _CODED_END, straight, bent)


def power(light: Array, gamma: float = 2.2) -> Array:
    """A pure power, 1/gamma; its slope at 0 is infinite, so derivatives start at 1e-8.

    >>> power(np.array([0.0, 0.25, 1.0]), 2)
    array([0. , 0.5, 1. ])
    """
    return _where(light > 1e-8, light.clip(min=1e-8) ** (1 / gamma), light * 0)


def from_power(coded: Array, gamma: float = 2.2) -> Array:
    """Linear light from a pure power.

    >>> from_power(np.array([0.0, 0.5, 1.0]), 2)
    array([0.  , 0.25, 1.  ])
    """
    return coded.clip(min=0) ** gamma


def s_curve(values: Array) -> Array:
    """More contrast in the middle: 3x² - 2x³, on top of another curve.

    >>> s_curve(np.array([0.0, 0.25, 0.5, 1.0])).tolist()
    [0.0, 0.15625, 0.5, 1.0]
    """
    return values * values * (3 - 2 * values)


def from_s_curve(values: Array) -> Array:
    """What `s_curve` was given, in 0...1: the middle one of three roots.

    >>> from_s_curve(np.array([0.0, 0.15625, 0.5, 1.0])).round(6).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    inner = 1 - 2 * values
    if isinstance(inner, torch.Tensor):
        end = 1 - torch.finfo(inner.dtype).eps  # at the very ends the derivative is infinite
        return 0.5 - torch.sin(torch.asin(inner.clip(-end, end)) / 3)  # type: ignore[return-value]
    return 0.5 - np.sin(np.arcsin(inner.clip(-1, 1)) / 3)


@dataclass(frozen=True)
class Curve:
    """A display curve and its inverse."""

    forward: Callable[[Any], Any]
    backward: Callable[[Any], Any]


CURVES = {
    "srgb": Curve(srgb, from_srgb),
    "power": Curve(power, from_power),
    "power-s": Curve(lambda x: s_curve(power(x)), lambda x: from_power(from_s_curve(x))),
    "linear": Curve(lambda x: x, lambda x: x),
}


def curve(name: str) -> Curve:
    """A curve by its name; `power2.4` and the like are powers of any size.

    >>> float(curve("power2").forward(np.array(0.25))), float(curve("srgb").backward(np.array(1.0)))
    (0.5, 1.0)
    """
    if name in CURVES:
        return CURVES[name]
    try:
        gamma = float(name.removeprefix("power")) if name.startswith("power") else 0.0
    except ValueError:
        gamma = 0.0
    if gamma <= 0:
        raise SettingProblem(f"{name} is no display curve: {did_you_mean(name, CURVES)}")
    return Curve(lambda x: power(x, gamma), lambda x: from_power(x, gamma))


def _where(condition: Any, one: Array, other: Array) -> Array:
    if isinstance(one, torch.Tensor):
        return torch.where(condition, one, other)  # type: ignore[arg-type]
    return np.where(condition, one, other)
