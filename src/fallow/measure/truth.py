"""What is known of images, from their labels and masks; and how well scores and maps agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fallow.images import Images
from fallow.measure.dense import image_measures, measures
from fallow.problems import SourceProblem

GOOD_NAMES = {"good", "ok", "okay", "normal", "nominal", "fine", "pass", "sound"}
MEASURES = {"auroc": "AUROC", "ap": "AP", "f1_max": "F1-max", "aupro": "AUPRO"}  # as people write
EVALUATED = 512  # long side at which maps are compared with masks

Measured = dict[str, dict[str, float | None]]


class Truth(NamedTuple):
    """What is known: 1 odd, 0 good, -1 unknown; whether there are masks; sentences about both."""

    odd: np.ndarray
    masked: bool
    notes: list[str]


class Pairs(NamedTuple):
    """Masks and maps of one size each; how many masks were stretched, how many do not fit."""

    masks: list[np.ndarray]
    maps: list[np.ndarray]
    stretched: int = 0
    unfit: int = 0


def read_truth(images: Images) -> Truth:
    """Column `anomaly`, else the names in `label`, else whether a mask marks anything.

    >>> import fallow.images
    >>> pixels = np.zeros((2, 2, 3), np.uint8)
    >>> images = fallow.images.open([pixels, pixels], labels=["good", "torn"])
    >>> read_truth(images).odd.tolist()
    [0, 1]
    """
    notes: list[str] = []
    masked = "mask" in images.columns
    odd = np.full(len(images), -1)
    codes, names = images.labels
    good = [name.strip().lower() in GOOD_NAMES for name in names]
    if "anomaly" in images.columns:
        odd = np.array([_flag(value) for value in images.table.column("anomaly").to_pylist()])
    elif any(good):
        odd = np.where(codes < 0, -1, 1 - np.append(good, False)[codes].astype(int))
    elif masked:
        odd = np.array([_marks(images, row) for row in range(len(images))])
        notes.append("No labels: a picture counts as odd where its mask marks something.")
    elif names:
        some = ", ".join(names[:3]) + ("…" if len(names) > 3 else "")
        notes.append(
            f"The labels ({some}) name no good images, so nothing is measured: "
            "call them good, or add a column anomaly with 0 and 1."
        )
    return Truth(odd, masked, notes)


def _flag(value: Any) -> int:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return -1
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("0", "1", "true", "false", "yes", "no"):
            return int(word in ("1", "true", "yes"))
        raise SourceProblem(f"column anomaly holds {value!r}: it must say 0 or 1 for each image")
    return int(bool(value))


def _marks(images: Images, row: int) -> int:
    if images.table.column("mask")[row].as_py() is None:
        return 0
    return int(images.mask(row).any())


def compared(
    truth: Truth,
    images: Images,
    rows: np.ndarray,
    scores: Mapping[str, np.ndarray],
    map_of: Callable[[int, tuple[int, int]], np.ndarray],
    in_steps: bool = False,
) -> tuple[Measured, Pairs]:
    """Measures of scores (by what they are called) and maps of some rows, as far as truth is known.

    `map_of` gives the map of the k-th of them at a height and width. AUPRO is exact, or taken
    `in_steps` as papers do.
    """
    odd = truth.odd[rows]
    known = odd >= 0
    found: Measured = {}
    if known.any():
        found = {name: image_measures(odd[known], each[known]) for name, each in scores.items()}
    pairs = masks_and_maps(images, rows, truth.odd, map_of) if truth.masked else Pairs([], [])
    if pairs.masks:
        kind = "pixel, AUPRO in 200 steps" if in_steps else "pixel"
        found[kind] = measures(pairs.masks, pairs.maps, in_steps=in_steps)
    return found, pairs


def masks_and_maps(
    images: Images,
    rows: np.ndarray,
    odd: np.ndarray,
    map_of: Callable[[int, tuple[int, int]], np.ndarray],
) -> Pairs:
    """Masks and maps of all of these rows whose every pixel is known; `odd` is about all images."""
    masks, maps = [], []
    stretched = unfit = 0
    columns = images.table
    for place, row in enumerate(rows.tolist()):
        height, width = (columns.column(name)[row].as_py() for name in ("height", "width"))
        step = max(1, math.ceil(max(height, width) / EVALUATED))
        size = (math.ceil(height / step), math.ceil(width / step))
        if columns.column("mask")[row].as_py() is None:
            if odd[row] != 0:
                continue  # odd, and nobody said where
            mask = np.zeros(size, bool)
        else:
            marked = images.mask(row) != 0
            if marked.shape != (height, width):
                # one pixel of rounding is allowed for
                if abs(marked.shape[0] * width - marked.shape[1] * height) > max(height, width):
                    unfit += 1
                    continue
                stretched += 1
            mask = shrunk_mask(marked, size)
        masks.append(mask)
        maps.append(map_of(place, size))
    return Pairs(masks, maps, stretched, unfit)


def shrunk_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size; a cell is marked if anything in it is, so thin cracks stay.

    >>> shrunk_mask(np.eye(4, dtype=bool), (2, 2)).tolist()
    [[True, False], [False, True]]
    """
    if mask.shape == size:
        return mask
    edges = [np.arange(n) * length // n for n, length in zip(size, mask.shape, strict=True)]
    if min(m - s for m, s in zip(mask.shape, size, strict=True)) < 0:  # enlarged
        return mask[np.ix_(*edges)]
    rows = np.logical_or.reduceat(mask, edges[0], axis=0)
    return np.logical_or.reduceat(rows, edges[1], axis=1)
