"""What is in only one of two pictures that are laid over each other."""

from __future__ import annotations

import numpy as np
from numba import njit

from fallow.inventory.moments import added


@njit(cache=True, nogil=True, fastmath=True)
def differences(
    target: np.ndarray, other: np.ndarray, seen: np.ndarray
) -> tuple[float, float, float, float, float]:
    """What is in only one of two aligned pictures: usual noise, changed mass, one-sidedness.

    Local mean and spread are taken away first. A place has changed where what is left exceeds the
    noise of the whole by far; mass is its sum over the area. Writing and filled corners are one
    colour, lighter or darker than what they hide, so one-sidedness is near 1; what moved between
    two photos uncovers as much as it hides.
    """
    height, width = target.shape
    inside = np.zeros((height, width), np.bool_)
    clipped = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            if seen[y, x]:
                a, b = target[y, x], other[y, x]
                clipped[y, x] = a > 248 or a < 5 or b > 248 or b < 5
    for y in range(3, height - 3):
        for x in range(3, width - 3):
            inside[y, x] = (
                seen[y - 3, x - 3]
                and seen[y - 3, x + 3]
                and seen[y + 3, x - 3]
                and seen[y + 3, x + 3]
                and seen[y, x]
                and not clipped[y, x]
                and not clipped[y - 1, x]
                and not clipped[y + 1, x]
                and not clipped[y, x - 1]
                and not clipped[y, x + 1]
            )
    sums = _tables(target, other, seen)
    left_over = np.zeros((height, width), np.float32)
    in_grey = np.zeros((height, width), np.float32)
    flat = np.ones((height, width), np.bool_)
    wide = 8
    gains = np.empty(height * width, np.float32)
    number = 0
    for y in range(height):
        top, bottom = max(y - wide, 0), min(y + wide + 1, height)
        for x in range(width):
            if not inside[y, x]:
                continue
            left, right = max(x - wide, 0), min(x + wide + 1, width)
            n = _over(sums, 0, top, bottom, left, right)
            ma = _over(sums, 1, top, bottom, left, right) / n
            mb = _over(sums, 2, top, bottom, left, right) / n
            va = np.sqrt(max(_over(sums, 3, top, bottom, left, right) / n - ma * ma, 0.0))
            vb = np.sqrt(max(_over(sums, 4, top, bottom, left, right) / n - mb * mb, 0.0))
            left_over[y, x] = (target[y, x] - ma) / (va + 3) - (other[y, x] - mb) / (vb + 3)
            in_grey[y, x] = left_over[y, x] * (max(va, vb) + 3)
            if max(va, vb) > 4:
                flat[y, x] = False
                gains[number] = va / (vb + 1)
                number += 1
    if number < 50:
        return 0.0, 0.0, 1.0, 1.0, 1.0
    gain = np.median(gains[:number])
    squares = _tables(left_over, in_grey, inside)
    energy = np.empty((number, 2), np.float32)
    places = np.empty((number, 2), np.int64)
    near, count, area = 3, 0, 0
    for y in range(height):
        top, bottom = max(y - near, 0), min(y + near, height)
        for x in range(width):
            if not inside[y, x]:
                continue
            area += 1
            if flat[y, x]:
                continue
            left, right = max(x - near, 0), min(x + near, width)
            n = _over(squares, 0, top, bottom, left, right)
            if n < 0.5 * (bottom - top) * (right - left):
                continue
            energy[count, 0] = _over(squares, 3, top, bottom, left, right) / n
            energy[count, 1] = _over(squares, 4, top, bottom, left, right) / n
            places[count, 0], places[count, 1] = y, x
            count += 1
    if count < 50:
        return 0.0, 0.0, 1.0, 1.0, 1.0
    noise = float(np.median(energy[:count, 0]))
    least = max(0.12, 6 * noise)
    least_grey = 6 * float(np.median(energy[:count, 1]))
    total = _over(sums, 0, 0, height, 0, width)
    shift = (
        _over(sums, 1, 0, height, 0, width) - gain * _over(sums, 2, 0, height, 0, width)
    ) / total
    changed = np.zeros((height, width), np.bool_)
    mass, signed, unsigned = 0.0, 0.0, 1e-6
    for place in range(count):
        if energy[place, 0] > least and energy[place, 1] > least_grey:
            mass += energy[place, 0]
            y, x = places[place, 0], places[place, 1]
            changed[y, x] = True
            apart = float(target[y, x]) - gain * float(other[y, x]) - shift
            if abs(apart) > 12:
                signed += apart
                unsigned += abs(apart)
    one_sided = abs(signed) / unsigned if unsigned > 60 else 1.0
    whole, filled = _panel(changed, clipped)
    return noise, mass / area, one_sided, whole, filled


@njit(cache=True, nogil=True, fastmath=True)
def _tables(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Running sums of 1, a, b, aa, bb over the masked pixels.  5 H+1 W+1."""
    height, width = first.shape
    sums = np.zeros((5, height + 1, width + 1))
    for y in range(height):
        row = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        for x in range(width):
            if mask[y, x]:
                row = added(row, float(first[y, x]), float(second[y, x]))
            sums[0, y + 1, x + 1] = sums[0, y, x + 1] + row[0]
            sums[1, y + 1, x + 1] = sums[1, y, x + 1] + row[1]
            sums[2, y + 1, x + 1] = sums[2, y, x + 1] + row[2]
            sums[3, y + 1, x + 1] = sums[3, y, x + 1] + row[3]
            sums[4, y + 1, x + 1] = sums[4, y, x + 1] + row[4]
    return sums


@njit(cache=True, nogil=True, fastmath=True)
def _over(sums: np.ndarray, kind: int, top: int, bottom: int, left: int, right: int) -> float:
    table = sums[kind]
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


@njit(cache=True, nogil=True)
def _panel(changed: np.ndarray, clipped: np.ndarray) -> tuple[float, float]:
    """How much of what changed is in one piece, and how well that piece fills its box.

    A panel's own black and white join its parts: they are clipped and cannot be compared.
    """
    height, width = changed.shape
    label = np.zeros((height, width), np.int32)
    stack = np.empty((height * width, 2), np.int32)
    total, largest, number, area = 0, 0, 0, 1.0
    for y in range(height):
        for x in range(width):
            if not changed[y, x] or label[y, x]:
                continue
            number += 1
            size, depth = 0, 1
            stack[0, 0], stack[0, 1] = y, x
            label[y, x] = number
            top, bottom, left, right = y, y, x, x
            while depth:
                depth -= 1
                v, u = stack[depth, 0], stack[depth, 1]
                if changed[v, u]:
                    size += 1
                    top, bottom = min(top, v), max(bottom, v)
                    left, right = min(left, u), max(right, u)
                for q in range(max(v - 3, 0), min(v + 4, height)):
                    for r in range(max(u - 3, 0), min(u + 4, width)):
                        if not label[q, r] and (changed[q, r] or clipped[q, r]):
                            label[q, r] = number
                            stack[depth, 0], stack[depth, 1] = q, r
                            depth += 1
            total += size
            if size > largest:
                largest = size
                filled = 0
                for q in range(top, bottom + 1):
                    for r in range(left, right + 1):
                        if changed[q, r] or clipped[q, r]:
                            filled += 1
                area = filled / ((bottom + 1 - top) * (right + 1 - left))
    if total < 10:
        return 1.0, 1.0
    return largest / total, area
