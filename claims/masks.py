"""What claims about masks share: how each set's are read, which pictures keep theirs, and steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

MASKS = 5  # where few are asked for
TIMED = 24  # steps, after a few that compile


@dataclass(frozen=True)
class Pictures:
    """How a set's masks are read, and which of its pictures get one."""

    labelled: int
    classes: tuple[str, ...]
    codes: Callable[[np.ndarray], np.ndarray]
    group: str | None = None  # column of what is nearly the same picture
    background: bool = True  # class 0 is not judged
    quarters: bool = False


SETS = {
    "nuclei_cc0": Pictures(6, ("ground", "nucleus"), lambda mask: mask > 0),
    "polyp": Pictures(8, ("ground", "polyp"), lambda mask: mask > 0, group="sequence"),
    "membrane_em": Pictures(
        4, ("inside", "membrane"), lambda mask: mask == 0, group="slice", quarters=True
    ),
    "white_blood_cells": Pictures(6, ("ground", "cytoplasm", "nucleus"), lambda mask: mask),
    "camvid": Pictures(
        8,
        ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
         "pedestrian", "cyclist"),
        lambda mask: np.where(mask > 10, 255, mask),
        group="sequence",
        background=False,
    ),
}  # fmt: skip


def known_masks(data: Path, name: str) -> tuple[Any, dict[str, np.ndarray], Any]:
    """A set's images, their masks as class codes by id, and the images that have them."""
    import fallow
    from fallow.images.masks import read_masks

    images, about = fallow.open(archive(data, name)), SETS[name]
    keys = images.column("id")
    masks = {key: about.codes(images.mask(row)).astype(np.uint8) for row, key in enumerate(keys)}
    return images, masks, read_masks(images, masks, list(about.classes), [255])


def labelled_rows(groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows that keep their masks: group by group in random order, evenly from the last one.

    >>> labelled_rows(np.array(["a", "a", "b", "b", "b", "b"]), 4, seed=0).tolist()
    [0, 1, 2, 4]
    >>> len(set(labelled_rows(np.arange(9), 4, seed=0).tolist()))
    4
    """
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    rows = np.zeros(0, int)
    for group in order:
        mine = np.flatnonzero(groups == group)
        wanted = min(len(mine), count - len(rows))
        rows = np.append(rows, mine[np.arange(wanted) * len(mine) // max(1, wanted)])
    return rows


def groups_of(images: Any, by: str | None) -> np.ndarray:
    """What is nearly the same picture, a value for each row: a column's, or the row's own."""
    return np.arange(len(images)) if by is None else images.column(by)


def spread(groups: np.ndarray, count: int, seed: int) -> list[int]:
    """Rows of as many different groups as there are: the middle one of each, in random order.

    >>> sorted(spread(np.array(["a", "a", "a", "b", "c"]), 3, seed=0))
    [1, 3, 4]
    >>> len(set(spread(np.array(["a"] * 6 + ["b"]), 4, seed=0)))
    4
    """
    random = np.random.default_rng(seed)
    left = {str(group): list(np.flatnonzero(groups == group)) for group in np.unique(groups)}
    rows: list[int] = []
    while len(rows) < count and any(left.values()):
        for group in random.permutation(sorted(left)):
            if left[group] and len(rows) < count:
                rows.append(int(left[group].pop(len(left[group]) // 2)))
    return rows


def few_masks(
    images: Any, masks: dict[str, np.ndarray], groups: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """The masks, by id, of `MASKS` pictures of as many different groups as there are."""
    keys = images.column("id")
    return {keys[row]: masks[keys[row]] for row in spread(groups, MASKS, seed)}


def segmented(images: Any, few: dict[str, np.ndarray], name: str, **asked: Any) -> Any:
    """`segment` as a user asks it who has pictures and a few of their masks."""
    import fallow
    from fallow.images.masks import without_masks

    classes = list(SETS[name].classes)
    return fallow.segment(without_masks(images), few, classes=classes, ignore=[255], **asked)


@dataclass(frozen=True)
class Timed:
    """A short run, and what it says of longer ones."""

    run: Any
    step: float  # seconds of a step
    setup: float  # seconds before and after all steps


def timed(train: Callable[[int], Any]) -> Timed:
    """Time `train(steps)`, once what is done only once in a program has been done."""
    train(4)
    begin = time.monotonic()
    run = train(TIMED)
    return Timed(run, run.seconds / max(1, run.steps), time.monotonic() - begin - run.seconds)


def predicted(method: Any, pixels: np.ndarray) -> np.ndarray:
    """The most probable class of every pixel of a picture."""
    from fallow.methods.shared.segment import enlarged, look

    return enlarged(look(method, pixels)[0], pixels.shape[:2])


def mean_dice(method: Any, images: Any, background: bool = True) -> float:
    """From all pixels of all pictures together; class 0 is left out where it is the background."""
    from fallow.measure.segmentation import dice_of

    return float(dice_of(totals(method, images))[1 if background else 0 :].mean())


def totals(method: Any, images: Any) -> np.ndarray:
    """Which class was taken for which, over all pixels of all pictures: K K."""
    from fallow.measure.segmentation import confusion

    classes = method.settings.classes
    total = np.zeros((classes, classes), np.int64)
    for row, pixels in images.map(np.asarray):
        if isinstance(pixels, np.ndarray):
            total += confusion(predicted(method, pixels), images.mask(row), classes)
    return total
