"""A sensor's mosaic: which colour each place sees, and the same numbers as four planes.

A pattern holds 0 for red, 1 for green and 2 for blue, row by row, and repeats over the whole
mosaic. Everything here takes NumPy arrays and torch tensors alike, with any axes in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from fallow.problems import SettingProblem, did_you_mean

Array = TypeVar("Array", np.ndarray, torch.Tensor)
Pattern = np.ndarray  # p p, of 0, 1 and 2

BAYER = {
    "RGGB": ((0, 1), (1, 2)),
    "BGGR": ((2, 1), (1, 0)),
    "GRBG": ((1, 0), (2, 1)),
    "GBRG": ((1, 2), (0, 1)),
}
COLOURS = "RGB"
# "Gr" is the green in a row with red, "Gb" the one in a row with blue; "G0" and "G1" are the
# greens of the even and of the odd rows
ORDERS = {
    "R Gr Gb B": ("R", "Gr", "Gb", "B"),
    "B G0 R G1": ("B", "G0", "R", "G1"),
    "sites": ("00", "01", "10", "11"),
}


def pattern_of(pattern: str | Sequence[Any] | np.ndarray) -> Pattern:
    """A pattern as an array: from letters (RGGB), from four numbers, or from rows of numbers.

    >>> pattern_of("GRBG").tolist(), pattern_of([2, 1, 1, 0]).tolist()
    ([[1, 0], [2, 1]], [[2, 1], [1, 0]])
    """
    if isinstance(pattern, str):
        if pattern.upper() not in BAYER:
            raise SettingProblem(
                f"{pattern} is no Bayer pattern: {did_you_mean(pattern.upper(), BAYER)}"
            )
        return np.array(BAYER[pattern.upper()], np.int64)
    found = np.array(pattern, np.int64)
    if found.ndim == 1:
        side = round(len(found) ** 0.5)
        found = found.reshape(side, -1) if side and len(found) % side == 0 else found
    if found.ndim != 2 or set(np.unique(found)) != {0, 1, 2}:
        raise SettingProblem(
            f"a pattern names red 0, green 1 and blue 2, row by row, not {found.tolist()}"
        )
    return found


def bayer(pattern: str | Sequence[Any] | np.ndarray) -> Pattern:
    """The same, where only 2 x 2 places with two greens on a diagonal will do.

    >>> bayer("RGGB").shape
    (2, 2)
    """
    found = pattern_of(pattern)
    if found.shape != (2, 2) or found.tolist() not in [list(map(list, p)) for p in BAYER.values()]:
        shape = " x ".join(map(str, found.shape))
        raise SettingProblem(
            f"this needs a Bayer pattern of 2 x 2 places ({', '.join(BAYER)}); a {shape} pattern "
            "such as X-Trans can only be demosaicked by averages"
        )
    return found


def letters(pattern: Pattern) -> str:
    """A pattern in letters.

    >>> letters(bayer("BGGR"))
    'BGGR'
    """
    return "".join(COLOURS[colour] for colour in np.ravel(pattern))


def places(pattern: str | Pattern, order: str | Sequence[str] = "R Gr Gb B") -> list[list[int]]:
    """Row and column, within a cell of 2 x 2, of each plane of an order.

    An order is one of `ORDERS` or names its planes: R, B, Gr, Gb, G0, G1, or 00, 01, 10, 11.

    >>> places("RGGB", "B G0 R G1"), places("BGGR")
    ([[1, 1], [0, 1], [0, 0], [1, 0]], [[1, 1], [1, 0], [0, 1], [0, 0]])
    """
    cell = bayer(pattern)
    red, blue = (np.argwhere(cell == colour)[0].tolist() for colour in (0, 2))
    known = {
        "R": red,
        "B": blue,
        "Gr": [red[0], 1 - red[1]],
        "Gb": [blue[0], 1 - blue[1]],
        "G0": [0, int(np.argmax(cell[0] == 1))],
        "G1": [1, int(np.argmax(cell[1] == 1))],
        **{f"{row}{column}": [row, column] for row in (0, 1) for column in (0, 1)},
    }
    if isinstance(order, str):
        names: Sequence[str] = ORDERS.get(order, order.split())
    else:
        names = order
    for name in names:
        if name not in known:
            raise SettingProblem(f"{name} is no plane of a mosaic: {did_you_mean(name, known)}")
    found = [known[name] for name in names]
    if len({tuple(place) for place in found}) != 4 or len(found) != 4:
        raise SettingProblem(f"an order names each of the four places once, not {' '.join(names)}")
    return found


def even(mosaic: Array) -> Array:
    """The mosaic without its last row or column where there is an odd number of them.

    >>> even(np.zeros((5, 6))).shape
    (4, 6)
    """
    height, width = mosaic.shape[-2:]
    return mosaic[..., : height - height % 2, : width - width % 2]


def planes(
    mosaic: Array, pattern: str | Pattern, order: str | Sequence[str] = "R Gr Gb B"
) -> Array:
    """Four planes of half the size, in the order named.  ... H W -> ... 4 H/2 W/2

    >>> planes(np.arange(4).reshape(2, 2), "GRBG")[:, 0, 0]
    array([1, 0, 3, 2])
    """
    whole = even(mosaic)
    parts = [whole[..., row::2, column::2] for row, column in places(pattern, order)]
    if isinstance(mosaic, torch.Tensor):
        return torch.stack(parts, -3)  # type: ignore[arg-type]
    return np.stack(parts, -3)


def mosaic_of(
    planes: Array, pattern: str | Pattern, order: str | Sequence[str] = "R Gr Gb B"
) -> Array:
    """The mosaic again: what `planes` has taken apart.  ... 4 h w -> ... 2h 2w

    >>> mosaic = np.arange(16).reshape(4, 4)
    >>> bool((mosaic_of(planes(mosaic, "BGGR"), "BGGR") == mosaic).all())
    True
    """
    height, width = planes.shape[-2:]
    shape = (*planes.shape[:-3], 2 * height, 2 * width)
    whole: Any = (
        planes.new_empty(shape)
        if isinstance(planes, torch.Tensor)
        else np.empty(shape, planes.dtype)
    )
    for plane, (row, column) in enumerate(places(pattern, order)):
        whole[..., row::2, column::2] = planes[..., plane, :, :]
    return whole


def mosaicked(rgb: Array, pattern: str | Sequence[Any] | np.ndarray) -> Array:
    """What a sensor would keep of full colours.  ... 3 H W -> ... H W

    >>> mosaicked(np.arange(3)[:, None, None] * np.ones((3, 2, 2)), "RGGB")
    array([[0., 1.],
           [1., 2.]])
    """
    cell = pattern_of(pattern)
    kept: Any = rgb[..., 1, :, :] + 0  # a copy
    for row, column in np.ndindex(*cell.shape):
        here = (..., slice(row, None, cell.shape[0]), slice(column, None, cell.shape[1]))
        kept[here] = rgb[..., int(cell[row, column]), :, :][here]
    return kept


def by_colour(values: Any, pattern: str | Sequence[Any] | np.ndarray) -> np.ndarray:
    """Three values for red, green and blue as one for each place of the pattern.

    >>> by_colour([0.5, 1, 0.7], "RGGB").tolist()
    [[0.5, 1.0], [1.0, 0.7]]
    """
    return np.asarray(values, np.float64)[pattern_of(pattern)]


def over(cell: Any, like: Array) -> Array:
    """One value for each place of a cell, repeated over a mosaic as large as `like`.  H W

    A single value does for all places; four in a row are those of 2 x 2 places, row by row.

    >>> over([1, 2, 3, 4], np.zeros((3, 3)))
    array([[1., 2., 1.],
           [3., 4., 3.],
           [1., 2., 1.]])
    """
    values = np.asarray(cell, np.float64)
    if values.ndim < 2:
        if values.size not in (1, 4):
            raise SettingProblem(f"levels are one number, or four for 2 x 2 places, not {values}")
        values = values.reshape(2, 2) if values.size == 4 else values.reshape(1, 1)
    height, width = like.shape[-2:]
    times = (-(-height // values.shape[0]), -(-width // values.shape[1]))
    whole = np.tile(values, times)[:height, :width]
    if isinstance(like, torch.Tensor):
        return torch.as_tensor(whole, device=like.device).to(
            like.dtype if like.is_floating_point() else torch.float32
        )
    return whole.astype(like.dtype if like.dtype.kind == "f" else np.float64)


def shifted(pattern: Pattern, down: int, right: int) -> Pattern:
    """The pattern of a mosaic whose first rows and columns have been cut off.

    >>> letters(shifted(bayer("RGGB"), 0, 1)), letters(shifted(bayer("RGGB"), 2, 2))
    ('GRBG', 'RGGB')
    """
    return np.roll(pattern, (-down, -right), (0, 1))


def flipped(mosaic: Array, axis: int) -> Array:
    """A mirrored mosaic (axis -1: left and right, -2: up and down) that keeps its Bayer pattern.

    A plain mirror image would have another one: the outermost row or column at either end goes.

    >>> flipped(np.arange(12).reshape(2, 6), -1).tolist()
    [[4, 3, 2, 1], [10, 9, 8, 7]]
    """
    inner = even(mosaic)
    cut = inner[..., 1:-1] if axis == -1 else inner[..., 1:-1, :]
    return torch.flip(cut, (axis,)) if isinstance(cut, torch.Tensor) else np.flip(cut, axis)
