"""Lamps over a mosaic: how far they reach, and what it looks like in their light."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-overload"
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from fallow.raw.mosaic import by_colour

FAINT = 1e-7  # what a lamp gives at least within its reach


@dataclass(frozen=True)
class Lamp:
    """One light of a scene: its colour, how bright, and where it reaches."""

    colour: tuple[float, float, float]  # the camera's answer to white under it; green is 1
    scale: float = 1.0
    # centre row and column, height and width; None: everywhere
    box: tuple[int, int, int, int] | None = None
    narrow: float = 1.0
    glare: float = 0.0  # above 0: added with this strength instead of averaged


def reaches(lamp: Lamp, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """How strongly a lamp reaches each row and each column; the product is its mask.  H, W

    A Gaussian over its box, whose middle is 1 however large it is; nothing outside.

    >>> rows, columns = reaches(Lamp((1, 1, 1), box=(2, 2, 3, 3)), 5, 6)
    >>> rows.round(2).tolist(), int((columns > 0).sum())
    ([0.0, 0.46, 1.0, 0.46, 0.0], 3)
    """
    if lamp.box is None:
        return np.ones(height), np.ones(width)
    row, column, tall, wide = lamp.box
    side = max(tall, wide)
    spread = 0.3 * ((side / lamp.narrow - 1) / 2 - 1) + 0.8
    away = np.abs(np.arange(side) - (side - 1) / 2)
    away[away < 1] = 0  # of an even number of places the two middle ones are the middle
    bell = np.exp(-(away**2) / (2 * max(spread, 0.3) ** 2))
    return (
        _placed(_squeezed(bell, tall), row - tall // 2, height),
        _placed(_squeezed(bell, wide), column - wide // 2, width),
    )


def mask(lamp: Lamp, height: int, width: int) -> np.ndarray:
    """How strongly a lamp reaches every place.  H W"""
    rows, columns = reaches(lamp, height, width)
    return np.where(np.outer(rows > 0, columns > 0), np.maximum(np.outer(rows, columns), FAINT), 0)


def _squeezed(bell: np.ndarray, length: int) -> np.ndarray:
    place = np.clip((np.arange(length) + 0.5) * len(bell) / length - 0.5, 0, len(bell) - 1)
    return np.interp(place, np.arange(len(bell)), bell)


def _placed(part: np.ndarray, first: int, length: int) -> np.ndarray:
    line = np.zeros(length)
    inside = slice(max(first, 0), max(min(first + len(part), length), 0))
    line[inside] = np.maximum(part[inside.start - first : inside.stop - first], 1e-30)
    return line


def relit(light: np.ndarray, pattern: Any, lamps: Sequence[Lamp]) -> np.ndarray:
    """A mosaic without illuminant (0...1) under lamps.  H W

    What the lamps light is averaged by how far they reach, so that only the faint ambient light
    remains between them; glares are added. A place that saturates under a lamp stays at 1.

    >>> relit(np.full((2, 2), 0.5), "RGGB", [Lamp((0.8, 1, 0.4))]).tolist()
    [[0.4, 0.5], [0.5, 0.2]]
    """
    return Lights(lamps, pattern, *light.shape).on(light, 0)


class Lights:
    """Lamps over a mosaic of known size, which may then be lit in parts."""

    def __init__(self, lamps: Sequence[Lamp], pattern: Any, height: int, width: int) -> None:
        profiles = [reaches(lamp, height, width) for lamp in lamps]
        self.rows, self.columns = (np.stack(lines) for lines in zip(*profiles, strict=True))
        answers = [by_colour(np.multiply(lamp.colour, lamp.scale), pattern) for lamp in lamps]
        self.gains = np.stack(answers)
        self.glare = np.array([lamp.glare for lamp in lamps])

    def on(self, light: np.ndarray, first: int) -> np.ndarray:
        """Rows of a mosaic from an even one on, under the lamps.  h W"""
        rows = np.ascontiguousarray(self.rows[:, first : first + len(light)])
        out = np.empty_like(light)
        _lit(light, self.gains, rows, self.columns, self.glare, out)
        return out


@njit(cache=True, nogil=True)
def _lit(light, gains, rows, columns, glare, out):
    height, width = light.shape
    for y in range(height):
        cell_y = y % gains.shape[1]
        for x in range(width):
            here, cell_x = light[y, x], x % gains.shape[2]
            total, weight, extra = 0.0, 0.0, 0.0
            for lamp in range(len(gains)):
                reach = rows[lamp, y] * columns[lamp, x]
                if rows[lamp, y] == 0 or columns[lamp, x] == 0:
                    continue
                reach = max(reach, FAINT)
                shown = min(max(here * gains[lamp, cell_y, cell_x], 0.0), 1.0)
                if glare[lamp] > 0:
                    extra += glare[lamp] * reach * shown
                else:
                    total += reach * shown
                    weight += reach
            value = extra + (total / weight if weight > 0 else 0.0)
            out[y, x] = min(value, 1.0)
