"""How well new classes were found: clusters matched to new classes only, and overlap per class.

Numbers follow one convention: classes 0 to known - 1 are the known ones and stand for themselves,
the new classes follow; what was found counts on from `known` in clusters of its own order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fallow.images import Images
from fallow.images.classes import IGNORE
from fallow.images.masks import read_masks
from fallow.problems import Problem, SourceProblem

UNMATCHED = -1


def match_novel(
    truth: Any, found: Any, weights: Any, *, known: int, classes: int, clusters: int
) -> np.ndarray:
    """The class of every number found: known ones their own, a cluster a new class or UNMATCHED.

    Where there are more clusters than new classes, some stay UNMATCHED. Only rows whose true class
    is new are looked at, and each new class weighs the same, however much of it there is. No
    cluster is ever matched with a known class.

    >>> match_novel([0, 1, 1, 2], [0, 2, 2, 3], [9, 1, 1, 5], known=1, classes=3, clusters=3)
    array([ 0, -1,  1,  2])
    """
    from scipy.optimize import linear_sum_assignment

    truth, found, weights = _columns(truth, found, weights)
    new = classes - known
    shared = np.zeros((clusters, new))
    counted = (truth >= known) & (found >= known)
    np.add.at(shared, (found[counted] - known, truth[counted] - known), weights[counted])
    total = np.bincount(truth[truth >= known] - known, weights[truth >= known], minlength=new)
    shared /= np.maximum(total, 1e-300)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    matched = np.full(known + clusters, UNMATCHED)
    matched[:known] = np.arange(known)
    matched[known + rows] = known + columns
    return matched


def match_freely(truth: Any, found: Any, weights: Any, *, classes: int, numbers: int) -> np.ndarray:
    """The class of every number found, known ones matched too: as if no class were known.

    It flatters known classes that were mixed up; for comparison with such numbers only.

    >>> match_freely([0, 0, 1], [1, 1, 0], [1, 1, 1], classes=2, numbers=2)
    array([1, 0])
    """
    from scipy.optimize import linear_sum_assignment

    truth, found, weights = _columns(truth, found, weights)
    shared = np.zeros((numbers, classes))
    np.add.at(shared, (found, truth), weights)
    total = np.bincount(truth, weights, minlength=classes)
    rows, columns = linear_sum_assignment(shared / np.maximum(total, 1e-300), maximize=True)
    matched = np.full(numbers, UNMATCHED)
    matched[rows] = columns
    return matched


def _columns(*values: Any) -> tuple[np.ndarray, ...]:
    truth, found, weights = (np.asarray(value) for value in values)
    if not truth.shape == found.shape == weights.shape:
        raise Problem(
            f"{len(truth)} true classes, {len(found)} found ones and {len(weights)} weights "
            "do not belong together."
        )
    return truth.astype(np.int64), found.astype(np.int64), weights.astype(float)


def confusion(truth: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by what was found (classes + 1 rows, the last for UNMATCHED) and by true class.

    Pixels whose truth is not a class, such as -1 or 255, are left out.

    >>> confusion(np.array([[0, 1, 255]]), np.array([[0, UNMATCHED, 0]]), 2).tolist()
    [[1, 0], [0, 0], [0, 1]]
    """
    known = (truth >= 0) & (truth < classes)
    rows = np.where((found < 0) | (found >= classes), classes, found)[known].astype(np.int64)
    counts = np.bincount(rows * classes + truth[known], minlength=(classes + 1) * classes)
    return counts.reshape(classes + 1, classes)


def overlap(counts: np.ndarray) -> np.ndarray:
    """IoU of every class from a confusion (.. classes + 1, classes); NaN where truth has none.

    >>> overlap(np.array([[3, 1, 0], [0, 4, 0], [1, 0, 0], [0, 0, 0]]))
    array([0.6, 0.8, nan])
    """
    counts = np.asarray(counts, float)
    true = counts.sum(-2)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    either = true + counts[..., :-1, :].sum(-1) - right
    return np.where(true > 0, right / np.maximum(either, 1), np.nan)


def dataset_iou(counts: np.ndarray) -> np.ndarray:
    """IoU of every class over all images together, from one confusion an image (N .. ..)."""
    return overlap(np.asarray(counts).sum(0))


