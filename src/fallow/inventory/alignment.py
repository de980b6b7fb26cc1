"""Two pictures laid over each other: matched points, a homography, and pixels compared under it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fallow.inventory.keypoints import Keypoints, halved, resized, smooth

FAR = 32  # bits of 128 in which the codes of a match may differ
TRIES = 400  # pairs of matches tried as a hypothesis
TURN = 25  # degrees
CLOSE = 3.0  # pixels an inlier may lie beside its place, once the fit is good
BLOCK = 12  # pixels of a compared block
ROUNDS = 10  # of the dense refinement
COARSELY = 6  # at half the size
SHOWN = 0.96  # share of one picture that the other must show to be a copy
ROUGHLY, RIM = 0.12, 0.03  # by how much less it may seem to show before the map is refined, after
HELD = 8  # blocks that must hold something before a pair can be judged
WINDOW = 6  # pixels around each that local contrast is taken from


class Compared(NamedTuple):
    """How two pictures agree once one is laid over the other."""

    back: np.ndarray  # 3 3: from places in the second picture to places in the first, mirrored
    agreement: float  # correlation of blocks, the worst third left out
    displacement: float  # pixels that blocks still lie beside one another
    held: float  # about the number of blocks that hold anything to compare
    covered: float  # share of the smaller picture that the other shows, at most 1
    noise: float  # usual difference where nothing has changed
    changed: float  # mass of what is in only one of them
    written: float  # 0 to 1: how much that looks written over, not moved


@njit(cache=True, nogil=True)
def bits(value: np.uint64) -> int:
    value = value - ((value >> np.uint64(1)) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + (
        (value >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((value * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def matches(
    codes: np.ndarray, places: np.ndarray, others: np.ndarray, other_places: np.ndarray, swap: bool
) -> np.ndarray:
    """For each point the other picture's most similar one, where it is clearly that.  M 3.

    Columns: point, other point, bits. `swap` compares with the first picture mirrored.
    """
    found = np.empty((len(codes), 3), np.int64)
    count = 0
    for i in range(len(codes)):
        low, high = codes[i, 0], codes[i, 1]
        if swap:
            low, high = high, low
        best, second, at = 129, 129, -1
        for j in range(len(others)):
            apart = bits(low ^ others[j, 0]) + bits(high ^ others[j, 1])
            if apart < best:
                # the same place at the next level is no rival
                if at < 0 or _apart(other_places, at, j) > 64:
                    second = best
                best, at = apart, j
            elif apart < second and _apart(other_places, at, j) > 64:
                second = apart
        if best <= FAR and best + 4 <= second:
            found[count, 0], found[count, 1], found[count, 2] = i, at, best
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _apart(places: np.ndarray, i: int, j: int) -> float:
    return (places[i, 0] - places[j, 0]) ** 2 + (places[i, 1] - places[j, 1]) ** 2


@njit(cache=True, nogil=True)
def fitted(
    source: np.ndarray,  # M 2
    target: np.ndarray,  # M 2
    ratio: np.ndarray,  # M: how much larger the target's level says things are there
) -> tuple[int, np.ndarray]:
    """The number of matches that agree, and the affine map (2 3) they agree on."""
    count = len(source)
    best, chosen = 0, np.zeros((2, 3))
    state = np.uint64(88172645463325252)
    most = np.tan(TURN * np.pi / 180)
    tries = min(TRIES, count * (count - 1) // 2 * 2)
    for attempt in range(tries):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        i = int(state % np.uint64(count))
        j = int((state >> np.uint64(32)) % np.uint64(count))
        if i == j:
            continue
        ux, uy = source[j, 0] - source[i, 0], source[j, 1] - source[i, 1]
        vx, vy = target[j, 0] - target[i, 0], target[j, 1] - target[i, 1]
        square = ux * ux + uy * uy
        if square < 100:
            continue
        cosine, sine = (ux * vx + uy * vy) / square, (ux * vy - uy * vx) / square
        if cosine <= 0 or abs(sine) > most * cosine:
            continue
        scale = np.sqrt(cosine * cosine + sine * sine)
        if not 0.6 < scale / ratio[i] < 1.7 or not 0.6 < scale / ratio[j] < 1.7:
            continue
        x = target[i, 0] - cosine * source[i, 0] + sine * source[i, 1]
        y = target[i, 1] - sine * source[i, 0] - cosine * source[i, 1]
        agree = 0
        allowed = 4 * CLOSE * CLOSE * max(scale, 1.0) ** 2
        for k in range(count):
            dx = cosine * source[k, 0] - sine * source[k, 1] + x - target[k, 0]
            dy = sine * source[k, 0] + cosine * source[k, 1] + y - target[k, 1]
            if dx * dx + dy * dy < allowed and 0.5 < scale / ratio[k] < 2.0:
                agree += 1
        if agree > best:
            best = agree
            chosen[0, 0], chosen[0, 1], chosen[0, 2] = cosine, -sine, x
            chosen[1, 0], chosen[1, 1], chosen[1, 2] = sine, cosine, y
            if best > 0.6 * count and attempt > 50:
                break
    for step in range(4):
        if best < 3:
            break
        scale = max(np.sqrt(abs(chosen[0, 0] * chosen[1, 1] - chosen[0, 1] * chosen[1, 0])), 1.0)
        close = (CLOSE * (2 - step * 0.33)) * scale
        moved = source @ chosen[:, :2].T.copy() + chosen[:, 2]
        inside = ((moved - target) ** 2).sum(axis=1) < close * close
        number = int(inside.sum())
        if number < 3:
            return number, chosen
        matrix = np.ones((number, 3))
        matrix[:, :2] = source[inside]
        # a little weight holds the map near a similarity where few points say otherwise
        normal = matrix.T.copy() @ matrix
        right = matrix.T.copy() @ target[inside].astype(np.float64)
        mean = _similarity(chosen)
        hold = 200.0
        normal[0, 0] += hold
        normal[1, 1] += hold
        right[0, 0] += hold * mean[0, 0]
        right[1, 0] += hold * mean[0, 1]
        right[0, 1] += hold * mean[1, 0]
        right[1, 1] += hold * mean[1, 1]
        if abs(np.linalg.det(normal)) < 1e-6:
            return number, chosen
        chosen = np.linalg.solve(normal, right).T.copy()
        best = number
    return best, chosen


@njit(cache=True, nogil=True)
def _similarity(affine: np.ndarray) -> np.ndarray:
    """The nearest turn and scale of an affine map's linear part."""
    result = np.empty((2, 2))
    result[0, 0] = result[1, 1] = (affine[0, 0] + affine[1, 1]) / 2
    result[1, 0] = (affine[1, 0] - affine[0, 1]) / 2
    result[0, 1] = -result[1, 0]
    return result


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
def _sample(plane: np.ndarray, x: float, y: float) -> float:
    left, top = int(np.floor(x)), int(np.floor(y))
    part_x, part_y = x - left, y - top
    above = plane[top, left] * (1 - part_x) + plane[top, left + 1] * part_x
    below = plane[top + 1, left] * (1 - part_x) + plane[top + 1, left + 1] * part_x
    return above * (1 - part_y) + below * part_y


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
    for _ in range(rounds):
        normal, right = np.zeros((8, 8)), np.zeros(8)
        row = np.empty(8)
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
                sx = (p[0, 0] * u + p[0, 1] * v + p[0, 2]) / deep
                sy = (p[1, 0] * u + p[1, 1] * v + p[1, 2]) / deep
                if not (1 <= sx < source.shape[1] - 2 and 1 <= sy < source.shape[0] - 2):
                    continue
                value = _sample(source, sx, sy)
                gx = 0.5 * (_sample(source, sx + 1, sy) - _sample(source, sx - 1, sy))
                gy = 0.5 * (_sample(source, sx, sy + 1) - _sample(source, sx, sy - 1))
                error = target[y, x] - value
                weight = 1 / (1 + (error / 0.6) ** 2) ** 2
                gx /= deep
                gy /= deep
                row[0], row[1], row[2] = gx * u, gx * v, gx
                row[3], row[4], row[5] = gy * u, gy * v, gy
                both = -(gx * sx + gy * sy)
                row[6], row[7] = both * u, both * v
                for i in range(8):
                    scaled = weight * row[i]
                    right[i] += scaled * error
                    for j in range(i, 8):
                        normal[i, j] += scaled * row[j]
                used += 1
        if used < 200:
            break
        for i in range(8):
            for j in range(i):
                normal[i, j] = normal[j, i]
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


