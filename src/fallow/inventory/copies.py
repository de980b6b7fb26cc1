"""Which pictures are copies of one another, and what was done to them."""

from __future__ import annotations

import numpy as np
from numba import njit

from fallow.inventory.alignment import _bits
from fallow.inventory.keypoints import Keypoints

NEAR = 24  # bits of 128 in which two codes that suggest a pair may differ
AHEAD = 6  # codes each is compared with, in every order they are sorted in
NEEDED = 4  # points of a picture that must suggest the same other one
MOST = 6  # other pictures looked at for each


def suggested(points: list[Keypoints]) -> np.ndarray:
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
        first = left % count
        for step in range(1, ahead + 1):
            if place + step >= len(order):
                break
            right = order[place + step]
            second = right % count
            if owner[first] == owner[second] or (left >= count and right >= count):
                continue
            mirrored = (left >= count) != (right >= count)
            low, high = codes[second, 0], codes[second, 1]
            if mirrored:
                low, high = high, low
            if _bits(codes[first, 0] ^ low) + _bits(codes[first, 1] ^ high) > near:
                continue
            a, b = (first, second) if owner[first] < owner[second] else (second, first)
            slot = _slot(owner[a], owner[b], int(mirrored), len(masks))
            before = masks[slot]
            after = before | (np.uint32(1) << np.uint32(number[a] & 31))
            if after != before:
                masks[slot] = after
                if _bits(np.uint64(after)) >= needed:
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
        result[place] = _bits(np.uint64(masks[slot]))
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
