"""Overlapping proposals as one map of regions in which every pixel belongs to one."""

from __future__ import annotations

import numpy as np

LEFTOVER = 200  # pixels: a larger piece that nothing covers is a region of its own
WINDOW = 20  # side of the surroundings that a smaller piece takes its region from


def flatten(proposals: np.ndarray) -> np.ndarray:
    """One map (H W int32, 0 uncovered) of proposals (n H W bool), small ones over large ones.

    A proposal that covers no pixel of its own when its turn comes, by falling area, is left out.

    >>> whole, left = np.ones((1, 3), bool), np.array([[True, False, False]])
    >>> flatten(np.stack([left, whole])).tolist(), flatten(np.stack([left, ~left])).tolist()
    ([[1, 1, 1]], [[2, 1, 1]])
    """
    proposals = np.asarray(proposals, bool)
    regions = np.zeros(proposals.shape[1:], np.int32)
    number = 0
    for index in np.argsort(-proposals.sum((1, 2)), kind="stable"):
        mask = proposals[index]
        if (regions[mask] == 0).any():
            number += 1
            regions[mask] = number
    return regions


def fill(regions: np.ndarray, leftover: int = LEFTOVER, window: int = WINDOW) -> np.ndarray:
    """The same map with its uncovered pixels (0) given to a region.

    Uncovered pieces of more than `leftover` pixels become regions; of the others each takes the
    region most frequent around its middle, or becomes one where nothing else is near.

    >>> fill(np.array([[0, 7, 7], [7, 7, 7]], np.int32)).tolist()
    [[7, 7, 7], [7, 7, 7]]
    """
    from scipy.ndimage import label

    filled = np.array(regions, np.int32)
    pieces, count = label(filled == 0, np.ones((3, 3)))
    if not count:
        return filled
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    rows, columns = np.nonzero(pieces)
    owner = pieces[rows, columns]
    middles = [
        (np.bincount(owner, place, count + 1)[1:] / sizes[1:]).astype(int)
        for place in (rows, columns)
    ]
    for piece, row, column in zip(range(1, count + 1), *middles, strict=True):
        near = _most_frequent(filled, row, column, window) if sizes[piece] <= leftover else 0
        filled[pieces == piece] = near or filled.max() + 1
    return filled


def _most_frequent(regions: np.ndarray, row: int, column: int, window: int) -> int:
    """The most frequent region around a place, uncovered pixels aside; 0 if there is none."""
    half = window // 2
    part = regions[max(0, row - half) : row + half, max(0, column - half) : column + half]
    counts = np.bincount(part.ravel())
    counts[0] = 0
    return int(counts.argmax())


def numbered(regions: np.ndarray) -> np.ndarray:
    """Regions renumbered 0, 1, ... without gaps, in the order of their numbers.

    >>> numbered(np.array([[4, 9], [9, 7]])).tolist()
    [[0, 2], [2, 1]]
    """
    _, codes = np.unique(regions, return_inverse=True)
    return codes.reshape(regions.shape).astype(np.int32)
