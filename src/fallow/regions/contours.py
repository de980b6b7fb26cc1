"""Outlines: traced around a mask, smoothed, put one way round, and what is near each point."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import ndimage

from fallow.images.lines import drawn
from fallow.problems import SourceProblem

SMOOTH = 3.0  # deviation, in points
PATCH = 7  # pixels a side
SHORTEST = 20  # points of an outline: with fewer no two can be told to touch


class NoOutline(SourceProblem):
    """A piece whose outline cannot be used."""


@njit(cache=True, nogil=True)
def _trace(mask: np.ndarray, row: int, column: int) -> np.ndarray:
    """The outer border of the part that begins at a first pixel in reading order.  n 2"""
    # neighbours clockwise on the screen from the left one on
    rows = np.array([0, -1, -1, -1, 0, 1, 1, 1])
    columns = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
    most = 4 * mask.size + 4
    found = np.empty((most, 2), np.int64)
    count = 0
    r, c, came = row, column, 0  # nothing of the part lies to the left of it
    first = -1
    while count < most:
        found[count, 0], found[count, 1] = r, c
        count += 1
        step = -1
        for k in range(1, 9):
            way = (came + k) % 8
            y, x = r + rows[way], c + columns[way]
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x]:
                step = way
                break
        if step < 0:
            break  # a single pixel
        if count == 1:
            first = step
        elif r == row and c == column and step == first:
            count -= 1
            break
        r, c = r + rows[step], c + columns[step]
        came = (step + 4) % 8
    return found[:count]


def traced(mask: np.ndarray) -> np.ndarray:
    """The outer border of the largest part of a mask, pixel by pixel, as (x, y).  n 2

    >>> traced(np.ones((2, 2), bool)).tolist()
    [[0, 0], [1, 0], [1, 1], [0, 1]]
    """
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        raise NoOutline("there is no piece in the picture: nothing stands out from the ground")
    kept = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    row = int(kept.any(1).argmax())
    return _trace(kept, row, int(kept[row].argmax()))[:, ::-1].copy()  # type: ignore[no-any-return]


def outline(mask: np.ndarray, smooth: float = SMOOTH) -> np.ndarray:
    """The outline of a mask's largest part: smoothed, whole pixels, none twice running.  n 2

    It runs one way round for every mask, so that two pieces that touch run along each other in
    opposite directions.

    >>> mask = np.zeros((40, 60), bool)
    >>> mask[5:35, 5:55] = True
    >>> len(outline(mask)) > 100
    True
    """
    border = traced(mask)
    soft = ndimage.gaussian_filter1d(border.astype(float), smooth, axis=0, mode="wrap")
    points = soft.astype(np.int64)
    kept = points[(points != np.roll(points, 1, 0)).any(1)]
    if len(kept) < SHORTEST:
        raise NoOutline(
            f"the outline of the piece is {len(kept)} pixels long and {SHORTEST} are the least: "
            "give a larger picture of it"
        )
    return one_way(kept)


def one_way(points: np.ndarray) -> np.ndarray:
    """A closed line the way round that has its middle to the same side, whatever way it came.

    >>> square = np.array([[0, 0], [0, 2], [2, 2], [2, 0]])
    >>> one_way(square).tolist() == one_way(square[::-1])[[1, 2, 3, 0]].tolist()
    False
    >>> bool((twice_area(one_way(square)) > 0) == (twice_area(one_way(square[::-1])) > 0))
    True
    """
    return points if twice_area(points) > 0 else points[::-1].copy()


def twice_area(points: np.ndarray) -> float:
    """Twice the area a closed line encloses, above 0 where it runs clockwise on the screen.

    >>> twice_area(np.array([[0, 0], [2, 0], [2, 2], [0, 2]]))
    8.0
    """
    # by the middle, the sum is of the crosses of the way to it and along the line
    spoke = points - points.mean(0)
    x, y = spoke.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def line_patches(
    points: np.ndarray, size: tuple[int, int], width: int = PATCH, *, fill: int = 0, line: int = 1
) -> np.ndarray:
    """Around every point, where the outline (`line`) and what it encloses (`fill`) lies.  n k k

    0 is outside: with `fill` 0 the line alone is drawn, with 1 all of the piece, and with a line
    of 1 and a fill of 2 they are told apart.

    >>> ring = np.array([[1, 1], [2, 1], [3, 1], [3, 2], [3, 3], [2, 3], [1, 3], [1, 2]])
    >>> line_patches(ring, (5, 5), 3, fill=2)[0].tolist()
    [[0, 0, 0], [0, 1, 1], [0, 1, 2]]
    """
    return patches(line_plane(points, size, fill=fill, line=line), points, width)


def line_plane(
    points: np.ndarray, size: tuple[int, int], *, fill: int = 0, line: int = 1
) -> np.ndarray:
    """A plane of `size` with an outline and what it encloses drawn in it.  H W uint8"""
    closed = np.concatenate([points, points[:1]])
    drawing = drawn([closed], size)[0].astype(bool)
    plane = np.where(drawing, line, 0).astype(np.uint8)
    if fill:
        plane[ndimage.binary_fill_holes(drawing) & ~drawing] = fill
    return plane


def ways(points: np.ndarray, reach: int = 6) -> np.ndarray:
    """Which way a closed line runs at each of its points, as unit vectors.  n 2

    >>> square = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2], [0, 1]])
    >>> ways(square, 1)[1].tolist()
    [1.0, 0.0]
    """
    step = (np.roll(points, -reach, 0) - np.roll(points, reach, 0)).astype(float)
    return step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)


def courses(points: np.ndarray, ways: np.ndarray, offsets: tuple[int, ...]) -> np.ndarray:
    """Where a closed line is so many points before or behind each point, seen along it.  n R 2

    The way the line runs is x, its right y, and a straight line would be at -1 or 1.

    >>> square = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2], [0, 1]])
    >>> courses(square, ways(square, 1), (-1, 1))[1].tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    right = np.stack([-ways[:, 1], ways[:, 0]], 1)
    found = []
    for offset in offsets:
        step = (np.roll(points, -offset, 0) - points) / abs(offset)
        found.append(np.stack([(step * ways).sum(1), (step * right).sum(1)], 1))
    return np.stack(found, 1).astype(np.float32)


