"""Points of two pictures matched by their codes, and the affine map that most of them agree on."""

from __future__ import annotations

import numpy as np
from numba import njit

from fallow.inventory.keypoints import Keypoints

FAR = 32  # bits of 128 in which the codes of a match may differ
TRIES = 400  # pairs of matches tried as a hypothesis
TURN = 25  # degrees
CLOSE = 3.0  # pixels an inlier may lie beside its place, once the fit is good


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
