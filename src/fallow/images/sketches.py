"""Sketches as pen strokes: their formats, fewer points, and pictures of them.

Three formats go round. *Absolute*: x, y, and 1 at the last point of a stroke. *Delta*: steps from
point to point, each with the mark of the point it arrives at, so one row shorter. *Five*: steps,
then whether the pen goes on, is lifted, or is done; filled up to a length with rows that are done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit

from fallow.images.lines import drawn
from fallow.problems import SourceProblem

Frame = Callable[[np.ndarray, float, float], np.ndarray]  # points n 2, low, high
SIDE = 256  # pixels of a picture of a sketch
LOW, HIGH = 30, 225  # where in it the sketch begins and ends


class EmptySketch(SourceProblem):
    """A sketch in which nothing is drawn."""


def to_delta(absolute: np.ndarray) -> np.ndarray:
    """Steps between points.  n 3 -> n - 1, 3

    >>> to_delta(np.array([[1.0, 1, 0], [4, 5, 1]])).tolist()
    [[3.0, 4.0, 1.0]]
    """
    return np.concatenate([np.diff(absolute[:, :2], axis=0), absolute[1:, 2:]], 1)


def to_absolute(delta: np.ndarray, start: Sequence[float] = (0.0, 0.0)) -> np.ndarray:
    """Points again, from a start.  n 3 -> n + 1, 3

    >>> to_absolute(np.array([[3.0, 4.0, 1.0]]), (1, 1)).tolist()
    [[1.0, 1.0, 0.0], [4.0, 5.0, 1.0]]
    """
    whole = np.concatenate([[[*start, 0.0]], delta])
    whole[:, :2] = whole[:, :2].cumsum(0)
    return whole


def to_five(delta: np.ndarray, size: int) -> np.ndarray:
    """Steps with three pen states, filled up; the last real step is done, not lifted.  size 5

    >>> to_five(np.array([[3.0, 4.0, 0.0], [1.0, 0.0, 1.0]]), 3).tolist()
    [[3.0, 4.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    count = len(delta)
    if not 0 < count <= size:
        raise SourceProblem(
            f"a sketch of {count} steps does not fit {size}: simplify it, or allow more points"
        )
    five = np.zeros((size, 5))
    five[:count, :2] = delta[:, :2]
    five[:count, 2], five[:count, 3] = 1 - delta[:, 2], delta[:, 2]
    five[count - 1, 2:4] = 0
    five[count - 1 :, 4] = 1
    return five


def to_three(five: np.ndarray) -> np.ndarray:
    """Steps up to the first that is done; where none is, all of them.  T 5 -> n 3

    >>> to_three(to_five(np.array([[3.0, 4.0, 0.0], [1.0, 0.0, 1.0]]), 5)).tolist()
    [[3.0, 4.0, 0.0], [1.0, 0.0, 1.0]]
    """
    done = np.flatnonzero(five[:, 4] > 0)
    count = done[0] + 1 if len(done) else len(five)
    ends = (five[:count, 3] > 0) | (five[:count, 4] > 0)
    return np.concatenate([five[:count, :2], ends[:, None].astype(five.dtype)], 1)


def strokes_of(absolute: np.ndarray) -> list[np.ndarray]:
    """The points of each stroke; an unfinished last one counts.  each n 2

    >>> [len(s) for s in strokes_of(np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 0]]))]
    [2, 1]
    """
    parts = np.split(absolute[:, :2], np.flatnonzero(absolute[:, 2]) + 1)
    return [part for part in parts if len(part)]


def of_strokes(strokes: Sequence[np.ndarray]) -> np.ndarray:
    """Strokes (each n 2) in the absolute format.

    >>> of_strokes([np.array([[0, 0], [1, 1]])]).tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    kept = [np.asarray(one, float).reshape(-1, 2) for one in strokes if len(one)]
    if not kept:
        raise EmptySketch("nothing is drawn in the sketch: draw at least one line")
    ends = [np.eye(1, len(one), len(one) - 1)[0] for one in kept]
    return np.concatenate(
        [np.concatenate([one, end[:, None]], 1) for one, end in zip(kept, ends, strict=True)]
    )


@njit(cache=True, nogil=True)
def _keep(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Ramer, Douglas and Peucker: which points a line may not lose.  n bool"""
    count = len(points)
    kept = np.zeros(count, np.bool_)
    kept[0] = kept[count - 1] = True
    stack = np.empty((count + 1, 2), np.int64)
    stack[0, 0], stack[0, 1] = 0, count - 1
    depth = 1
    while depth:
        depth -= 1
        first, last = stack[depth]
        ax, ay = points[first]
        dx, dy = points[last, 0] - ax, points[last, 1] - ay
        length = np.sqrt(dx * dx + dy * dy)
        far, at = -1.0, -1
        for k in range(first + 1, last):
            px, py = points[k, 0] - ax, points[k, 1] - ay
            away = abs(dx * py - dy * px) / length if length > 0 else np.sqrt(px * px + py * py)
            if away > far:
                far, at = away, k
        if far > tolerance:
            kept[at] = True
            stack[depth, 0], stack[depth, 1] = first, at
            stack[depth + 1, 0], stack[depth + 1, 1] = at, last
            depth += 2
    return kept


def simplified(stroke: np.ndarray, tolerance: float = 3.0) -> np.ndarray:
    """A stroke (n 2) with as few of its points as keep it within a tolerance.

    >>> simplified(np.array([[0.0, 0.0], [5.0, 0.1], [10.0, 0.0], [10.0, 9.0]])).tolist()
    [[0.0, 0.0], [10.0, 0.0], [10.0, 9.0]]
    """
    points = np.ascontiguousarray(stroke, float)
    return points[_keep(points, tolerance)] if len(points) > 2 else points


def stretched(points: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Points with both axes spread over the same range, each by itself, as whole pixels.

    Aspect is lost. What has no width or height, such as a straight line, goes to the middle.

    >>> stretched(np.array([[0.0, 7.0], [2.0, 7.0]])).tolist()
    [[30, 127], [225, 127]]
    """
    return _framed(points, low, high, np.ptp(points, axis=0))


def in_frame(points: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Points with their longer side spread over the range and the other in its middle.

    >>> in_frame(np.array([[0.0, 0.0], [4.0, 2.0]]), 0, 8).tolist()
    [[0, 2], [8, 6]]
    """
    return _framed(points, low, high, np.full(2, np.ptp(points, axis=0).max()))


def _framed(points: np.ndarray, low: float, high: float, extent: np.ndarray) -> np.ndarray:
    spread = np.where(extent > 0, extent, 1.0)
    # the first point of a side that is filled is exactly its low end
    first = points.min(0) - (spread - np.ptp(points, axis=0)) / 2
    return ((points - first) / spread * (high - low) + low).astype(np.int64)


def raster(absolute: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A sketch in pixels as 1 on 0, its lines three pixels wide; the first row and column stay 0.

    >>> int(raster(np.array([[9.0, 9.0, 0.0], [12.0, 9.0, 1.0]]), 16).sum())
    14
    """
    return rasters([[np.rint(one).astype(np.int64) for one in strokes_of(absolute)]], side)[0]


def rasters(sketches: Sequence[Sequence[np.ndarray]], side: int = SIDE) -> np.ndarray:
    """Many sketches, each a list of strokes in whole pixels, drawn at once.  N S S uint8"""
    flat = [stroke for one in sketches for stroke in one]
    owners = np.repeat(np.arange(len(sketches)), [len(one) for one in sketches])
    return drawn(flat, (side, side), owners, len(sketches), first=1, reach=1)


def rasters_of_five(five: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Sketches (N T 5) stretched to the frame and drawn; they begin at an origin.  N S S uint8

    >>> rasters_of_five(to_five(np.array([[3.0, 4.0, 1.0]]), 2)[None]).shape
    (1, 256, 256)
    """
    return rasters([placed(one, stretched, side) for one in five], side)


def placed(five: np.ndarray, frame: Frame = stretched, side: int = SIDE) -> list[np.ndarray]:
    """The strokes of one sketch of steps, put into a frame of a picture of that side."""
    absolute = to_absolute(to_three(five))
    scale = side / SIDE
    points = frame(absolute[:, :2], LOW * scale, HIGH * scale)
    return strokes_of(np.concatenate([points, absolute[:, 2:].astype(np.int64)], 1))