def along(
    plane: np.ndarray, points: np.ndarray, ways: np.ndarray, width: int, step: int, order: int
) -> np.ndarray:
    """Patches that lie along a line: their x runs its way, their y to its right.  n k k, n k k C

    `step` pixels lie from place to place; `order` 1 reads between pixels, 0 the nearest one.

    >>> plane = np.arange(25).reshape(5, 5)
    >>> along(plane, np.array([[2, 2]]), np.array([[0.0, 1.0]]), 3, 1, 0)[0].tolist()
    [[8, 13, 18], [7, 12, 17], [6, 11, 16]]
    """
    reach = step * (np.arange(width) - width // 2)
    right = np.stack([-ways[:, 1], ways[:, 0]], 1)
    places = (
        points[:, None, None]
        + ways[:, None, None] * reach[None, None, :, None]
        + right[:, None, None] * reach[None, :, None, None]
    )  # n k k 2
    grid = [places[..., 1], places[..., 0]]
    if plane.ndim == 2:
        return ndimage.map_coordinates(plane, grid, order=order)  # type: ignore[no-any-return]
    planes = [ndimage.map_coordinates(one, grid, order=order) for one in np.moveaxis(plane, 2, 0)]
    return np.stack(planes, -1)


def patches(plane: np.ndarray, points: np.ndarray, width: int = PATCH) -> np.ndarray:
    """What a plane (H W or H W C) holds around points (x, y); 0 beyond it.  n k k, n k k C

    >>> patches(np.arange(6).reshape(2, 3), np.array([[1, 0]]), 3)[0].tolist()
    [[0, 0, 0], [0, 1, 2], [3, 4, 5]]
    """
    reach = width // 2
    framed = np.pad(plane, [(reach, reach), (reach, reach), *[(0, 0)] * (plane.ndim - 2)])
    places = np.arange(width)
    rows = points[:, 1, None, None] + places[:, None]
    columns = points[:, 0, None, None] + places[None]
    return framed[rows, columns]  # type: ignore[no-any-return]
