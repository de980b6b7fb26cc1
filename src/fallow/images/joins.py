"""Which things of a map lie in which boxes, through an index of cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from fallow.images.maps import Thing

CELL = 0.01  # degrees; about a kilometre
KINDS = {"point": 0, "line": 1, "area": 2}


def joined(boxes: np.ndarray, things: Sequence[Thing]) -> list[np.ndarray]:
    """For every box (N 4: west, south, east, north) the things that lie in it, whole or in part.

    Through cells of a hundredth of a degree, so that time grows with what is there, not with its
    square. A box whose east lies west of its west crosses the date line.

    >>> tree = Thing("n1", "point", np.array([[10.0, 50.0]]), {"natural": "tree"})
    >>> joined(np.array([[9.9, 49.9, 10.1, 50.1], [0, 0, 1, 1]]), [tree])
    [array([0]), array([], dtype=int64)]
    """
    flat = np.concatenate([one.shape for one in things]).astype(np.float64)
    lengths = np.fromiter((len(one.shape) for one in things), np.int64, len(things))
    kinds = np.fromiter((KINDS[one.kind] for one in things), np.int64, len(things))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    bounds = np.concatenate([np.minimum.reduceat(flat, ends[:-1]),
                             np.maximum.reduceat(flat, ends[:-1])], 1)  # fmt: skip
    of, parts = _parts(np.asarray(boxes, np.float64))
    pairs = _met(parts, bounds, kinds, flat, ends, *_index(bounds))
    key = np.unique(of[pairs[:, 0]] * len(things) + pairs[:, 1])
    edges = np.searchsorted(key, np.arange(1, len(boxes)) * len(things))
    return np.split(key % len(things), edges) if len(boxes) else []


def _parts(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that do not cross the date line, and the box each is of; unknown ones are left out."""
    known = np.isfinite(boxes).all(1)
    across = known & (boxes[:, 0] > boxes[:, 2])
    first, second = boxes.copy(), boxes[across]
    first[across, 2], second[:, 0] = 180.0, -180.0
    of = np.concatenate([np.flatnonzero(known), np.flatnonzero(across)])
    return of, np.concatenate([first[known], second])


def _index(bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells in order, where each one's things begin, and these things one after the other."""
    low = np.floor(bounds[:, :2] / CELL).astype(np.int64)
    high = np.floor(bounds[:, 2:] / CELL).astype(np.int64)
    spans = (high - low + 1).prod(1)
    rows = np.repeat(np.arange(len(bounds)), spans)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(spans) - spans, spans)
    wide = (high - low + 1)[rows, 0]
    number = _number(low[rows, 0] + within % wide, low[rows, 1] + within // wide)
    order = np.argsort(number, kind="stable")
    cells, first = np.unique(number[order], return_index=True)
    return cells, np.append(first, len(rows)), rows[order]


@njit(cache=True)
def _number(x, y):  # type: ignore[no-untyped-def]
    """One number for a cell's column and row."""
    return (y + 40_000) * 100_000 + x + 40_000


@njit(cache=True)
def _met(parts, bounds, kinds, flat, ends, cells, first, rows):  # type: ignore[no-untyped-def]
    """Pairs of a box and a thing that lies in it, in no order.  P 2"""
    found = np.empty((1024, 2), np.int64)
    count = 0
    looked = np.full(len(bounds), -1)  # by which box a thing was looked at last
    for part in range(len(parts)):
        west, south, east, north = parts[part]
        for y in range(int(np.floor(south / CELL)), int(np.floor(north / CELL)) + 1):
            left = np.searchsorted(cells, _number(int(np.floor(west / CELL)), y))
            last = _number(int(np.floor(east / CELL)), y)  # cells of a row follow each other
            while left < len(cells) and cells[left] <= last:
                for place in range(first[left], first[left + 1]):
                    one = rows[place]
                    if looked[one] == part:
                        continue
                    looked[one] = part
                    if (
                        bounds[one, 0] <= east and bounds[one, 2] >= west
                        and bounds[one, 1] <= north and bounds[one, 3] >= south
                        and _meets(flat[ends[one] : ends[one + 1]], kinds[one],
                                   west, south, east, north)
                    ):  # fmt: skip
                        if count == len(found):
                            found = np.concatenate((found, np.empty_like(found)))
                        found[count] = part, one
                        count += 1
                left += 1
    return found[:count]


@njit(cache=True)
def _meets(shape, kind, west, south, east, north):  # type: ignore[no-untyped-def]
    """Whether a thing meets a box: a corner inside, an edge across, or around it."""
    for p in range(len(shape)):
        if west <= shape[p, 0] <= east and south <= shape[p, 1] <= north:
            return True
    if kind == 0:
        return False
    for p in range(len(shape) - 1):
        if _crosses(shape[p, 0], shape[p, 1], shape[p + 1, 0], shape[p + 1, 1],
                    west, south, east, north):  # fmt: skip
            return True
    if kind == 1:
        return False
    inside = False
    q = len(shape) - 1
    for p in range(len(shape)):
        if (shape[p, 1] > south) != (shape[q, 1] > south):
            at = shape[q, 0] + (south - shape[q, 1]) / (shape[p, 1] - shape[q, 1]) * (
                shape[p, 0] - shape[q, 0]
            )
            if west < at:
                inside = not inside
        q = p
    return inside


@njit(cache=True)
def _crosses(x1, y1, x2, y2, west, south, east, north):  # type: ignore[no-untyped-def]
    """Whether a segment meets a box, by cutting it at the box's four sides."""
    low, high = 0.0, 1.0
    for step, first, last in (
        (x2 - x1, west - x1, east - x1), (y2 - y1, south - y1, north - y1),
    ):  # fmt: skip
        if step == 0:
            if first > 0 or last < 0:
                return False
            continue
        one, two = first / step, last / step
        if one > two:
            one, two = two, one
        low, high = max(low, one), min(high, two)
    return low <= high
