"""Straight lines on a grid: polylines of many sketches or outlines drawn in one compiled pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _line(
    plane: np.ndarray,
    flat: np.ndarray,  # the same plane, pixel after pixel
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    first: int,
    reach: int,
) -> None:
    """Bresenham's line, both ends included; its pixels before `first` or outside are left out.

    With a reach of 1 the pixels above, below and beside each of the line's are drawn as well.
    """
    height, width = plane.shape
    across, down = abs(x1 - x0), abs(y1 - y0)
    right = 1 if x1 > x0 else -1
    below = 1 if y1 > y0 else -1
    steep = down >= across
    if steep:
        across, down = down, across
    least = max(first, reach)
    if (
        least <= min(x0, x1, y0, y1)
        and max(x0, x1) < width - reach
        and max(y0, y1) < height - reach
    ):
        ahead, turn = (below * width, right) if steep else (right, below * width)
        beside = (1 if steep else width) if reach else 0
        _inside(flat, y0 * width + x0, across, down, ahead, turn, beside)
        return
    error = 2 * down - across
    aside = 0
    for step in range(across + 1):
        if steep:
            x, y = x0 + aside * right, y0 + step * below
        else:
            x, y = x0 + step * right, y0 + aside * below
        if first <= x < width and first <= y < height:
            plane[y, x] = 1
            if reach:
                plane[max(y - 1, 0), x] = 1
                plane[min(y + 1, height - 1), x] = 1
                plane[y, max(x - 1, 0)] = 1
                plane[y, min(x + 1, width - 1)] = 1
        if error >= 0:
            aside += 1
            error -= 2 * across
        error += 2 * down


@njit(cache=True, nogil=True)
def _inside(
    flat: np.ndarray, place: int, across: int, down: int, ahead: int, turn: int, beside: int
) -> None:
    """A line that touches no border: places are steps along the plane, and nothing is asked.

    Of a wide line each pixel draws those to its sides; what lies ahead and behind is the next
    pixel's, or at the ends drawn here.
    """
    error = 2 * down - across
    if beside:
        flat[np.uint64(place - ahead)] = 1
    for _ in range(across + 1):
        flat[np.uint64(place - beside)] = flat[np.uint64(place)] = 1
        flat[np.uint64(place + beside)] = 1
        last = place
        if error >= 0:
            place += turn
            error -= 2 * across
        place += ahead
        error += 2 * down
    if beside:
        flat[np.uint64(last + ahead)] = 1


@njit(cache=True, nogil=True)
def _polylines(
    planes: np.ndarray,
    points: np.ndarray,
    starts: np.ndarray,
    owners: np.ndarray,
    first: int,
    reach: int,
) -> None:
    """Draw on planes that hold anything; each is wiped right before its own, while it is at hand.

    `owners` (one for each polyline) must not fall.
    """
    wiped = 0
    for k in range(len(starts) - 1):
        begin, end = starts[k], starts[k + 1]
        while wiped <= owners[k]:
            planes[wiped] = 0
            wiped += 1
        plane = planes[owners[k]]
        flat = plane.reshape(-1)
        for i in range(begin, end):
            j = i - 1 if i > begin else i
            x0, y0, x1, y1 = points[j, 0], points[j, 1], points[i, 0], points[i, 1]
            _line(plane, flat, x0, y0, x1, y1, first, reach)
    planes[wiped:] = 0


def drawn(
    strokes: Sequence[np.ndarray],
    size: tuple[int, int],
    owners: Sequence[int] | np.ndarray | None = None,
    count: int = 1,
    *,
    first: int = 0,
    reach: int = 0,
) -> np.ndarray:
    """Polylines of integer points (x, y) as 1 on planes of 0.  count H W uint8

    `owners` says which plane each polyline belongs to; by default all belong to the first. Pixels
    in rows and columns before `first` are not drawn; a `reach` of 1 makes lines three pixels wide.

    >>> drawn([np.array([[0, 0], [2, 1]])], (2, 3))[0].tolist()
    [[1, 0, 0], [0, 1, 1]]
    >>> drawn([np.array([[1, 1]])], (3, 4), reach=1)[0].tolist()
    [[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]]
    """
    whose = np.zeros(len(strokes), np.int64) if owners is None else np.asarray(owners, np.int64)
    order = np.argsort(whose, kind="stable")
    some = [strokes[k] for k in order.tolist()]
    starts = np.cumsum([0, *map(len, some)])
    points = np.zeros((0, 2), np.int64)
    if starts[-1]:
        points = np.concatenate([one for one in some if len(one)]).astype(np.int64, copy=False)
    planes = np.empty((count, *size), np.uint8)
    _polylines(planes, points, starts, whose[order], first, reach)
    return planes
