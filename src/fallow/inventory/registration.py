"""One picture brought into another's place: the homography under which they agree best."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath=True)
def normalised(plane: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture less its local mean over its local spread, and that spread."""
    height, width = plane.shape
    sums = np.zeros((height + 1, width + 1))
    squares = np.zeros((height + 1, width + 1))
    for y in range(height):
        row, row2 = 0.0, 0.0
        for x in range(width):
            value = float(plane[y, x])
            row += value
            row2 += value * value
            sums[y + 1, x + 1] = sums[y, x + 1] + row
            squares[y + 1, x + 1] = squares[y, x + 1] + row2
    result, spread = np.empty_like(plane), np.empty_like(plane)
    for y in range(height):
        top, bottom = max(y - window, 0), min(y + window + 1, height)
        for x in range(width):
            left, right = max(x - window, 0), min(x + window + 1, width)
            count = (bottom - top) * (right - left)
            total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
            total2 = squares[bottom, right] - squares[top, right]
            total2 += squares[top, left] - squares[bottom, left]
            mean = total / count
            deviation = np.sqrt(max(total2 / count - mean * mean, 0.0))
            spread[y, x] = deviation
            result[y, x] = (plane[y, x] - mean) / (deviation + 3.0)
    return result, spread


@njit(cache=True, nogil=True, fastmath=True)
def refined(
    source: np.ndarray,  # normalised, at about the target's resolution
    target: np.ndarray,  # normalised
    spread: np.ndarray,  # of the target
    start: np.ndarray,  # 3 3: from target to source
    rounds: int,
) -> np.ndarray:
    """The homography near `start` under which the pictures agree best, by Gauss-Newton.

    Differences beyond a spread's half count less and less: writing over a picture does not pull.
    """
    height, width = target.shape
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    unit = max(middle_x, middle_y)
    # p maps centred target coordinates in units of half the longer side
    to = np.array([[unit, 0, middle_x], [0, unit, middle_y], [0, 0, 1.0]])
    p = start @ to
    p = p / p[2, 2]
    across, down = _slopes(source)
    wide, high = source.shape[1] - 2, source.shape[0] - 2
    half = 1 / 0.6**2
    rows, errors = np.empty((height * width // 2, 8)), np.empty(height * width // 2)
    for _ in range(rounds):
        used = 0
        for y in range(1, height - 1):
            v = (y - middle_y) / unit
            for x in range(1 + y % 2, width - 1, 2):
                if spread[y, x] < 2:
                    continue
                u = (x - middle_x) / unit
                deep = p[2, 0] * u + p[2, 1] * v + 1
                if deep < 0.2:
                    continue
                deep = 1 / deep
                sx = (p[0, 0] * u + p[0, 1] * v + p[0, 2]) * deep
                sy = (p[1, 0] * u + p[1, 1] * v + p[1, 2]) * deep
                if not (1 <= sx < wide and 1 <= sy < high):
                    continue
                left, top = int(sx), int(sy)
                part_x, part_y = sx - left, sy - top
                one, two = (1 - part_x) * (1 - part_y), part_x * (1 - part_y)
                three, four = (1 - part_x) * part_y, part_x * part_y
                value = (
                    one * source[top, left]
                    + two * source[top, left + 1]
                    + three * source[top + 1, left]
                    + four * source[top + 1, left + 1]
                )
                gx = (
                    one * across[top, left]
                    + two * across[top, left + 1]
                    + three * across[top + 1, left]
                    + four * across[top + 1, left + 1]
                )
                gy = (
                    one * down[top, left]
                    + two * down[top, left + 1]
                    + three * down[top + 1, left]
                    + four * down[top + 1, left + 1]
                )
                error = target[y, x] - value
                weight = 1 / (1 + error * error * half)
                gx *= deep * weight
                gy *= deep * weight
                both = -(gx * sx + gy * sy)
                rows[used, 0], rows[used, 1], rows[used, 2] = gx * u, gx * v, gx
                rows[used, 3], rows[used, 4], rows[used, 5] = gy * u, gy * v, gy
                rows[used, 6], rows[used, 7] = both * u, both * v
                errors[used] = weight * error
                used += 1
        if used < 200:
            break
        chosen = rows[:used]
        normal, right = chosen.T @ chosen, chosen.T @ errors[:used]
        for i in range(8):
            # a flat direction is left where it is
            normal[i, i] += 1e-3 * used * (1e-4 if i < 6 else 1.0)
        step = np.linalg.solve(normal, right)
        p[0, 0] += step[0]
        p[0, 1] += step[1]
        p[0, 2] += step[2]
        p[1, 0] += step[3]
        p[1, 1] += step[4]
        p[1, 2] += step[5]
        p[2, 0] += step[6]
        p[2, 1] += step[7]
        if np.abs(step[:6]).max() < 0.02:
            break
    return p @ np.linalg.inv(to)


@njit(cache=True, nogil=True, fastmath=True)
def _slopes(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much each pixel's neighbours differ, across and down; the rim has none."""
    height, width = plane.shape
    across, down = np.zeros_like(plane), np.zeros_like(plane)
    half = np.float32(0.5)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            across[y, x] = half * (plane[y, x + 1] - plane[y, x - 1])
            down[y, x] = half * (plane[y + 1, x] - plane[y - 1, x])
    return across, down


@njit(cache=True, nogil=True, fastmath=True)
def _sample(plane: np.ndarray, x: float, y: float) -> float:
    left, top = int(np.floor(x)), int(np.floor(y))
    part_x, part_y = x - left, y - top
    above = plane[top, left] * (1 - part_x) + plane[top, left + 1] * part_x
    below = plane[top + 1, left] * (1 - part_x) + plane[top + 1, left + 1] * part_x
    return above * (1 - part_y) + below * part_y


@njit(cache=True, nogil=True, fastmath=True)
def warped(
    source: np.ndarray, shape: tuple[int, int], back: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The source seen through a map from target to source, and where it was seen at all."""
    result = np.zeros(shape, np.float32)
    seen = np.zeros(shape, np.bool_)
    for y in range(shape[0]):
        for x in range(shape[1]):
            deep = back[2, 0] * x + back[2, 1] * y + back[2, 2]
            if deep < 1e-3:
                continue
            sx = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / deep
            sy = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / deep
            if 0 <= sx < source.shape[1] - 1 and 0 <= sy < source.shape[0] - 1:
                result[y, x] = _sample(source, sx, sy)
                seen[y, x] = True
    return result, seen
