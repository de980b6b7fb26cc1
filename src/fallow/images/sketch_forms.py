"""A person's strokes in the two forms networks learn from: a few steps, and pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fallow.images.sketches import (
    HIGH,
    LOW,
    SIDE,
    in_frame,
    of_strokes,
    rasters,
    simplified,
    stretched,
    strokes_of,
    to_delta,
)

STROKES = "strokes"  # column of Images: lists of strokes, each a list of points
FRAMES = {"whole": in_frame, "stretched": stretched}
TOLERANCE = 3.0  # of 256 pixels: how far a simplified stroke may lie from what was drawn
COARSEST = 8.0  # before a sketch of too many points loses strokes


def read_cell(cell: Sequence[Sequence[Sequence[float]]]) -> list[np.ndarray]:
    """The strokes of a cell of the column."""
    return [np.asarray(one, float).reshape(-1, 2) for one in cell]


def steps_of(strokes: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Strokes as at most so many steps of a picture of 256 pixels.  n 3

    What is longer loses detail until it fits: first bends, then its shortest strokes.

    >>> circle = np.stack([np.cos(np.linspace(0, 6, 90)), np.sin(np.linspace(0, 6, 90))], 1)
    >>> len(steps_of([circle], 8)) <= 8
    True
    """
    parts, tolerance = framed(strokes), TOLERANCE
    while True:
        thin = of_strokes([simplified(part, tolerance) for part in parts])
        if len(thin) - 1 <= most:
            break
        if tolerance < COARSEST or len(parts) == 1:
            tolerance *= 1.3
        else:
            lengths = [np.linalg.norm(np.diff(part, axis=0), axis=1).sum() for part in parts]
            del parts[int(np.argmin(lengths))]
    if len(thin) < 2:  # a single dot: a step of nothing is still a step
        thin = np.concatenate([thin * [1, 1, 0], thin])
    return to_delta(thin)


def framed(strokes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Strokes in a picture of 256 pixels, as large as they fit."""
    whole = of_strokes(strokes)
    points = in_frame(whole[:, :2], 0, SIDE - 1).astype(float)
    return strokes_of(np.concatenate([points, whole[:, 2:]], 1))


def spread_of(sketches: Sequence[np.ndarray]) -> float:
    """The deviation of all steps in both directions: their unit.

    >>> spread_of([np.array([[1.0, -1.0, 0.0]])])
    1.0
    """
    deviation = float(np.concatenate([one[:, :2].ravel() for one in sketches]).std())
    return deviation if deviation > 0 else 1.0


def sketch_pixels(strokes: Sequence[np.ndarray], frame: str, side: int) -> np.ndarray:
    """A person's sketch in pixels, with all its detail.  S S

    >>> sketch_pixels([np.array([[0, 0], [4, 2]])], "whole", 32).shape
    (32, 32)
    """
    fine = of_strokes([simplified(part, TOLERANCE) for part in framed(strokes)])
    scale = side / SIDE
    points = FRAMES[frame](fine[:, :2], LOW * scale, HIGH * scale)
    placed_ones = strokes_of(np.concatenate([points, fine[:, 2:].astype(np.int64)], 1))
    return rasters([placed_ones], side)[0]
