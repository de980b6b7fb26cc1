"""From a mosaic to a picture in the classical way, in one pass over the rows.

Levels, white balance, demosaicking, colour matrix and display curve are fused: a row is normalised
into a scratch of five rows, and every pixel leaves it finished. The stages one by one are in
`levels`, `demosaic`, `colour` and `curves`, and give the same numbers. White is cut before the
colours are mixed, or bright places turn magenta; black only at the end, or the noise of dark
places, of which the upper half would remain, makes them purple.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-overload"
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from fallow.problems import Problem, SettingProblem, did_you_mean
from fallow.raw.colour import camera_to_srgb, coloured
from fallow.raw.curves import curve
from fallow.raw.demosaic import LINEAR, METHODS, demosaicked
from fallow.raw.levels import balanced, gains_of, shading_map
from fallow.raw.mosaic import by_colour
from fallow.raw.sensor import Raw
from fallow.raw.sixteen import eight, sixteen

_BAND = 256  # rows
_STEPS = 1 << 14  # of the tabulated curve; table[_STEPS] is white
_options = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


@dataclass(frozen=True)
class Look:
    """How a frame is developed; what is None comes from the frame itself."""

    gains: tuple[float, float, float] | None = None  # white balance of red, green, blue
    matrix: Any = None  # balanced camera colours to linear sRGB, 3 x 3; "camera" leaves them
    exposure: float = 1.0
    demosaic: str = "malvar"
    curve: str = "srgb"


def gains_for(raw: Raw, look: Look) -> np.ndarray:
    """White balance: the look's, or the camera's own; the least is 1 or more.

    Were one below 1, places that saturate would not reach white in that colour.

    >>> from fallow.raw.sensor import sensor
    >>> frame = Raw(np.zeros((4, 4), np.uint16), sensor(neutral=[0.5, 1, 0.8]))
    >>> gains_for(frame, Look()).tolist(), gains_for(frame, Look(gains=(1, 1, 1))).tolist()
    ([2.0, 1.0, 1.25], [1.0, 1.0, 1.0])
    """
    if look.gains is not None:
        gains = np.asarray(look.gains, np.float64)
        if gains.shape != (3,) or not (gains > 0).all():
            raise SettingProblem(f"gains are three numbers above 0, not {look.gains}")
    elif raw.sensor.neutral is None:
        raise Problem(f"{raw.name} names no white balance: give gains for red, green and blue.")
    else:
        gains = gains_of(raw.sensor.neutral)
    return gains / min(gains.min(), 1.0)


def matrix_for(raw: Raw, look: Look) -> np.ndarray:
    """Balanced camera colours to linear sRGB: the look's matrix, or the camera's own."""
    if isinstance(look.matrix, str):
        if look.matrix != "camera":
            raise SettingProblem(f'a matrix is 3 x 3 numbers, or "camera", not {look.matrix}')
        return np.eye(3)
    if look.matrix is not None:
        matrix = np.asarray(look.matrix, np.float64)
        if matrix.shape != (3, 3):
            raise SettingProblem(f"a colour matrix is 3 x 3, not {matrix.shape}")
        return matrix
    neutral = None if look.gains is None else 1 / np.asarray(look.gains, np.float64)
    camera = raw.sensor.matrix(None if neutral is None else neutral / neutral[1])
    if camera is None:
        raise Problem(
            f'{raw.name} names no colour matrix: give one, or matrix="camera" to keep the '
            "camera's own colours."
        )
    return camera_to_srgb(camera)


def developed(raw: Raw, look: Look | None = None) -> np.ndarray:
    """A picture of 8 bits in sRGB, turned upright.  h w 3

    >>> from fallow.raw.sensor import sensor
    >>> grey = Raw(np.full((6, 8), 543, np.uint16), sensor("RGGB", 64, 1023, [1, 1, 1]))
    >>> developed(grey, Look(matrix="camera"))[2, 2].tolist()
    [187, 187, 187]
    """
    look = look or Look()
    forward = curve(look.curve).forward
    if look.demosaic in LINEAR and raw.sensor.pattern.shape == (2, 2):
        table = eight(forward(np.arange(_STEPS + 1, dtype=np.float64) / _STEPS))
        return upright(_rows(raw, look, table), raw.sensor.orientation)
    return upright(eight(forward(linear(raw, look))), raw.sensor.orientation)


def developed_16(raw: Raw, look: Look | None = None) -> np.ndarray:
    """The same with 16 bits.  h w 3

    >>> from fallow.raw.sensor import sensor
    >>> grey = Raw(np.full((6, 8), 543, np.uint16), sensor("RGGB", 64, 1023, [1, 1, 1]))
    >>> developed_16(grey, Look(matrix="camera"))[2, 2].tolist()
    [48169, 48169, 48169]
    """
    look = look or Look()
    light, forward = linear(raw, look), curve(look.curve).forward
    shown = np.empty(light.shape, np.uint16)
    for first in range(0, len(light), _BAND):  # a large frame has no room for copies
        band = slice(first, first + _BAND)
        shown[band] = sixteen(forward(light[band]))
    return upright(shown, raw.sensor.orientation)


def linear(raw: Raw, look: Look | None = None) -> np.ndarray:
    """Linear sRGB in 0...1, as the sensor lies: before the curve and not turned.  H W 3 float32"""
    look = look or Look()
    if look.demosaic not in METHODS:
        raise SettingProblem(
            f"{look.demosaic} is no demosaicking: {did_you_mean(look.demosaic, METHODS)}"
        )
    if look.demosaic in LINEAR and raw.sensor.pattern.shape == (2, 2):
        return _rows(raw, look, np.zeros(0, np.float32))
    gains = gains_for(raw, look) * look.exposure
    light = balanced(raw.light(), gains, raw.sensor.pattern)
    rgb = demosaicked(light, raw.sensor.pattern, look.demosaic).clip(max=1)
    return coloured(rgb, matrix_for(raw, look)).clip(0, 1)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels turned and mirrored as EXIF's orientation says.

    >>> upright(np.array([[1, 2]]), 6).tolist(), upright(np.array([[1, 2]]), 3).tolist()
    ([[1], [2]], [[2, 1]])
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def as_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What `upright` was given.

    >>> picture = np.arange(6).reshape(2, 3)
    >>> all((as_stored(upright(picture, o), o) == picture).all() for o in range(1, 9))
    True
    """
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _rows(raw: Raw, look: Look, table: np.ndarray) -> np.ndarray:
    """The fused pass: table's kind and values, or linear light where there is no table."""
    sensor, (height, width) = raw.sensor, raw.size
    if min(height, width) < 3:
        raise Problem(f"{raw.name} is too small to develop: {height} x {width} pixels.")
    gains = gains_for(raw, look) * look.exposure
    scale = by_colour(gains, sensor.pattern) / (sensor.white - sensor.black)
    shading = np.ones((1, 1), np.float32)
    if sensor.shading is not None:
        shading = shading_map(sensor.shading, height, width).astype(np.float32)
    out = np.empty((height, width, 3), table.dtype)
    mosaic = np.ascontiguousarray(raw.mosaic)
    matrix = matrix_for(raw, look).astype(np.float32)
    work = _malvar_rows if look.demosaic == "malvar" else _bilinear_rows
    red_row = int(0 in sensor.pattern[1])
    red_column = int(0 in sensor.pattern[:, 1])
    work(
        mosaic, sensor.black.astype(np.float32), scale.astype(np.float32), shading,
        red_row, red_column, matrix, table, out,
    )  # fmt: skip
    return out


