"""Parts of a photo at its own resolution, in place of a shrunken whole: crops, tiles, fragments."""

from __future__ import annotations

import numpy as np

from fallow.problems import Problem

Box = tuple[int, int, int, int]  # top, left, height, width


def five_crops(height: int, width: int, side: int) -> list[Box]:
    """The centre, and the four corners: upper and lower left, upper and lower right.

    >>> five_crops(260, 300, 224)[0]
    (18, 38, 224, 224)
    """
    _large_enough(height, width, side)
    down, right = height - side, width - side
    middle = (round(down / 2), round(right / 2))  # of two equal middles the even one
    places = [middle, (0, 0), (down, 0), (0, right), (down, right)]
    return [(top, left, side, side) for top, left in places]


def tiles(height: int, width: int, side: int, most: int) -> list[Box]:
    """At most `most` tiles in even rows and columns; where there are two or more, up to the edges.

    >>> tiles(100, 200, 50, 8)[-1], len(tiles(100, 200, 50, 8)), tiles(60, 80, 50, 1)
    ((50, 150, 50, 50), 8, [(5, 15, 50, 50)])
    """
    _large_enough(height, width, side)
    down, across = -(-height // side), -(-width // side)
    while down * across > most:
        if down >= across:
            down -= 1
        else:
            across -= 1
    tops, lefts = _even(height - side, down), _even(width - side, across)
    return [(top, left, side, side) for top in tops for left in lefts]


def _even(room: int, count: int) -> list[int]:
    if count == 1:
        return [room // 2]
    return np.linspace(0, room, count).round().astype(int).tolist()


def fragments(
    pixels: np.ndarray, grid: int, side: int, down: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """One raw patch of each of grid x grid cells, side by side: (..., H, W) -> (..., grid * side).

    `down` and `right` (grid grid) are the patches' places in their cells, as `offsets` draws them.

    >>> cells = fragments(np.arange(16).reshape(4, 4), 2, 1, np.zeros((2, 2)), np.zeros((2, 2)))
    >>> cells.tolist()
    [[0, 2], [8, 10]]
    """
    height, width = pixels.shape[-2:]
    _large_enough(height, width, grid * side)
    made = np.empty((*pixels.shape[:-2], grid * side, grid * side), pixels.dtype)
    for row in range(grid):
        for column in range(grid):
            top = min(height // grid * row, height - side) + int(down[row, column])
            left = min(width // grid * column, width - side) + int(right[row, column])
            made[..., row * side : (row + 1) * side, column * side : (column + 1) * side] = pixels[
                ..., top : top + side, left : left + side
            ]
    return made


def offsets(
    height: int, width: int, grid: int, side: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Where in its cell each patch lies, by lot; nowhere but at its corner if it fills the cell.

    >>> offsets(32, 32, 4, 8)[0].tolist()[0]
    [0, 0, 0, 0]
    """
    draw = np.random.default_rng(seed)
    down, right = (
        draw.integers(0, max(size // grid - side, 0) + 1, (grid, grid)) for size in (height, width)
    )
    return down, right


def _large_enough(height: int, width: int, side: int) -> None:
    if min(height, width) < side:
        raise Problem(
            f"a photo of {width} x {height} pixels holds no {side} x {side}: use smaller parts"
        )
