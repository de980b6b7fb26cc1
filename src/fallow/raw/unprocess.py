"""From a picture back to a mosaic: what a given sensor would have counted, noise included.

The same pass backwards: display curve, colour matrix, white balance, mosaic, levels, noise, each
place computing only the colour it keeps.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-overload"
from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit

from fallow.problems import Problem
from fallow.raw.colour import D65
from fallow.raw.curves import curve
from fallow.raw.develop import Look, as_stored, gains_for, matrix_for
from fallow.raw.levels import shading_map
from fallow.raw.mosaic import by_colour
from fallow.raw.sensor import Raw, Sensor, sensor
from fallow.views import random as _random

_options = {"cache": True, "nogil": True, "error_model": "numpy"}
_mix = njit(_random.mix)
_STEP = np.uint64(0x9E3779B97F4A7C15)

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
        shading, np.ascontiguousarray(pairs), bool(len(noise)), np.uint64(seed), mosaic,
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
    light = raw.light()
    slope, offset = (by_colour(pairs[:, part], camera.pattern) for part in (0, 1))
    field = normal_field(seed, *raw.size)
    rows, columns = camera.pattern.shape
    for row, column in np.ndindex(rows, columns):
        here = (slice(row, None, rows), slice(column, None, columns))
        spread = np.sqrt(np.maximum(slope[row, column] * light[here] + offset[row, column], 0))
        light[here] += field[here] * spread.astype(np.float32)
    if camera.shading is not None:
        light /= shading_map(camera.shading, *raw.size).astype(np.float32)
    black = np.tile(camera.black, (-(-raw.size[0] // rows), -(-raw.size[1] // columns)))
    black = black[: raw.size[0], : raw.size[1]]
    values = np.clip(light * (camera.white - black) + black, 0, camera.white)
    return replace(
        raw,
        mosaic=(values + 0.5).astype(np.uint16),
        sensor=replace(camera, noise=tuple((float(s), float(o)) for s, o in pairs)),
    )


def normal_field(seed: int, height: int, width: int) -> np.ndarray:
    """Standard normal numbers that depend on seed and place only.  H W float32

    >>> field = normal_field(3, 200, 300)
    >>> bool(abs(field.mean()) < 0.02 and abs(field.std() - 1) < 0.02)
    True
    """
    out = np.empty((height, width), np.float32)
    _normals(np.uint64(seed), out)
    return out


@njit(**_options)
def _pair(state):
    """Two normal numbers from 64 random bits (Box and Muller)."""
    bits = _mix(state)
    first = (np.float64(bits >> np.uint64(32)) + 0.5) * (1.0 / 4294967296.0)
    second = np.float64(bits & np.uint64(0xFFFFFFFF)) * (2 * math.pi / 4294967296.0)
    radius = math.sqrt(-2 * math.log(first))
    return np.float32(radius * math.cos(second)), np.float32(radius * math.sin(second))


@njit(**_options)
def _row_state(seed, y):
    return _mix(_mix(seed + _STEP) + np.uint64(y) * _STEP + _STEP)


@njit(**_options)
def _normals(seed, out):
    height, width = out.shape
    for y in range(height):
        state = _row_state(seed, y)
        for x in range(0, width, 2):
            one, other = _pair(state + np.uint64(x) * _STEP)
            out[y, x] = one
            if x + 1 < width:
                out[y, x + 1] = other


@njit(**_options)
def _counted(
    codes, table, to_camera, pattern, black, white, shading, noise, noisy, seed, mosaic
):  # fmt: skip
    height, width = mosaic.shape
    zero, one = np.float32(0), np.float32(1)
    shaded = shading.shape[1] > 1
    normals = np.zeros(width + 1, np.float32)
    for y in range(height):
        if noisy:
            state = _row_state(seed, y)
            for x in range(0, width, 2):
                normals[x], normals[x + 1] = _pair(state + np.uint64(x) * _STEP)
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
                light += normals[x] * np.float32(math.sqrt(max(spread, 0.0)))
            if shaded:
                light /= shading[y, x]
            dark = black[cell_y, cell_x]
            value = light * (white - dark) + dark
            mosaic[y, x] = np.uint16(min(max(value, 0.0), white) + 0.5)
