"""Boxes as arrays (N 4: xmin, ymin, xmax, ymax): how far they overlap, and which of them do."""

from __future__ import annotations

import numpy as np
from numba import njit


def areas(boxes: np.ndarray) -> np.ndarray:
    """The area of every box (... 4); nothing where it is inside out.

    >>> areas(np.array([[0, 0, 2, 3], [1, 0, 0, 1]])).tolist()
    [6, 0]
    """
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def intersections(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The area every box of one list (N 4) shares with every one of another (M 4): N M.

    >>> intersections(np.array([[0, 0, 2, 2]]), np.array([[1, 1, 3, 3], [2, 2, 3, 3]])).tolist()
    [[1, 0]]
    """
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def overlaps(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: N M; 0 where both are empty.

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 1], [5, 5, 5, 5]])).tolist()
    [[0.5, 0.0]]
    """
    both = intersections(one, two)
    return _divided(both, areas(one)[:, None] + areas(two)[None] - both)


def shares(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Which share of every box of the second list lies in each of the first: N M.

    >>> shares(np.array([[0, 0, 9, 9]]), np.array([[8, 0, 10, 1]])).tolist()
    [[0.5]]
    """
    return _divided(intersections(one, two), np.broadcast_to(areas(two), (len(one), len(two))))


def enclosing(boxes: np.ndarray) -> np.ndarray:
    """The smallest box around each group of boxes: N P 4 -> N 4.

    >>> enclosing(np.array([[[0, 0, 1, 1], [3, 1, 4, 2]]])).tolist()
    [[0, 0, 4, 2]]
    """
    return np.concatenate([boxes[..., :2].min(1), boxes[..., 2:].max(1)], 1)


def unsuppressed(
    boxes: np.ndarray, scores: np.ndarray, most: float, edge: float = 0.0
) -> np.ndarray:
    """Rows of the best boxes, best first: none overlaps a better one by more than `most`.

    With `edge` 1 corners are pixels inside the box, so that it is one wider than they are apart.

    >>> boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2.1], [3, 3, 4, 4]])
    >>> unsuppressed(boxes, np.array([0.5, 0.9, 0.1]), 0.5).tolist()
    [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    placed = np.asarray(boxes, np.float64)[order] + [0, 0, edge, edge]
    return order[_unsuppressed(np.ascontiguousarray(placed), most)]


def same_place(
    image: np.ndarray, boxes: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of rows of one image whose boxes overlap by `least` or more, and their overlap.

    >>> boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]])
    >>> [found.tolist() for found in same_place(np.array([7, 8, 7]), boxes, 0.9)]
    [[0], [2], [1.0]]
    """
    order = np.argsort(image, kind="stable")
    first, second, overlap = _same_place(
        np.asarray(image)[order], np.asarray(boxes, np.float64)[order].reshape(-1, 4), least
    )
    one, two = order[first], order[second]
    return np.minimum(one, two), np.maximum(one, two), overlap


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    kind = np.result_type(part, np.float32 if part.dtype == np.float32 else np.float64)
    return np.divide(part, whole, out=np.zeros(part.shape, kind), where=whole > 0)


@njit(cache=True, nogil=True)
def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes, for compiled loops."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@njit(cache=True, nogil=True)
def share(a: np.ndarray, b: np.ndarray) -> float:
    """Which share of box b lies in box a, for compiled loops."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((b[2] - b[0]) * (b[3] - b[1]))


@njit(cache=True, nogil=True)
def _unsuppressed(boxes: np.ndarray, most: float) -> np.ndarray:
    kept = np.ones(len(boxes), np.bool_)
    for row in range(len(boxes)):
        if kept[row]:
            for other in range(row + 1, len(boxes)):
                if kept[other] and overlap(boxes[row], boxes[other]) > most:
                    kept[other] = False
    return np.flatnonzero(kept)


@njit(cache=True, nogil=True)
def _same_place(
    image: np.ndarray, boxes: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, second, found = [0], [0], [0.0]  # of one kind each: taken away below
    for row in range(len(image)):
        other = row + 1
        while other < len(image) and image[other] == image[row]:
            value = overlap(boxes[row], boxes[other])
            if value >= least:
                first.append(row)
                second.append(other)
                found.append(value)
            other += 1
    return np.array(first)[1:], np.array(second)[1:], np.array(found)[1:]
