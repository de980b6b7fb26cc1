"""How well two pictures agree that are laid over each other, and how fine each of them is."""

from __future__ import annotations

import numpy as np
from numba import njit

from fallow.inventory.keypoints import smooth
from fallow.inventory.moments import added


@njit(cache=True, nogil=True, fastmath=True)
def agreement(
    target: np.ndarray, other: np.ndarray, seen: np.ndarray, side: int
) -> tuple[float, float, float]:
    """Mean correlation of blocks, how far blocks lie beside, and how much they hold together.

    The worst third is left out of both, so that what was written over a picture does not count.
    The second is the mean displacement in pixels, at most 2, under which blocks would agree
    better, as far as it exceeds what their noise makes of no displacement at all.
    """
    height, width = target.shape
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    found = np.zeros((rows * columns, 4))
    count = 0
    for row in range(rows):
        for column in range(columns):
            top, bottom = row * height // rows, (row + 1) * height // rows
            left, right = column * width // columns, (column + 1) * width // columns
            sums = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            for y in range(top, bottom):
                for x in range(left, right):
                    if seen[y, x]:
                        sums = added(sums, float(target[y, x]), float(other[y, x]))
            number, sa, sb, saa, sbb, sab = sums
            if number < side * side // 2:
                continue
            sa /= number
            sb /= number
            va = max(saa / number - sa * sa, 0.0)
            vb = max(sbb / number - sb * sb, 0.0)
            weight = min(np.sqrt(min(va, vb)), 8.0)
            if weight < 1.5:
                continue
            gain = np.sqrt((va + 1.0) / (vb + 1.0))
            xx, xy, yy, ex, ey, ee = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(max(top, 1), min(bottom, height - 1)):
                for x in range(max(left, 1), min(right, width - 1)):
                    if seen[y, x]:
                        gx = 0.5 * (target[y, x + 1] - target[y, x - 1])
                        gy = 0.5 * (target[y + 1, x] - target[y - 1, x])
                        error = (other[y, x] - sb) * gain - (target[y, x] - sa)
                        xx += gx * gx
                        xy += gx * gy
                        yy += gy * gy
                        ex += gx * error
                        ey += gy * error
                        ee += error * error
            least = 0.5 * (xx + yy) - np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
            firm = 1.0 * number
            determinant = (xx + firm) * (yy + firm) - xy * xy
            dx = ((yy + firm) * ex - xy * ey) / determinant
            dy = ((xx + firm) * ey - xy * ex) / determinant
            unexplained = max(ee - dx * ex - dy * ey, 0.0) / number
            # neighbouring pixels share their noise: about four of them count as one
            chance = 4 * unexplained * (xx + yy + 2 * firm) / determinant
            found[count, 0] = weight
            found[count, 1] = (sab / number - sa * sb) / np.sqrt((va + 1.0) * (vb + 1.0))
            found[count, 2] = min(least / number, 4.0)
            found[count, 3] = min(np.sqrt(max(dx * dx + dy * dy - chance, 0.0)), 2.0)
            count += 1
    found = found[:count]
    return (
        _best(-found[:, 1], found[:, 0]) * -1.0,
        _best(found[:, 3], found[:, 2]),
        found[:, 0].sum() / 8,
    )


@njit(cache=True, nogil=True)
def _best(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean of the lowest values, as many as carry two thirds of the weight."""
    left = weights.sum() * 2 / 3
    total, used = 0.0, 1e-6
    for place in np.argsort(values):
        weight = min(weights[place], left - used)
        if weight <= 0:
            break
        total += weight * values[place]
        used += weight
    return total / used


@njit(cache=True, nogil=True)
def passes(target: np.ndarray, other: np.ndarray, seen: np.ndarray, side: int) -> tuple[int, int]:
    """How often either picture must be smoothed until it is as coarse as the other."""
    first, second = 0, 0
    ratio = finer(target, other, seen, side)
    for _ in range(16):
        if ratio > 1.25:
            target = smooth(target)
            first += 1
        elif ratio < 0.8:
            other = smooth(other)
            second += 1
        else:
            break
        ratio = finer(target, other, seen, side)
    return first, second


@njit(cache=True, nogil=True, fastmath=True)
def finer(target: np.ndarray, other: np.ndarray, seen: np.ndarray, side: int) -> float:
    """How much more of the target's variance is between neighbouring pixels; median of blocks."""
    height, width = target.shape
    ratios = np.empty((height // side + 1) * (width // side + 1), np.float32)
    count = 0
    for top in range(0, height - side, side):
        for left in range(0, width - side, side):
            n, a, aa, ga, b, bb, gb = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(top, top + side):
                for x in range(left, left + side):
                    if seen[y, x] and seen[y, x + 1] and seen[y + 1, x]:
                        one, two = float(target[y, x]), float(other[y, x])
                        n += 1
                        a += one
                        aa += one * one
                        b += two
                        bb += two * two
                        ga += (target[y, x + 1] - one) ** 2 + (target[y + 1, x] - one) ** 2
                        gb += (other[y, x + 1] - two) ** 2 + (other[y + 1, x] - two) ** 2
            if n > side * side // 2:
                va, vb = aa / n - (a / n) ** 2, bb / n - (b / n) ** 2
                if min(va, vb) > 4:
                    ratios[count] = (ga / va) / max(gb / vb, 1e-6)
                    count += 1
    return float(np.median(ratios[:count])) if count > 5 else 1.0
