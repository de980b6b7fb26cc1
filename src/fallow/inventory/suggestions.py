"""Which pairs of pictures are worth laying over each other: points agree, or they look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from fallow.inventory.keypoints import Keypoints
from fallow.inventory.matching import bits

NEAR = 24  # bits of 128 in which two codes that suggest a pair may differ
AHEAD = 6  # codes each is compared with, in every order they are sorted in
NEEDED = 4  # points of a picture that must suggest the same other one
MOST = 6  # other pictures looked at for each
ALIKE = 22  # bits of 64 in which the hashes of neighbours laid over as they are may differ


def alike_pairs(near: np.ndarray | None, looks: np.ndarray | None) -> set[tuple[int, int]]:
    """Pairs of rows (first below second) that `near` (N k) calls neighbours, by hashes (N) too.

    What shares no points and has another hash is no copy, however alike an encoder finds it.

    >>> alike_pairs(np.array([[1], [2], [-1]]), np.array([0, 1, 2**40 - 1], np.uint64))
    {(0, 1)}
    """
    if near is None:
        return set()
    pairs = {
        (min(row, int(other)), max(row, int(other)))
        for row, others in enumerate(near)
        for other in others
        if other >= 0 and row != other
    }
    if looks is None:
        return pairs
    return {(a, b) for a, b in pairs if int(looks[a] ^ looks[b]).bit_count() <= ALIKE}


def suggested(points: Sequence[Keypoints]) -> np.ndarray:
    """Pairs of pictures that share several points.  P 4: row, other row, mirrored, shared.

    The codes are sorted eight times, each time from another bit on; codes that differ little stand
    close to one another in one of the orders. Time grows as a sort does, whatever looks alike.
    """
    if len(points) < 2:
        return np.zeros((0, 4), np.int64)
    sizes = np.array([len(each.levels) for each in points])
    codes = np.concatenate([each.codes for each in points])
    owner = np.repeat(np.arange(len(points), dtype=np.int32), sizes)
    number = (np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)).astype(np.int32)
    slots = 1 << min(26, 10 + int(np.ceil(np.log2(len(points)))))
    masks = np.zeros(slots, np.uint32)
    emitted = []
    for table in range(8):
        column, turn = table % 2, np.uint64(16 * (table // 2))
        key = np.concatenate([codes[:, column], codes[:, 1 - column]])
        key = (key << turn) | (key >> ((np.uint64(64) - turn) % np.uint64(64)))
        order = np.argsort(key).astype(np.int32)
        emitted.append(_neighbours(order, codes, owner, number, masks, AHEAD, NEAR, NEEDED))
    found = np.unique(np.concatenate(emitted))
    pairs = np.stack([found >> 33, (found >> 1) & 0xFFFFFFFF, found & 1], axis=1)
    shared = _shared(pairs, masks)
    pairs = np.column_stack([pairs, shared])
    return pairs[_first(pairs, len(points), MOST)]


@njit(cache=True, nogil=True)
def _slot(row: int, other: int, mirrored: int, slots: int) -> int:
    value = (np.uint64(row) << np.uint64(33)) | (np.uint64(other) << np.uint64(1))
    value = (value | np.uint64(mirrored)) * np.uint64(0x9E3779B97F4A7C15)
    return int((value >> np.uint64(32)) & np.uint64(slots - 1))


@njit(cache=True, nogil=True)
def _neighbours(
    order: np.ndarray,
    codes: np.ndarray,
    owner: np.ndarray,
    number: np.ndarray,
    masks: np.ndarray,
    ahead: int,
    near: int,
    needed: int,
) -> np.ndarray:
    count = len(codes)
    found = np.empty(1024, np.int64)
    size = 0
    for place in range(len(order)):
        left = order[place]
        first = left - count if left >= count else left
        low, high = codes[first, 0], codes[first, 1]
        for step in range(1, ahead + 1):
            if place + step >= len(order):
                break
            right = order[place + step]
            if left >= count and right >= count:
                continue
            second = right - count if right >= count else right
            mirrored = (left >= count) != (right >= count)
            other = 1 if mirrored else 0
            if bits(low ^ codes[second, other]) + bits(high ^ codes[second, 1 - other]) > near:
                continue
            if owner[first] == owner[second]:
                continue
            a, b = (first, second) if owner[first] < owner[second] else (second, first)
            slot = _slot(owner[a], owner[b], int(mirrored), len(masks))
            before = masks[slot]
            after = before | (np.uint32(1) << np.uint32(number[a] & 31))
            if after != before:
                masks[slot] = after
                if bits(np.uint64(after)) >= needed:
                    if size == len(found):
                        found = np.concatenate((found, np.empty(size, np.int64)))
                    found[size] = (
                        (np.int64(owner[a]) << 33) | (np.int64(owner[b]) << 1) | int(mirrored)
                    )
                    size += 1
    return found[:size]


@njit(cache=True, nogil=True)
def _shared(pairs: np.ndarray, masks: np.ndarray) -> np.ndarray:
    result = np.empty(len(pairs), np.int64)
    for place in range(len(pairs)):
        slot = _slot(pairs[place, 0], pairs[place, 1], pairs[place, 2], len(masks))
        result[place] = bits(np.uint64(masks[slot]))
    return result


def _first(pairs: np.ndarray, count: int, most: int) -> np.ndarray:
    """Places of the pairs that are among the `most` with the most shared points of either row."""
    ranked = np.argsort(-pairs[:, 3], kind="stable")
    left = np.zeros(len(pairs), bool)
    for side in (0, 1):
        rows = pairs[ranked, side]
        order = np.argsort(rows, kind="stable")
        sizes = np.bincount(rows, minlength=count)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        left[ranked[order[place < most]]] = True
    return np.flatnonzero(left)
