"""Whether pictures have an up and a down, as scenes have and cells have not, by their masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fallow.images.masks import IGNORE, resized

GRID, FINE = 8, 64  # cells a side, and the pixels a side they are counted on
TELLING = 0.25  # nats a pixel: cells and membranes have 0.02 at most, road scenes 1.5


def upright(masks: Sequence[np.ndarray]) -> bool:
    """Whether masks (H W class codes) tell more about each other as they are than turned.

    Each is laid, upright and turned by one to three quarters, on what the others show where.

    >>> scene = np.repeat(np.arange(8, dtype=np.uint8)[:, None] // 4, 8, 1)  # sky above ground
    >>> upright([scene] * 4), upright([scene, scene[::-1]] * 2), upright([scene])
    (True, False, False)
    """
    if len(masks) < 2:
        return False
    shown = shares(masks)  # N K G G
    others = shown.sum(0) - shown + 1 / shown.shape[1]
    usual = np.log(others / others.sum(1, keepdims=True))
    fits = np.stack(
        [(np.rot90(shown, turn, (2, 3)) * usual).sum(1).mean((1, 2)) for turn in range(4)]
    )
    return bool((fits[0] - fits[1:].max(0)).mean() > TELLING)


def shares(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Which part of every cell of a grid each class covers, ignored pixels left out.  N K G G"""
    small = np.stack([resized(mask, (FINE, FINE)) for mask in masks])
    codes = range(int(small[small != IGNORE].max(initial=0)) + 1)
    cells = small.reshape(len(small), GRID, FINE // GRID, GRID, FINE // GRID)
    return np.stack([(cells == code).mean((2, 4)) for code in codes], 1)