@njit(inline="always")
def _mirrored(place, length):
    if place < 0:
        place = -place
    return place if place < length else 2 * length - 2 - place


@njit(**_options)
def _load(mosaic, y, black, scale, shading, row):
    """A row as balanced light up to 1, two mirrored places at either end."""
    width = mosaic.shape[1]
    y = _mirrored(y, mosaic.shape[0])
    dark0, dark1 = black[y & 1, 0], black[y & 1, 1]
    gain0, gain1 = scale[y & 1, 0], scale[y & 1, 1]
    shaded = shading.shape[1] > 1
    for x in range(0, width - 1, 2):
        row[x + 2] = (np.float32(mosaic[y, x]) - dark0) * gain0
        row[x + 3] = (np.float32(mosaic[y, x + 1]) - dark1) * gain1
    if width & 1:
        row[width + 1] = (np.float32(mosaic[y, width - 1]) - dark0) * gain0
    if shaded:
        for x in range(width):
            row[x + 2] *= shading[y, x]
    for x in range(2, width + 2):
        row[x] = min(row[x], np.float32(1))
    row[1], row[0] = row[3], row[4]
    row[width + 2], row[width + 3] = row[width], row[width - 1]


@njit(inline="always")
def _finish(red, green, blue, matrix, table, out, y, x):
    zero, one = np.float32(0), np.float32(1)
    red, green, blue = min(red, one), min(green, one), min(blue, one)
    for colour in range(3):
        value = matrix[colour, 0] * red + matrix[colour, 1] * green + matrix[colour, 2] * blue
        value = min(max(value, zero), one)
        if table.shape[0]:
            out[y, x, colour] = table[np.int32(value * np.float32(_STEPS) + np.float32(0.5))]
        else:
            out[y, x, colour] = value