def image_iou(counts: np.ndarray) -> np.ndarray:
    """IoU of every class, averaged over the images that hold it; NaN where none does.

    A class found in an image that does not hold it costs nothing here: see `dataset_iou`.

    >>> image_iou(np.array([[[1, 0], [0, 0], [0, 0]], [[0, 2], [0, 2], [0, 0]]]))
    array([1. , 0.5])
    """
    each = overlap(counts)  # N classes
    held = ~np.isnan(each)
    sums = np.where(held, each, 0).sum(0)
    return np.where(held.any(0), sums / np.maximum(held.sum(0), 1), np.nan)


def means(ious: np.ndarray, known: int) -> dict[str, float | None]:
    """Mean over all, the known and the new classes that truth holds; None where it holds none.

    >>> means(np.array([0.5, np.nan, 0.2, 0.4]), known=2)
    {'all': 0.3666..., 'known': 0.5, 'new': 0.3000...}
    """
    parts = {"all": ious, "known": ious[:known], "new": ious[known:]}
    return {
        name: float(np.nanmean(part)) if len(part) and not np.isnan(part).all() else None
        for name, part in parts.items()
    }


class Truth(NamedTuple):
    """Masks of all classes, known ones under their numbers, then new ones; IGNORE elsewhere."""

    names: list[str]
    masks: dict[int, np.ndarray]  # by row: H W uint8


def read_truth(
    images: Images,
    rows: Sequence[int],
    masks: Any,
    known: Mapping[int, str],
    classes: Any = None,
    ignore: Sequence[Any] = (),
) -> Truth:
    """The true masks of some rows; `known` names the known classes by their values in masks."""
    ids = images.table.column("id").to_pylist()
    if isinstance(masks, Mapping):
        masks = {key: mask for key, mask in masks.items() if key in set(ids)}
    found = read_masks(images, masks, classes, ignore)
    every = found.classes
    new = [k for k, value in enumerate(every.values) if value not in known]
    order = {value: number for number, value in enumerate(known)}
    order |= {every.values[k]: len(known) + n for n, k in enumerate(new)}
    rename = np.full(256, IGNORE, np.uint8)
    rename[: len(every.values)] = [order[value] for value in every.values]
    place = {key: row for row, key in enumerate(found.labelled.table.column("id").to_pylist())}
    judged = {row: place[ids[row]] for row in rows if ids[row] in place}
    if not judged:
        raise SourceProblem("none of the images without a mask has one in truth=")
    return Truth(
        [*known.values(), *(every.names[k] for k in new)],
        {row: rename[found.labelled.mask(there)] for row, there in judged.items()},
    )


def match_maps(
    maps: Callable[[int], np.ndarray], truth: Truth, *, known: int, clusters: int
) -> np.ndarray:
    """The class of every number in maps of pixels, each pair of numbers weighing its pixels."""
    classes = len(truth.names)
    shared = np.zeros((known + clusters, classes), np.int64)
    for row, mask in truth.masks.items():
        valid = mask < classes
        cell = maps(row)[valid].astype(np.int64) * classes + mask[valid]
        shared += np.bincount(cell, minlength=shared.size).reshape(shared.shape)
    number, true = np.nonzero(shared)
    return match_novel(
        true, number, shared[number, true], known=known, classes=classes, clusters=clusters
    )


def ious_of(maps: Callable[[int], np.ndarray], truth: Truth, known: int) -> dict[str, Any]:
    """IoU of maps (row -> classes): means over the data set and over images, and of each class.

    >>> one = Truth(["road", "sky"], {0: np.array([[0, 1]])})
    >>> ious_of(lambda row: np.array([[0, 1]]), one, known=1)["class"]
    {'road': 1.0, 'sky': 1.0}
    """
    classes = len(truth.names)
    counts = np.stack([confusion(m, maps(row), classes) for row, m in truth.masks.items()])
    whole = dataset_iou(counts)
    return {
        "dataset": means(whole, known),
        "image": means(image_iou(counts), known),
        "class": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(truth.names, whole, strict=True)
        },
    }
