"""Full colours from a mosaic: bilinear, Malvar, edge-aware, Menon, and averages for any pattern.

Bilinear and Malvar are linear in the mosaic and exist for torch tensors, too, where derivatives
pass through. Beyond the border lies the mirror image that keeps the pattern (the outermost row is
not repeated), so that an even colour stays even up to the last pixel. None of them cuts its
values: Malvar and Menon overshoot at edges.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-overload"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor

from fallow.problems import SettingProblem, SourceProblem, did_you_mean
from fallow.raw.mosaic import Pattern, bayer, pattern_of

_options = {"cache": True, "nogil": True}

# The four filters of Malvar, He and Cutler (2004), times 8, and their bilinear counterparts.
# green: green where red or blue was seen; along, across: a colour where green was seen, its own
# places lying left and right, or above and below; opposite: red where blue was seen, or blue
# where red was.
MALVAR = {
    "green": "0 0 -1 0 0 | 0 0 2 0 0 | -1 2 4 2 -1 | 0 0 2 0 0 | 0 0 -1 0 0",
    "along": "0 0 .5 0 0 | 0 -1 0 -1 0 | -1 4 5 4 -1 | 0 -1 0 -1 0 | 0 0 .5 0 0",
    "opposite": "0 0 -1.5 0 0 | 0 2 0 2 0 | -1.5 0 6 0 -1.5 | 0 2 0 2 0 | 0 0 -1.5 0 0",
}
BILINEAR = {
    "green": "0 0 0 0 0 | 0 0 2 0 0 | 0 2 0 2 0 | 0 0 2 0 0 | 0 0 0 0 0",
    "along": "0 0 0 0 0 | 0 0 0 0 0 | 0 4 0 4 0 | 0 0 0 0 0 | 0 0 0 0 0",
    "opposite": "0 0 0 0 0 | 0 2 0 2 0 | 0 0 0 0 0 | 0 2 0 2 0 | 0 0 0 0 0",
}
LINEAR = {"bilinear": BILINEAR, "malvar": MALVAR}


def demosaicked(mosaic: np.ndarray, pattern: Any, method: str = "malvar") -> np.ndarray:
    """Full colours of a mosaic by a method's name.  H W -> H W 3

    >>> demosaicked(np.full((6, 8), 0.5), "RGGB", "menon")[0, 0].tolist()
    [0.5, 0.5, 0.5]
    """
    if method not in METHODS:
        raise SettingProblem(f"{method} is no demosaicking: {did_you_mean(method, METHODS)}")
    return METHODS[method](mosaic, pattern)


def bilinear(mosaic: np.ndarray, pattern: Any) -> np.ndarray:
    """The mean of the nearest places that saw the colour.  H W -> H W 3

    >>> bilinear(np.array([[4.0, 0, 8], [0, 9, 0], [4, 0, 8]]), "RGGB")[1, 1].tolist()
    [6.0, 0.0, 9.0]
    """
    return _linear(mosaic, pattern, BILINEAR)


def malvar(mosaic: np.ndarray, pattern: Any) -> np.ndarray:
    """Bilinear, corrected by how the colour that was seen bends (Malvar et al. 2004).

    >>> malvar(np.full((5, 5), 0.25), "GRBG").std()
    np.float64(0.0)
    """
    return _linear(mosaic, pattern, MALVAR)


def linear_tensor(mosaic: Tensor, pattern: Any, method: str = "malvar") -> Tensor:
    """Bilinear or Malvar for tensors, through which derivatives pass.  ... H W -> ... 3 H W

    >>> linear_tensor(torch.full((2, 6, 8), 0.5), "BGGR").shape
    torch.Size([2, 3, 6, 8])
    """
    cell = bayer(pattern)
    _large_enough(mosaic.shape[-2:])
    height, width = mosaic.shape[-2:]
    flat = mosaic.reshape(-1, 1, height, width)
    taps = mosaic.new_tensor(_filters(LINEAR[method]))  # 4 5 5
    filtered = F.conv2d(F.pad(flat, (2, 2, 2, 2), mode="reflect"), taps[:, None])
    seen = torch.cat([flat, filtered], 1)  # N 5 H W: as it is, green, along, across, opposite
    out = seen.new_empty(len(flat), 3, height, width)
    for row, column in np.ndindex(2, 2):
        here = (..., slice(row, None, 2), slice(column, None, 2))
        for colour, source in enumerate(_sources(cell, row, column)):
            out[:, colour][here] = seen[:, source][here]
    return out.reshape(*mosaic.shape[:-2], 3, height, width)


def edge_aware(mosaic: np.ndarray, pattern: Any) -> np.ndarray:
    """Bilinear, but green comes from the side of the smaller step, so that lines stay lines.

    >>> lines = np.repeat([[1.0, 0.0]], 6, axis=0).repeat(2, axis=1).repeat(2, axis=1)
    >>> edge_aware(lines, "RGGB")[2, :, 1].tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    values = _ready(mosaic)
    out = _linear(values, pattern, BILINEAR)
    _edge_green(values, bayer(pattern), out)
    return out


