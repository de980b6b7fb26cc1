"""From a picture back to a mosaic: what a given sensor would have counted, noise included.

The same pass backwards: display curve, colour matrix, white balance, mosaic, levels, noise, each
place computing only the colour it keeps.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-overload"
from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit

from fallow.problems import Problem
from fallow.raw.colour import D65
from fallow.raw.curves import curve
from fallow.raw.develop import Look, as_stored, gains_for, matrix_for
from fallow.raw.levels import normalised, numbers, shading_map, whole
from fallow.raw.mosaic import by_colour, over
from fallow.raw.noise import variance
from fallow.raw.sensor import Raw, Sensor, sensor
from fallow.views import random as _random

_options = {"cache": True, "nogil": True, "error_model": "numpy"}
_mix = njit(_random.mix)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_CELLS = 1 << 12  # between which the inverse of the normal law runs straight
_BAND = 256  # rows that are worked on at once, an even number

# A camera that is nobody's own, for pictures that come without one: its colour filters overlap as
# those of small sensors do, so that its matrix has the usual crosstalk.
_CROSSTALK = np.array([[0.62, 0.32, 0.06], [0.18, 0.66, 0.16], [0.05, 0.31, 0.64]])


def plain_sensor(iso: float = 100.0, noise: Any = ()) -> Sensor:
    """A made-up 10-bit Bayer sensor whose answers lie between those of common small ones.

    >>> camera = plain_sensor()
    >>> camera.neutral.round(2).tolist(), camera.matrix().shape
    ([0.52, 1.0, 0.63], (3, 3))
    """
    # balanced camera = crosstalk x linear sRGB; a camera matrix starts at XYZ and is not balanced
    from fallow.raw.colour import XYZ_TO_RGB

    neutral = np.array([0.52, 1.0, 0.63])  # under D65, whose Y is 1
    camera = neutral[:, None] * _CROSSTALK @ XYZ_TO_RGB
    assert np.allclose(camera @ D65, neutral)
    return sensor(
        "RGGB", 64, 1023, neutral, {21: camera}, iso=iso, noise=noise, camera="plain sensor"
    )


def unprocessed(
    pixels: np.ndarray,
    camera: Sensor,
    look: Look | None = None,
    *,
    noise: tuple[tuple[float, float], ...] = (),
    seed: int = 0,
    name: str = "a made raw frame",
) -> Raw:
    """The mosaic that, developed in the same look, gives this picture (uint8, uint16, or 0...1).

    `noise` holds slope and offset over light for red, green and blue, or one pair for all; none
    leaves the frame clean. Seed and place alone decide what noise a place has. What the picture
    has cut off in white stays cut off.

    >>> from fallow.raw.develop import developed
    >>> grey = np.full((8, 8, 3), 188, np.uint8)
    >>> developed(unprocessed(grey, plain_sensor()))[3, 3].tolist()
    [188, 188, 188]
    """
    look = look or Look()
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise Problem(f"{name} is not made of red, green and blue: shape {pixels.shape}.")
    lying = as_stored(pixels, camera.orientation)
    height, width = lying.shape[:2]
    blank = Raw(np.empty((height, width), np.uint16), camera, name)
    gains = gains_for(blank, look) * look.exposure
    to_camera = np.linalg.inv(matrix_for(blank, look)) / gains[:, None]
    if lying.dtype.kind == "u":
        steps = np.iinfo(lying.dtype).max
        table = curve(look.curve).backward(np.arange(steps + 1) / steps).astype(np.float32)
        codes: np.ndarray = lying
    else:
        table = np.zeros(0, np.float32)
        codes = curve(look.curve).backward(lying.clip(0, 1)).astype(np.float32)
    pairs = np.array(noise, np.float64).reshape(-1, 2)
    if len(pairs) not in (0, 1, 3):
        raise Problem("noise is one pair of slope and offset, or one for red, green and blue.")
    pairs = np.broadcast_to(pairs, (3, 2)) if len(pairs) else np.zeros((3, 2))
    shading = np.ones((1, 1), np.float32)
    if camera.shading is not None:
        shading = shading_map(camera.shading, height, width).astype(np.float32)
    mosaic = np.empty((height, width), np.uint16)
    _counted(
        codes, table, to_camera.astype(np.float32), camera.pattern, camera.black, camera.white,
        shading, pairs.astype(np.float32), bool(len(noise)), np.uint64(seed), _knots(), mosaic,
    )  # fmt: skip
    made = replace(camera, noise=tuple((float(s), float(o)) for s, o in pairs) if noise else ())
    return Raw(mosaic, made, name)


def with_noise(raw: Raw, noise: tuple[tuple[float, float], ...], seed: int = 0) -> Raw:
    """A clean frame as the sensor would have counted it, with slope and offset over light.

    >>> clean = unprocessed(np.full((64, 64, 3), 128, np.uint8), plain_sensor())
    >>> bool(with_noise(clean, ((0.01, 1e-4),)).mosaic.std() > clean.mosaic.std())
    True
    """
    pairs = np.broadcast_to(np.array(noise, np.float64).reshape(-1, 2), (3, 2))
    camera = raw.sensor
    slope, offset = (by_colour(pairs[:, part], camera.pattern) for part in (0, 1))
    shading = None
    if camera.shading is not None:
        shading = shading_map(camera.shading, *raw.size).astype(np.float32)
    counted = np.empty(raw.size, np.uint16)
    step = _BAND // len(camera.pattern) * len(camera.pattern)
    for first in range(0, raw.size[0], step):  # a large frame has no room for copies
        band = slice(first, first + step)
        light = normalised(raw.mosaic[band], camera.black, camera.white)
        if shading is not None:
            light *= shading[band]
        field = np.empty_like(light)
        _normals(np.uint64(seed), first, _knots(), field)
        light += field * np.sqrt(variance(light, over(slope, light), over(offset, light)))
        if shading is not None:
            light /= shading[band]
        counted[band] = whole(numbers(light, camera.black, camera.white))
    made = replace(camera, noise=tuple((float(s), float(o)) for s, o in pairs))
    return replace(raw, mosaic=counted, sensor=made)


def normal_field(seed: int, height: int, width: int) -> np.ndarray:
    """Standard normal numbers that depend on seed and place only.  H W float32

    >>> field = normal_field(3, 200, 300)
    >>> bool(abs(field.mean()) < 0.02 and abs(field.std() - 1) < 0.02)
    True
    """
    out = np.empty((height, width), np.float32)
    _normals(np.uint64(seed), 0, _knots(), out)
    return out


@cache
def _knots() -> np.ndarray:
    """The inverse of the normal law at even shares; the two ends, infinite, are not used."""
    law = NormalDist()
    inner = [law.inv_cdf(k / _CELLS) for k in range(1, _CELLS)]
    return np.array([0.0, *inner, 0.0], np.float32)


@njit(**_options)
def _tail(share):
    """How far out a share (below 1/4096) of the normal law lies on one side, by Newton's steps."""
    out = math.sqrt(-2 * math.log(share))
    for _ in range(4):
        beyond = 0.5 * math.erfc(out * math.sqrt(0.5))
        dense = math.exp(-0.5 * out * out) / math.sqrt(2 * math.pi)
        out += (math.log(beyond) - math.log(share)) * beyond / dense
    return np.float32(out)


