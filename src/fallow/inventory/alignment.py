"""Two pictures laid over each other: matched points, a homography, and pixels compared under it."""

from __future__ import annotations

import numpy as np
from numba import njit

FAR = 32  # bits of 128 in which the codes of a match may differ
TRIES = 400  # pairs of matches tried as a hypothesis
TURN = 25  # degrees
CLOSE = 3.0  # pixels an inlier may lie beside its place, once the fit is good
BLOCK = 12  # pixels of a compared block
ROUNDS = 10  # of the dense refinement
WINDOW = 6  # pixels around each that local contrast is taken from


@njit(cache=True, nogil=True)
def _bits(value: np.uint64) -> int:
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
            bits = _bits(low ^ others[j, 0]) + _bits(high ^ others[j, 1])
            if bits < best:
                # the same place at the next level is no rival
                if at < 0 or _apart(other_places, at, j) > 64:
                    second = best
                best, at = bits, j
            elif bits < second and _apart(other_places, at, j) > 64:
                second = bits
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
def blocks(target: np.ndarray, other: np.ndarray, seen: np.ndarray, side: int) -> np.ndarray:
    """For each block of the target that is seen, how far the other picture agrees.  B 6.

    Columns: correlation, spread of the target, of the other, how far the other would have to move
    to agree better (x, y), and how surely that can be told.
    """
    height, width = target.shape
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    found = np.empty((rows * columns, 6), np.float32)
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
            cov = sab / number - sa * sb
            gain = np.sqrt((va + 1.0) / (vb + 1.0))
            xx, xy, yy, ex, ey = 0.0, 0.0, 0.0, 0.0, 0.0
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
            trace = 0.5 * (xx + yy)
            least = trace - np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
            firm = 1.0 * number
            determinant = (xx + firm) * (yy + firm) - xy * xy
            found[count, 0] = cov / np.sqrt((va + 1.0) * (vb + 1.0))
            found[count, 1], found[count, 2] = np.sqrt(va), np.sqrt(vb)
            found[count, 3] = ((yy + firm) * ex - xy * ey) / determinant
            found[count, 4] = ((xx + firm) * ey - xy * ex) / determinant
            found[count, 5] = least / number
            count += 1
    return found[:count]
