"""Straight lines on a grid: polylines of many sketches or outlines drawn in one compiled pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _line(plane: np.ndarray, x0: int, y0: int, x1: int, y1: int, value: int) -> None:
    """Bresenham's line, both ends included; what lies outside the plane is not drawn."""
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
        if 0 <= x < plane.shape[1] and 0 <= y < plane.shape[0]:
            plane[y, x] = value
        if error >= 0:
            aside += 1
            error -= 2 * across
        error += 2 * down


@njit(cache=True, nogil=True)
def _polylines(
    planes: np.ndarray, points: np.ndarray, starts: np.ndarray, owners: np.ndarray, value: int
) -> None:
    for k in range(len(starts) - 1):
        first, last = starts[k], starts[k + 1]
        plane = planes[owners[k]]
        for i in range(first, last):
            j = i - 1 if i > first else i
            _line(plane, points[j, 0], points[j, 1], points[i, 0], points[i, 1], value)


def drawn(
    strokes: Sequence[np.ndarray],
    size: tuple[int, int],
    owners: Sequence[int] | None = None,
    count: int = 1,
) -> np.ndarray:
    """Polylines of integer points (x, y) as 1 on planes of 0.  count H W uint8

    `owners` says which plane each polyline belongs to; by default all belong to the first.

    >>> drawn([np.array([[0, 0], [2, 1]])], (2, 3))[0].tolist()
    [[1, 0, 0], [0, 1, 1]]
    """
    planes = np.zeros((count, *size), np.uint8)
    lengths = [len(one) for one in strokes]
    if not sum(lengths):
        return planes
    points = np.concatenate([np.asarray(one, np.int64).reshape(-1, 2) for one in strokes])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    whose = np.zeros(len(lengths), np.int64) if owners is None else np.asarray(owners, np.int64)
    _polylines(planes, points, starts, whose, 1)
    return planes


def thickened(planes: np.ndarray) -> np.ndarray:
    """Marks grown by one pixel up, down, left and right.  ... H W

    >>> thickened(np.eye(3, dtype=np.uint8)).tolist()
    [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    """
    grown = planes.copy()
    grown[..., 1:, :] |= planes[..., :-1, :]
    grown[..., :-1, :] |= planes[..., 1:, :]
    grown[..., :, 1:] |= planes[..., :, :-1]
    grown[..., :, :-1] |= planes[..., :, 1:]
    return grown
