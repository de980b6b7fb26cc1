"""Places in a small grey picture that are found again in its copies, each with a short code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

SIDE = 144  # a picture is brought to as many pixels as a square of this side has
LEAST_SIDE = 96  # what is smaller is enlarged to this
LEVELS = 4  # each half an octave below the one before
POINTS = (40, 30, 20, 10)  # of each level, at most
CELL = 14  # pixels of a level; a cell gives at most CROWD points, so that writing cannot take all
CROWD = 3
REACH = 8  # pixels of a level on each side of a point that its code is read from
BITS = 64


class Keypoints(NamedTuple):
    """Points of one picture; coordinates are pixels of the picture they were found in."""

    places: np.ndarray  # P 2 float32: x, y
    levels: np.ndarray  # P int8
    codes: np.ndarray  # P 2 uint64; the two change places when the picture is mirrored


def _tests() -> tuple[np.ndarray, np.ndarray]:
    """Each bit asks whether two numbers of a description add up to more than two others."""
    draw = np.random.default_rng(0)
    chosen = np.stack([draw.permutation(128)[:4] for _ in range(BITS)])
    return chosen.astype(np.int64), _mirror(np.arange(128))[chosen].astype(np.int64)


def _mirror(numbers: np.ndarray) -> np.ndarray:
    """Where each of 4 x 4 cells x 8 directions is found once left and right are exchanged."""
    cells = numbers.reshape(4, 4, 8)[:, ::-1]
    return cells[..., (4 - np.arange(8)) % 8].ravel()


_PLAIN, _MIRRORED = _tests()


def small(grey: np.ndarray) -> np.ndarray:
    """A grey picture (H W uint8) at the size points are looked for, float32.

    >>> small(np.zeros((288, 288), np.uint8)).shape, small(np.zeros((48, 96), np.uint8)).shape
    ((144, 144), (68, 136))
    """
    height, width = grey.shape
    scale = SIDE / np.sqrt(height * width)
    if scale > 0.98:  # one that has about the size already stays as it is
        scale = max(1.0, LEAST_SIDE / np.sqrt(height * width))
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    if size == grey.shape:
        return np.ascontiguousarray(grey, np.float32)
    return resized(np.ascontiguousarray(grey, np.float32), size[0], size[1])


def luma(pixels: np.ndarray) -> np.ndarray:
    """Brightness (H W uint8) of colours (H W 3); grey pictures stay what they are.

    >>> luma(np.full((1, 1, 3), 200, np.uint8)).tolist()
    [[200]]
    """
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel].astype(np.uint16) for channel in range(3))
    return ((77 * red + 150 * green + 29 * blue + 128) >> 8).astype(np.uint8)


@njit(cache=True, nogil=True)
def _weights(size: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """First source pixel and weights of every target pixel: a tent as wide as the step."""
    step = size / target
    radius = max(step, 1.0)
    taps = int(np.ceil(2 * radius)) + 1
    first = np.empty(target, np.int64)
    weights = np.zeros((target, taps), np.float32)
    for place in range(target):
        middle = (place + 0.5) * step - 0.5
        start = int(np.ceil(middle - radius))
        first[place] = start
        total = 0.0
        for tap in range(taps):
            weight = 1 - abs(start + tap - middle) / radius
            if weight > 0 and 0 <= start + tap < size:
                weights[place, tap] = weight
                total += weight
        for tap in range(taps):
            weights[place, tap] /= total
    return first, weights


@njit(cache=True, nogil=True, fastmath=True)
def resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """A float32 picture at another size; what gets smaller is averaged."""
    first, weights = _weights(plane.shape[0], height)
    rows = np.zeros((height, plane.shape[1]), np.float32)
    for y in range(height):
        for tap in range(weights.shape[1]):
            weight = weights[y, tap]
            if weight > 0:
                source = first[y] + tap
                for x in range(plane.shape[1]):
                    rows[y, x] += weight * plane[source, x]
    first, weights = _weights(plane.shape[1], width)
    result = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            total = np.float32(0)
            for tap in range(weights.shape[1]):
                weight = weights[x, tap]
                if weight > 0:
                    total += weight * rows[y, first[x] + tap]
            result[y, x] = total
    return result


@njit(cache=True, nogil=True, fastmath=True)
def halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; of an odd number the last is left out."""
    result = np.empty((plane.shape[0] // 2, plane.shape[1] // 2), np.float32)
    quarter = np.float32(0.25)
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            upper = plane[2 * y, 2 * x] + plane[2 * y, 2 * x + 1]
            lower = plane[2 * y + 1, 2 * x] + plane[2 * y + 1, 2 * x + 1]
            result[y, x] = quarter * (upper + lower)
    return result


@njit(cache=True, nogil=True, fastmath=True)
def smooth(plane: np.ndarray) -> np.ndarray:
    """Weights 1 2 1 both ways; the rim is repeated."""
    height, width = plane.shape
    across = np.empty_like(plane)
    quarter, half = np.float32(0.25), np.float32(0.5)
    for y in range(height):
        across[y, 0] = plane[y, 0]
        across[y, width - 1] = plane[y, width - 1]
        for x in range(1, width - 1):
            across[y, x] = quarter * (plane[y, x - 1] + plane[y, x + 1]) + half * plane[y, x]
    result = np.empty_like(plane)
    for y in range(height):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        for x in range(width):
            result[y, x] = quarter * (across[above, x] + across[below, x]) + half * across[y, x]
    return result


@njit(cache=True, nogil=True, fastmath=True)
def _corners(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """How much a picture changes around each pixel in the direction in which it changes least."""
    height, width = across.shape
    xx, xy, yy = np.empty_like(across), np.empty_like(across), np.empty_like(across)
    for y in range(height):
        for x in range(width):
            xx[y, x] = across[y, x] * across[y, x]
            xy[y, x] = across[y, x] * down[y, x]
            yy[y, x] = down[y, x] * down[y, x]
    xx, xy, yy = smooth(smooth(xx)), smooth(smooth(xy)), smooth(smooth(yy))
    result = np.empty_like(across)
    half = np.float32(0.5)
    for y in range(height):
        for x in range(width):
            middle = half * (xx[y, x] + yy[y, x])
            apart = half * (xx[y, x] - yy[y, x])
            result[y, x] = middle - np.sqrt(apart * apart + xy[y, x] * xy[y, x])
    return result


@njit(cache=True, nogil=True)
def _peaks(response: np.ndarray, most: int, least: float) -> np.ndarray:
    """The strongest local maxima, no more than CROWD in a cell.  P 3: x, y, strength."""
    height, width = response.shape
    rim = 4
    found = np.empty((height * width // 4 + 1, 3), np.float32)
    count = 0
    likely, floor = np.zeros(width, np.bool_), np.float32(least)
    for y in range(rim, height - rim):
        # most places fall to one beside them; of equals the first in order stays
        for x in range(rim, width - rim):
            here = response[y, x]
            likely[x] = (
                (here >= floor)
                & (here >= response[y, x + 1])
                & (here >= response[y + 1, x])
                & (here > response[y, x - 1])
                & (here > response[y - 1, x])
            )
        for x in range(rim, width - rim):
            if not likely[x]:
                continue
            here = response[y, x]
            peak = True
            for v in range(-2, 3):
                for u in range(-2, 3):
                    other = response[y + v, x + u]
                    if other > here or (other == here and (v < 0 or (v == 0 and u < 0))):
                        peak = False
                        break
                if not peak:
                    break
            if not peak or count == len(found):
                continue
            left, right = response[y, x - 1], response[y, x + 1]
            above, below = response[y - 1, x], response[y + 1, x]
            bend_x, bend_y = left + right - 2 * here, above + below - 2 * here
            found[count, 0] = x + (0.5 * (left - right) / bend_x if bend_x < 0 else 0.0)
            found[count, 1] = y + (0.5 * (above - below) / bend_y if bend_y < 0 else 0.0)
            found[count, 2] = here
            count += 1
    found = found[:count]
    order = np.argsort(-found[:, 2], kind="mergesort")
    crowd = np.zeros((height // CELL + 1, width // CELL + 1), np.int64)
    kept = np.empty((min(most, count), 3), np.float32)
    number = 0
    for place in order:
        if number == len(kept):
            break
        row, column = int(found[place, 1]) // CELL, int(found[place, 0]) // CELL
        if crowd[row, column] < CROWD:
            crowd[row, column] += 1
            kept[number] = found[place]
            number += 1
    return kept[:number]


@njit(cache=True, nogil=True, fastmath=True)
def _description(
    across: np.ndarray, down: np.ndarray, x: float, y: float, cells: np.ndarray
) -> None:
    """Directions of change in 4 x 4 overlapping cells around a place, into `cells` (128).

    A change is spread over the directions of the eight within a right angle of it, by the square
    of its cosine with each.
    """
    height, width = across.shape
    cells[:] = 0
    left, top = int(np.round(x)), int(np.round(y))
    cell_of, part_of = np.empty(2 * REACH + 1, np.int64), np.empty(2 * REACH + 1, np.float32)
    for u in range(-REACH, REACH + 1):
        place = np.float32((left + u - x) / 4 + 2.5)  # in cells; their middles are 1 2 3 4
        cell_of[u + REACH] = min(max(int(place), 0), 4)
        part_of[u + REACH] = place - cell_of[u + REACH]
    row = np.zeros((6, 8), np.float32)  # one more on each side catches what falls beside
    slant, one = np.float32(np.sqrt(0.5)), np.float32(1)
    for v in range(-REACH, REACH + 1):
        py = min(max(top + v, 0), height - 1)
        row[:] = 0
        for u in range(2 * REACH + 1):
            px = min(max(left + u - REACH, 0), width - 1)
            gx, gy = across[py, px], down[py, px]
            inverse = one / np.sqrt(gx * gx + gy * gy + np.float32(1e-6))
            rising, falling = slant * (gx + gy), slant * (gy - gx)
            cell, part = cell_of[u], part_of[u]
            for k, along in ((0, gx), (1, rising), (2, gy), (3, falling)):
                at = k if along > 0 else k + 4  # nothing is left of it in the opposite direction
                steep = along * along * inverse
                row[cell, at] += (one - part) * steep
                row[cell + 1, at] += part * steep
        place = np.float32((top + v - y) / 4 + 1.5)
        for cell in range(4):
            weight = 1 - abs(place - cell)
            if weight > 0:
                for other in range(4):
                    for k in range(8):
                        cells[(cell * 4 + other) * 8 + k] += weight * row[other + 1, k]
    # long numbers are cut, so that one strong edge does not decide everything
    for most in (0.2, 1.0):
        total = np.float32(1e-12)
        for i in range(128):
            total += cells[i] * cells[i]
        scale = one / np.sqrt(total)
        for i in range(128):
            cells[i] = min(cells[i] * scale, np.float32(most))


@njit(cache=True, nogil=True)
def _code(cells: np.ndarray, tests: np.ndarray) -> np.uint64:
    bits = np.uint64(0)
    for i in range(tests.shape[0]):
        more, less = (
            cells[tests[i, 0]] + cells[tests[i, 1]],
            cells[tests[i, 2]] + cells[tests[i, 3]],
        )
        bits |= np.uint64(more > less) << np.uint64(i)
    return bits


@njit(cache=True, nogil=True)
def _found(
    plane: np.ndarray,
    points: tuple[int, ...],
    plain: np.ndarray,
    mirrored: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    most = 0
    for number in points:
        most += number
    places = np.empty((most, 2), np.float32)
    levels = np.empty(most, np.int8)
    codes = np.empty((most, 2), np.uint64)
    cells = np.empty(128, np.float32)
    count = 0
    half = np.float32(0.5)
    one_before, before = plane, plane  # the smooth levels above this one
    wider, higher = np.ones(len(points)), np.ones(len(points))  # pixels of the picture in one
    for level in range(len(points)):
        current = plane
        if level == 1:
            height, width = round(plane.shape[0] * 0.5**0.5), round(plane.shape[1] * 0.5**0.5)
            current = resized(plane, height, width)
            wider[1], higher[1] = plane.shape[1] / width, plane.shape[0] / height
        elif level:
            current = halved(one_before)
            wider[level], higher[level] = 2 * wider[level - 2], 2 * higher[level - 2]
        if level and min(current.shape) < 20:
            break
        soft = smooth(current)
        one_before, before = before, soft
        height, width = soft.shape
        across, down = np.zeros_like(soft), np.zeros_like(soft)
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                across[y, x] = half * (soft[y, x + 1] - soft[y, x - 1])
                down[y, x] = half * (soft[y + 1, x] - soft[y - 1, x])
        peaks = _peaks(_corners(across, down), points[level], 0.3)
        scale_x, scale_y = wider[level], higher[level]
        for place in range(len(peaks)):
            x, y = peaks[place, 0], peaks[place, 1]
            _description(across, down, x, y, cells)
            places[count, 0] = (x + 0.5) * scale_x - 0.5
            places[count, 1] = (y + 0.5) * scale_y - 0.5
            levels[count] = level
            codes[count, 0] = _code(cells, plain)
            codes[count, 1] = _code(cells, mirrored)
            count += 1
    return places[:count], levels[:count], codes[:count]


def keypoints(plane: np.ndarray) -> Keypoints:
    """Points of a picture as `small` gives it.

    >>> board = np.kron(np.indices((12, 12)).sum(0) % 2, np.ones((12, 12))) * 200
    >>> found = keypoints(small(board.astype(np.uint8)))
    >>> len(found.levels) > 50
    True
    """
    return Keypoints(*_found(plane, POINTS, _PLAIN, _MIRRORED))