@njit(cache=True, nogil=True, fastmath=True)
def _tables(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Running sums of 1, a, b, aa, bb, ab over the masked pixels.  6 H+1 W+1."""
    height, width = first.shape
    sums = np.zeros((6, height + 1, width + 1))
    for y in range(height):
        n, a, b, aa, bb, ab = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for x in range(width):
            if mask[y, x]:
                one, two = float(first[y, x]), float(second[y, x])
                n += 1
                a += one
                b += two
                aa += one * one
                bb += two * two
                ab += one * two
            sums[0, y + 1, x + 1] = sums[0, y, x + 1] + n
            sums[1, y + 1, x + 1] = sums[1, y, x + 1] + a
            sums[2, y + 1, x + 1] = sums[2, y, x + 1] + b
            sums[3, y + 1, x + 1] = sums[3, y, x + 1] + aa
            sums[4, y + 1, x + 1] = sums[4, y, x + 1] + bb
            sums[5, y + 1, x + 1] = sums[5, y, x + 1] + ab
    return sums


@njit(cache=True, nogil=True, fastmath=True)
def _over(sums: np.ndarray, kind: int, top: int, bottom: int, left: int, right: int) -> float:
    table = sums[kind]
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


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
            number, sa, sb, saa, sbb, sab = 0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(top, bottom):
                for x in range(left, right):
                    if seen[y, x]:
                        a, b = float(target[y, x]), float(other[y, x])
                        number += 1
                        sa += a
                        sb += b
                        saa += a * a
                        sbb += b * b
                        sab += a * b
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


@njit(cache=True, nogil=True)
def _smoothed(plane: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        plane = smooth(plane)
    return plane


def aligned(
    first: Keypoints, second: Keypoints, width: int, mirrored: bool
) -> tuple[int, np.ndarray]:
    """How many points agree on an affine map (2 3) from the first picture to the second.

    `width` is the first picture's, which is mirrored before if asked.
    """
    found = matches(first.codes, first.places, second.codes, second.places, mirrored)
    source = first.places[found[:, 0]].astype(np.float64)
    if mirrored:
        source[:, 0] = width - 1 - source[:, 0]
    target = second.places[found[:, 1]].astype(np.float64)
    steps = second.levels[found[:, 1]].astype(np.float64) - first.levels[found[:, 0]]
    return fitted(source, target, 2.0 ** (steps / 2))


def compared(
    first: np.ndarray, second: np.ndarray, affine: np.ndarray, least: float = 0.0
) -> Compared | None:
    """Lay one small picture (float32) over another, starting from an affine map between them.

    The coarser picture is the frame. None if the map makes no sense, if they share too little, or
    if under the map as given they agree less than `least`: refining it is what takes the time.
    """
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if not 0.3 < scale < 3.3:
        return None
    forth = np.vstack([affine, [0.0, 0.0, 1.0]])
    inwards = scale <= 1  # the second is the coarser one
    target, source = (second, first) if inwards else (first, second)
    back = np.linalg.inv(forth) if inwards else forth
    shrunk = np.eye(3)
    ratio = min(scale, 1 / scale)
    if ratio < 0.87:
        height, width = (max(8, round(side * ratio)) for side in source.shape)
        y, x = height / source.shape[0], width / source.shape[1]
        shrunk = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1.0]])
        source = resized(source, height, width)
    back = shrunk @ back
    promising = _promising(target, source, back, least)
    if promising is None:
        return None
    target, source = smooth(target), smooth(source)
    laid = _laid(target, source, promising, ROUNDS)
    covered = _covered(laid.target, source, laid.back)
    if covered < SHOWN - RIM or laid.held < HELD:
        return None
    # blur is no change: the finer picture is brought down to the other, if they agree better then
    first_times, second_times = passes(target, laid.other, laid.seen, BLOCK)
    if first_times or second_times:
        softer = _laid(
            _smoothed(target, first_times), _smoothed(source, second_times), laid.back, 4
        )
        if softer.agreement > laid.agreement:
            laid = softer
    if laid.held < HELD:
        return None
    noise, changed, one_sided, whole, filled = differences(laid.target, laid.other, laid.seen)
    back = laid.back
    # one colour that only covers, or one piece that fills its box, was written or pasted over
    colour = max(one_sided - 0.8, 0.0) / 0.2
    panel = max(whole - 0.85, 0.0) / 0.15 * min(filled / 0.6, 1.0)
    covered = _covered(laid.target, source, back)
    if covered < SHOWN:
        return None
    back = np.linalg.inv(shrunk) @ back
    back = back if inwards else np.linalg.inv(back)
    return Compared(
        back / back[2, 2],
        laid.agreement,
        laid.displacement,
        laid.held,
        float(min(covered, 1.0)),
        noise,
        changed,
        max(colour, panel),
    )


def _promising(
    target: np.ndarray, source: np.ndarray, back: np.ndarray, least: float
) -> np.ndarray | None:
    """The map refined at half the size, if there is some agreement and most of one is shown."""
    if _covered(target, source, back / back[2, 2]) < SHOWN - ROUGHLY:
        return None
    half = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1.0]])
    double = np.linalg.inv(half)
    laid = _laid(smooth(halved(target)), smooth(halved(source)), half @ back @ double, COARSELY)
    back = double @ laid.back @ half
    if laid.agreement < least or _covered(target, source, back / back[2, 2]) < SHOWN - RIM:
        return None
    return back


def _covered(target: np.ndarray, source: np.ndarray, back: np.ndarray) -> float:
    """The share of one picture that the other shows, of whichever is shown more."""
    there = np.linalg.inv(back)
    return max(
        shown(target, back, *source.shape), shown(source, there / there[2, 2], *target.shape)
    )


class _Laid(NamedTuple):
    target: np.ndarray
    other: np.ndarray  # the source as it looks in the target's place
    seen: np.ndarray
    back: np.ndarray
    agreement: float
    displacement: float
    held: float


def _laid(target: np.ndarray, source: np.ndarray, back: np.ndarray, rounds: int) -> _Laid:
    even, spread = normalised(target, WINDOW)
    back = refined(normalised(source, WINDOW)[0], even, spread, back / back[2, 2], rounds)
    back = back / back[2, 2]
    other, seen = warped(source, (target.shape[0], target.shape[1]), back)
    seen = _within(seen, 2)  # at the rim, smoothing has mixed in what surrounds a picture
    return _Laid(target, other, seen, back, *agreement(target, other, seen, BLOCK))


@njit(cache=True, nogil=True)
def _within(seen: np.ndarray, rim: int) -> np.ndarray:
    """Where everything up to so many pixels around is seen as well."""
    height, width = seen.shape
    result = np.zeros_like(seen)
    for y in range(rim, height - rim):
        for x in range(rim, width - rim):
            result[y, x] = (
                seen[y, x]
                and seen[y - rim, x - rim]
                and seen[y - rim, x + rim]
                and seen[y + rim, x - rim]
                and seen[y + rim, x + rim]
            )
    return result


@njit(cache=True, nogil=True)
def shown(plane: np.ndarray, back: np.ndarray, height: int, width: int) -> float:
    """Share of a picture that lies inside another of this size; fill of one tone does not count.

    `back` leads from places in the picture to places in the other.
    """
    inside, tones = 0, np.zeros(256, np.int64)
    for y in range(0, plane.shape[0], 2):
        for x in range(0, plane.shape[1], 2):
            deep = back[2, 0] * x + back[2, 1] * y + back[2, 2]
            u = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / deep
            v = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / deep
            if deep > 0 and -1.5 < u < width + 0.5 and -1.5 < v < height + 0.5:
                inside += 1
            else:
                tones[min(max(int(plane[y, x] + 0.5), 0), 255)] += 1
    outside = tones.sum()
    most = 0
    for tone in range(2, 254):
        most = max(most, tones[tone - 2 : tone + 3].sum())
    return inside / max(inside + outside - most, 1)