@njit(**_options)
def _share(bits):
    """Which cell of the law the upper 12 of 32 random bits name, and where in it the rest lie."""
    cell = np.int32(bits >> np.uint64(20))  # signed: machines turn those into floats faster
    return cell, np.float32(np.int32(bits & np.uint64(0xFFFFF))) * np.float32(1 / (1 << 20))


@njit(**_options)
def _normal_row(state, knots, bits, out):
    """Normal numbers for a row: the law's inverse, straight between knots, from 32 bits each.

    `bits` (one to two places of `out`) is scratch. Three plain passes take a quarter of the time
    of one with branches: the two ends of the law, once in 2048 places, are put right at last.
    """
    for k in range(len(bits)):
        bits[k] = _mix(state + np.uint64(2 * k) * _STEP)
    for k in range(len(bits)):
        cell, part = _share(bits[k] >> np.uint64(32))
        out[2 * k] = knots[cell] + part * (knots[cell + 1] - knots[cell])
        cell, part = _share(bits[k] & np.uint64(0xFFFFFFFF))
        out[2 * k + 1] = knots[cell] + part * (knots[cell + 1] - knots[cell])
    for k in range(len(bits)):
        for half in range(2):
            cell, part = _share((bits[k] >> np.uint64(32 * (1 - half))) & np.uint64(0xFFFFFFFF))
            if cell == 0:
                out[2 * k + half] = -_tail((part + 1e-7) / _CELLS)
            elif cell == _CELLS - 1:
                out[2 * k + half] = _tail((1 - part) / _CELLS)


@njit(**_options)
def _row_state(seed, y):
    return _mix(_mix(seed + _STEP) + np.uint64(y) * _STEP + _STEP)


@njit(**_options)
def _normals(seed, first, knots, out):
    height, width = out.shape
    bits = np.empty((width + 1) // 2, np.uint64)
    normals = np.empty(2 * len(bits), np.float32)
    for y in range(height):
        _normal_row(_row_state(seed, first + y), knots, bits, normals)
        out[y] = normals[:width]


@njit(**_options)
def _counted(
    codes, table, to_camera, pattern, black, white, shading, noise, noisy, seed, knots, mosaic
):  # fmt: skip
    height, width = mosaic.shape
    zero, one = np.float32(0), np.float32(1)
    shaded = shading.shape[1] > 1
    bits = np.empty((width + 1) // 2, np.uint64)
    normals = np.empty(2 * len(bits), np.float32)
    for y in range(height):
        if noisy:
            _normal_row(_row_state(seed, y), knots, bits, normals)
        cell_y = y % pattern.shape[0]
        for x in range(width):
            cell_x = x % pattern.shape[1]
            colour = pattern[cell_y, cell_x]
            if table.shape[0]:
                red = table[np.int64(codes[y, x, 0])]
                green = table[np.int64(codes[y, x, 1])]
                blue = table[np.int64(codes[y, x, 2])]
            else:
                red = np.float32(codes[y, x, 0])
                green = np.float32(codes[y, x, 1])
                blue = np.float32(codes[y, x, 2])
            light = (
                to_camera[colour, 0] * red
                + to_camera[colour, 1] * green
                + to_camera[colour, 2] * blue
            )
            light = min(max(light, zero), one)
            if noisy:
                spread = noise[colour, 0] * light + noise[colour, 1]
                light += normals[x] * np.sqrt(max(spread, zero))
            if shaded:
                light /= shading[y, x]
            dark = black[cell_y, cell_x]
            value = light * (white - dark) + dark
            mosaic[y, x] = np.uint16(min(max(value, 0.0), white) + 0.5)
