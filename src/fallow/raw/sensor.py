"""A raw frame and what its numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fallow.problems import Problem, SourceProblem
from fallow.raw.colour import LIGHTS, blended, temperature_of_neutral, with_white_kept
from fallow.raw.levels import normalised, shading_map
from fallow.raw.mosaic import Pattern, even, pattern_of, shifted

LEAST_RANGE = 4  # numbers above black; less is no picture


@dataclass(frozen=True)
class Sensor:
    """How to read a mosaic: pattern, levels, and the colours and noise of the camera."""

    pattern: Pattern
    black: np.ndarray  # one for each place of the pattern
    white: float
    neutral: np.ndarray | None = None  # what the camera answers to white; green is 1
    # XYZ to camera, by the temperature of the calibrating light
    matrices: Mapping[float, np.ndarray] = field(default_factory=dict)
    noise: tuple[tuple[float, float], ...] = ()  # slope and offset over light, for R, G, B
    shading: np.ndarray | None = None  # gains of the lens: h w, or 4 h w
    iso: float | None = None
    orientation: int = 1  # as EXIF counts
    camera: str = ""

    def matrix(self, neutral: Any = None) -> np.ndarray | None:
        """The camera matrix for the light of the scene, rows adding up to 1; none if unknown."""
        if not self.matrices:
            return None
        answer = self.neutral if neutral is None else np.asarray(neutral, np.float64)
        warm, cool = min(self.matrices), max(self.matrices)
        if warm == cool or answer is None:
            return with_white_kept(self.matrices[cool])
        pair = self.matrices[cool], self.matrices[warm]
        kelvin = temperature_of_neutral(answer, *pair, at=(cool, warm))
        kelvin = min(max(kelvin, warm), cool)
        return with_white_kept(blended(kelvin, *pair, at=(cool, warm)))

    def unbalanced(self, kelvin: float) -> np.ndarray:
        """The matrix for a light as the sensor answers to it: XYZ to colours that white tints."""
        if not self.matrices:
            raise Problem(
                f"{self.camera or 'the sensor'} names no colour matrix, so that lamps have no "
                "colour for it: set `measured` to its answers under lights of the night."
            )
        warm, cool = min(self.matrices), max(self.matrices)
        if warm == cool:
            return self.matrices[cool]
        kelvin = min(max(kelvin, warm), cool)
        return blended(kelvin, self.matrices[cool], self.matrices[warm], (cool, warm))


@dataclass(frozen=True)
class Raw:
    """One frame as the sensor has counted it."""

    mosaic: np.ndarray  # H W, uint16
    sensor: Sensor
    name: str = "a raw frame"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.mosaic.shape[0], self.mosaic.shape[1]

    def light(self, low: float | None = None, high: float | None = None) -> np.ndarray:
        """The mosaic as light, lens shading taken out.  H W float32"""
        sensor = self.sensor
        found = normalised(self.mosaic, sensor.black, sensor.white, low, high)
        if sensor.shading is not None:
            found *= shading_map(sensor.shading, *self.size).astype(found.dtype)
        return found

    def light_by_part(self) -> Callable[[slice, slice], np.ndarray]:
        """What gives the light of rows and columns; no whole plane is made unless a lens shades it.

        >>> raw = Raw(np.arange(24, dtype=np.uint16).reshape(4, 6), sensor("RGGB", 0, 23))
        >>> rows, columns = slice(2, 4), slice(1, 5)
        >>> bool((raw.light_by_part()(rows, columns) == raw.light()[rows, columns]).all())
        True
        """
        if self.sensor.shading is not None:
            whole = self.light()
            return lambda rows, columns: whole[rows, columns]

        def part(rows: slice, columns: slice) -> np.ndarray:
            top, left = rows.start, columns.start
            return self.cropped(top, left, rows.stop - top, columns.stop - left).light()

        return part

    def cropped(self, top: int, left: int, height: int, width: int) -> Raw:
        """A part; the pattern follows, also where it begins in an odd row or column."""
        part = self.mosaic[top : top + height, left : left + width]
        if min(top, left) < 0 or part.shape != (height, width):
            raise SourceProblem(f"{self.name} has no {height} x {width} pixels at {top}, {left}")
        sensor = self.sensor
        cell = shifted(sensor.pattern, top, left)
        black = np.roll(sensor.black, (-top, -left), (0, 1))
        if sensor.shading is not None:
            full = shading_map(sensor.shading, *self.size)
            sensor = replace(sensor, shading=full[top : top + height, left : left + width])
        return replace(self, mosaic=part, sensor=replace(sensor, pattern=cell, black=black))

    def evened(self) -> Raw:
        """Without an odd last row or column."""
        height, width = even(self.mosaic).shape
        return self if self.size == (height, width) else self.cropped(0, 0, height, width)


def sensor(
    pattern: Any = "RGGB",
    black: Any = 0,
    white: float = 65535,
    neutral: Any = None,
    matrices: Mapping[float, Any] | None = None,
    **known: Any,
) -> Sensor:
    """A sensor from plain numbers; matrices by kelvin, or by EXIF's number of the light.

    >>> sensor("GRBG", [63, 64, 65, 66], 1023, [1, 2, 1.5]).neutral.tolist()
    [0.5, 1.0, 0.75]
    """
    cell = pattern_of(pattern)
    levels = np.asarray(black, np.float64)
    try:
        levels = np.broadcast_to(
            levels.reshape(cell.shape) if levels.size == cell.size else levels, cell.shape
        ).copy()
    except ValueError:
        raise SourceProblem(
            f"black is one number, or one for each of {cell.size} places, not {levels.tolist()}"
        ) from None
    if not white > levels.max():
        raise SourceProblem(f"the white level {white:g} does not lie above black, {levels.max():g}")
    answer = None
    if neutral is not None:
        answer = np.asarray(neutral, np.float64)
        if answer.shape != (3,) or not (np.isfinite(answer) & (answer > 0)).all():
            raise SourceProblem(
                f"a camera's answer to white is three numbers above 0, not {answer.tolist()}"
            )
        answer = answer / answer[1]
    found = {}
    for light, values in (matrices or {}).items():
        matrix = np.asarray(values, np.float64)
        if (
            matrix.size != 9
            or not np.isfinite(matrix).all()
            or not abs(np.linalg.det(matrix.reshape(3, 3))) > 1e-9
        ):
            raise SourceProblem("a camera matrix must be 3 x 3 and have an inverse")
        found[LIGHTS.get(int(light), float(light))] = matrix.reshape(3, 3)
    return Sensor(cell, levels, float(white), answer, found, **known)


def must_show(raw: Raw) -> None:
    """A Problem where there is nothing to develop: a black frame, a saturated one.

    >>> must_show(Raw(np.full((8, 8), 1023, np.uint16), sensor("RGGB", 64, 1023), "a.dng"))
    Traceback (most recent call last):
    ...
    fallow.problems.Problem: a.dng is saturated: 100 % of its pixels are at the white level
    """
    sensor = raw.sensor
    top = (raw.mosaic >= sensor.white - 1).mean()
    if top > 0.98:
        raise Problem(
            f"{raw.name} is saturated: {top:.0%} of its pixels are at the white level".replace(
                "%", " %"
            )
        )
    brightest = float(np.quantile(raw.mosaic, 0.999)) - float(sensor.black.max())
    if brightest < LEAST_RANGE:
        raise Problem(
            f"{raw.name} is black: hardly a pixel lies above the black level "
            f"{sensor.black.max():g}; is that level right?"
        )
    over = float((raw.mosaic > sensor.white * 1.02).mean())
    if over > 0.05:
        raise Problem(
            f"{raw.name} holds values up to {int(raw.mosaic.max())}, and its white level is "
            f"{sensor.white:g}: give the right white level"
        )