def menon(mosaic: np.ndarray, pattern: Any) -> np.ndarray:
    """Directional, with a posteriori decision and refining (Menon et al. 2007).

    Green is filled along rows and along columns; of the two the one stays along which the
    difference of colour and green changes less. Red and blue follow from their difference to
    green, and all three are smoothed along the direction chosen.

    >>> menon(np.full((5, 6), 0.25), "BGGR").std()
    np.float64(0.0)
    """
    values = _ready(mosaic)
    cell = bayer(pattern)
    chosen = _chosen_direction(values, cell)
    return _menon_colours(values, cell, *chosen)


def averaged(mosaic: np.ndarray, pattern: Any, sigma: float | None = None) -> np.ndarray:
    """For any pattern (X-Trans among them): the weighted mean of the places that saw a colour.

    >>> averaged(np.full((12, 12), 0.5), np.tile([[1, 1, 0], [1, 1, 2]], (3, 2))).round(6).std()
    np.float64(0.0)
    """
    from scipy.ndimage import gaussian_filter

    cell = pattern_of(pattern)
    values = np.asarray(mosaic, np.float64 if mosaic.dtype == np.float64 else np.float32)
    times = [-(-have // side) for have, side in zip(values.shape, cell.shape, strict=True)]
    seen = np.tile(cell, times)[: values.shape[0], : values.shape[1]]
    wide = sigma if sigma is not None else 0.2 * max(cell.shape)
    out = np.empty((*values.shape, 3), values.dtype)
    for colour in range(3):
        here = (seen == colour).astype(values.dtype)
        weight = gaussian_filter(here, wide, mode="constant", truncate=6)
        mean = gaussian_filter(values * here, wide, mode="constant", truncate=6) / weight
        out[..., colour] = np.where(here > 0, values, mean)
    return out


METHODS: dict[str, Callable[[np.ndarray, Any], np.ndarray]] = {
    "bilinear": bilinear,
    "malvar": malvar,
    "edge": edge_aware,
    "menon": menon,
    "average": averaged,
}


def quantised(light: np.ndarray, bits: int = 14) -> np.ndarray:
    """Light cut to whole steps, as programs with whole numbers see it.

    >>> quantised(np.array([0.5, 1.0]), 2).tolist()
    [0.3333333333333333, 1.0]
    """
    steps = (1 << bits) - 1
    return np.floor(light * steps) / steps


# --- the work ---


def _linear(mosaic: np.ndarray, pattern: Any, filters: dict[str, str]) -> np.ndarray:
    values = _ready(mosaic)
    cell = bayer(pattern)
    _large_enough(values.shape)
    padded = np.pad(values, 2, mode="reflect")
    sources = np.array([[_sources(cell, row, column) for column in (0, 1)] for row in (0, 1)])
    return _filtered(padded, sources, _filters(filters).astype(values.dtype))


def _ready(mosaic: np.ndarray) -> np.ndarray:
    values = np.ascontiguousarray(
        mosaic, np.float64 if np.asarray(mosaic).dtype == np.float64 else np.float32
    )
    if values.ndim != 2:
        raise SourceProblem(f"a mosaic has rows and columns only, not shape {values.shape}")
    _large_enough(values.shape)
    return values


def _large_enough(shape: Any) -> None:
    if min(shape) < 3:
        raise SourceProblem(f"a mosaic of {shape[0]} x {shape[1]} is too small: 3 x 3 at least")


def _filters(named: dict[str, str]) -> np.ndarray:
    green, along, opposite = (
        np.array([row.split() for row in named[name].split("|")], np.float64)
        for name in ("green", "along", "opposite")
    )
    return np.stack([green, along, along.T, opposite]) / 8  # 4 5 5


def _sources(cell: Pattern, row: int, column: int) -> tuple[int, int, int]:
    """Where red, green and blue of a place come from: 0 as seen, else 1 + the filter's number."""
    seen = int(cell[row, column])
    if seen != 1:
        return (0, 1, 4) if seen == 0 else (4, 1, 0)
    red_along = int(cell[row, 1 - column]) == 0
    return (2, 0, 3) if red_along else (3, 0, 2)


@njit(**_options)
def _filtered(padded, sources, filters):
    height, width = padded.shape[0] - 4, padded.shape[1] - 4
    out = np.empty((height, width, 3), padded.dtype)
    for y in range(height):
        for x in range(width):
            for colour in range(3):
                source = sources[y & 1, x & 1, colour]
                if source == 0:
                    out[y, x, colour] = padded[y + 2, x + 2]
                    continue
                total = padded.dtype.type(0)
                for i in range(5):
                    for j in range(5):
                        total += filters[source - 1, i, j] * padded[y + i, x + j]
                out[y, x, colour] = total
    return out


@njit(**_options)
def _mirrored(place, length):
    """A place beyond the border, seen in a mirror that stands on the outermost row."""
    if place < 0:
        place = -place
    return place if place < length else 2 * length - 2 - place


@njit(**_options)
def _beside(plane, y, x):
    """The mean of left and right."""
    width = plane.shape[1]
    return (plane[y, _mirrored(x - 1, width)] + plane[y, _mirrored(x + 1, width)]) / 2


@njit(**_options)
def _above(plane, y, x):
    """The mean of above and below."""
    height = plane.shape[0]
    return (plane[_mirrored(y - 1, height), x] + plane[_mirrored(y + 1, height), x]) / 2


@njit(**_options)
def _edge_green(mosaic, cell, out):
    height, width = mosaic.shape
    for y in range(height):
        up, down = _mirrored(y - 1, height), _mirrored(y + 1, height)
        for x in range(width):
            if cell[y & 1, x & 1] == 1:
                continue
            left, right = _mirrored(x - 1, width), _mirrored(x + 1, width)
            across = abs(mosaic[y, left] - mosaic[y, right])
            along = abs(mosaic[up, x] - mosaic[down, x])
            out[y, x, 1] = _above(mosaic, y, x) if across > along else _beside(mosaic, y, x)


@njit(**_options)
def _chosen_direction(mosaic, cell):
    """Green everywhere, and whether it was filled along its row."""
    height, width = mosaic.shape
    rows, columns = mosaic.copy(), mosaic.copy()  # green filled along rows, along columns
    for y in range(height):
        up, down = _mirrored(y - 2, height), _mirrored(y + 2, height)
        for x in range(width):
            if cell[y & 1, x & 1] == 1:
                continue
            left, right = _mirrored(x - 2, width), _mirrored(x + 2, width)
            here = mosaic[y, x]
            bend = (2 * here - mosaic[y, left] - mosaic[y, right]) / 4
            rows[y, x] = _beside(mosaic, y, x) + bend
            bend = (2 * here - mosaic[up, x] - mosaic[down, x]) / 4
            columns[y, x] = _above(mosaic, y, x) + bend
    # how much the difference of colour and green changes to the next place of that colour
    change_along, change_down = np.zeros_like(mosaic), np.zeros_like(mosaic)
    for y in range(height):
        lower = _mirrored(y + 2, height)
        for x in range(width):
            if cell[y & 1, x & 1] == 1:
                continue
            right = _mirrored(x + 2, width)
            here = mosaic[y, x]
            change_along[y, x] = abs(here - rows[y, x] - mosaic[y, right] + rows[y, right])
            change_down[y, x] = abs(here - columns[y, x] - mosaic[lower, x] + columns[lower, x])
    along = np.empty((height, width), np.bool_)
    green = rows
    for y in range(height):
        for x in range(width):
            if cell[y & 1, x & 1] == 1:
                # no choice is needed here, but refining asks for none either
                along[y, x] = True
                continue
            along[y, x] = _summed(change_down, y, x, True) >= _summed(change_along, y, x, False)
            if not along[y, x]:
                green[y, x] = columns[y, x]
    return green, along


@njit(**_options)
def _weighted(change, y, x, weight):
    if 0 <= y < change.shape[0] and 0 <= x < change.shape[1]:
        return change[y, x] * weight
    return change.dtype.type(0)


@njit(**_options)
def _summed(change, y, x, turned):
    """Changes nearby: those before and after in the direction, and those beside them."""
    total = change.dtype.type(0)
    for side in (-2, 0, 2):
        weight = 3 if side == 0 else 1
        for step in (-2, 0):
            if turned:
                total += _weighted(change, y + step, x + side, weight)
            else:
                total += _weighted(change, y + side, x + step, weight)
    for side in (-1, 1):
        if turned:
            total += _weighted(change, y - 1, x + side, 1)
        else:
            total += _weighted(change, y + side, x - 1, 1)
    return total


@njit(**_options)
def _smooth(plane, y, x, along):
    """The mean of three neighbours in the direction chosen."""
    side = _beside(plane, y, x) if along else _above(plane, y, x)
    return (plane[y, x] + 2 * side) / 3


@njit(**_options)
def _menon_colours(mosaic, cell, green, along):
    height, width = mosaic.shape
    out = np.empty((height, width, 3), mosaic.dtype)
    colours = np.zeros((3, height, width), mosaic.dtype)
    colours[1] = green
    for y in range(height):
        for x in range(width):
            if cell[y & 1, x & 1] != 1:
                colours[cell[y & 1, x & 1], y, x] = mosaic[y, x]
    # red and blue where green was seen: from the neighbours of that colour, over green
    for y in range(height):
        for x in range(width):
            if cell[y & 1, x & 1] != 1:
                continue
            beside = cell[y & 1, 1 - (x & 1)]
            plane = colours[beside]
            plane[y, x] = green[y, x] + _beside(plane, y, x) - _beside(green, y, x)
            plane = colours[2 - beside]
            plane[y, x] = green[y, x] + _above(plane, y, x) - _above(green, y, x)
    # red where blue was seen, and blue where red was
    for y in range(height):
        for x in range(width):
            seen = cell[y & 1, x & 1]
            if seen == 1:
                continue
            own, other = colours[seen], colours[2 - seen]
            if along[y, x]:
                other[y, x] = own[y, x] + _beside(other, y, x) - _beside(own, y, x)
            else:
                other[y, x] = own[y, x] + _above(other, y, x) - _above(own, y, x)
    # refining: green by the smoothed difference to the colour that was seen
    smooth = np.empty_like(mosaic)
    for colour in (0, 2):
        difference = colours[colour] - green
        for y in range(height):
            for x in range(width):
                if cell[y & 1, x & 1] == colour:
                    smooth[y, x] = mosaic[y, x] - _smooth(difference, y, x, along[y, x])
    for y in range(height):
        for x in range(width):
            if cell[y & 1, x & 1] != 1:
                green[y, x] = smooth[y, x]
    for colour in (0, 2):  # red and blue where green was seen, over the refined green
        difference = colours[colour] - green
        for y in range(height):
            for x in range(width):
                if cell[y & 1, x & 1] != 1:
                    continue
                if cell[y & 1, 1 - (x & 1)] == colour:
                    change = _beside(difference, y, x)
                else:
                    change = _above(difference, y, x)
                colours[colour, y, x] = green[y, x] + change
    difference = colours[0] - colours[2]
    for y in range(height):
        for x in range(width):
            seen = cell[y & 1, x & 1]
            if seen != 1:
                change = _smooth(difference, y, x, along[y, x])
                colours[2 - seen, y, x] = mosaic[y, x] + (change if seen == 2 else -change)
            out[y, x, 0] = colours[0, y, x]
            out[y, x, 1] = green[y, x]
            out[y, x, 2] = colours[2, y, x]
    return out
