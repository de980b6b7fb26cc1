"""Straight lines on a grid: polylines of many sketches or outlines drawn in one compiled pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _line(plane: np.ndarray, x0: int, y0: int, x1: int, y1: int, first: int, reach: int) -> None:
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
def _polylines(
    planes: np.ndarray,
    points: np.ndarray,
    starts: np.ndarray,
    owners: np.ndarray,
    first: int,
    reach: int,
) -> None:
    for k in range(len(starts) - 1):
        begin, end = starts[k], starts[k + 1]
        plane = planes[owners[k]]
        for i in range(begin, end):
            j = i - 1 if i > begin else i
            _line(plane, points[j, 0], points[j, 1], points[i, 0], points[i, 1], first, reach)


def drawn(
    strokes: Sequence[np.ndarray],
    size: tuple[int, int],
    owners: Sequence[int] | None = None,
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
    planes = np.zeros((count, *size), np.uint8)
    lengths = [len(one) for one in strokes]
    if not sum(lengths):
        return planes
    points = np.concatenate([np.asarray(one, np.int64).reshape(-1, 2) for one in strokes])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    whose = np.zeros(len(lengths), np.int64) if owners is None else np.asarray(owners, np.int64)
    _polylines(planes, points, starts, whose, first, reach)
    return planes