@njit(inline="always")
def _above_and_beside(above, row, below, i):
    return above[i] + below[i] + row[i - 1] + row[i + 1]


@njit(inline="always")
def _corners(above, below, i):
    return above[i - 1] + above[i + 1] + below[i - 1] + below[i + 1]


@njit(**_options)
def _malvar_rows(mosaic, black, scale, shading, red_row, red_column, matrix, table, out):
    height, width = mosaic.shape
    ring = np.empty((5, width + 4), np.float32)
    # plain numbers would make 64 bits of everything
    half, eighth = np.float32(0.5), np.float32(0.125)
    two, four, five, six = np.float32(2), np.float32(4), np.float32(5), np.float32(6)
    for y in range(-2, 2):
        _load(mosaic, y, black, scale, shading, ring[(y + 5) % 5])
    for y in range(height):
        _load(mosaic, y + 2, black, scale, shading, ring[(y + 2) % 5])
        a, b, c, d, e = (
            ring[(y + 3) % 5], ring[(y + 4) % 5], ring[y % 5],
            ring[(y + 1) % 5], ring[(y + 2) % 5],
        )  # fmt: skip
        in_red = (y & 1) == red_row
        first = red_column if in_red else 1 - red_column  # columns of the row's own colour
        for x in range(first, width, 2):
            i = x + 2
            here = c[i]
            far = a[i] + e[i] + c[i - 2] + c[i + 2]
            green = (four * here + two * _above_and_beside(b, c, d, i) - far) * eighth
            other = (six * here + two * _corners(b, d, i) - np.float32(1.5) * far) * eighth
            if in_red:
                _finish(here, green, other, matrix, table, out, y, x)
            else:
                _finish(other, green, here, matrix, table, out, y, x)
        for x in range(1 - first, width, 2):
            i = x + 2
            here = c[i]
            corners = _corners(b, d, i)
            beside, above = c[i - 2] + c[i + 2], a[i] + e[i]
            along = (
                five * here + four * (c[i - 1] + c[i + 1]) - corners - beside + half * above
            ) * eighth
            across = (five * here + four * (b[i] + d[i]) - corners - above + half * beside) * eighth
            if in_red:
                _finish(along, here, across, matrix, table, out, y, x)
            else:
                _finish(across, here, along, matrix, table, out, y, x)


@njit(**_options)
def _bilinear_rows(mosaic, black, scale, shading, red_row, red_column, matrix, table, out):
    height, width = mosaic.shape
    ring = np.empty((3, width + 4), np.float32)
    half, quarter = np.float32(0.5), np.float32(0.25)
    _load(mosaic, -1, black, scale, shading, ring[2])
    _load(mosaic, 0, black, scale, shading, ring[0])
    for y in range(height):
        _load(mosaic, y + 1, black, scale, shading, ring[(y + 1) % 3])
        b, c, d = ring[(y + 2) % 3], ring[y % 3], ring[(y + 1) % 3]
        in_red = (y & 1) == red_row
        first = red_column if in_red else 1 - red_column
        for x in range(first, width, 2):
            i = x + 2
            green = _above_and_beside(b, c, d, i) * quarter
            other = _corners(b, d, i) * quarter
            if in_red:
                _finish(c[i], green, other, matrix, table, out, y, x)
            else:
                _finish(other, green, c[i], matrix, table, out, y, x)
        for x in range(1 - first, width, 2):
            i = x + 2
            along, across = (c[i - 1] + c[i + 1]) * half, (b[i] + d[i]) * half
            if in_red:
                _finish(along, c[i], across, matrix, table, out, y, x)
            else:
                _finish(across, c[i], along, matrix, table, out, y, x)
