"""How well scores find what is marked: per image or per pixel, and per marked region.

`truth` is 0 or 1 for every score, of any shape; regions take a list of masks and maps, which need
not share a size. A measure that needs a class which is not there is None, not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fallow.problems import Problem

STEPS = 200


def auroc(truth: Any, scores: Any) -> float | None:
    """Chance that something marked scores above something unmarked.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    from sklearn.metrics import roc_auc_score

    marked, values = _flat(truth, scores)
    if marked.all() or not marked.any():
        return None
    return float(roc_auc_score(marked, values))


def average_precision(truth: Any, scores: Any) -> float | None:
    """Area under precision over recall, in steps.

    >>> average_precision([0, 1, 1], [0.1, 0.2, 0.3])
    1.0
    """
    from sklearn.metrics import average_precision_score

    marked, values = _flat(truth, scores)
    if not marked.any():
        return None
    return float(average_precision_score(marked, values))


def f1_max(truth: Any, scores: Any) -> float | None:
    """The best F1 any threshold reaches.

    >>> f1_max([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    0.8
    """
    best = best_threshold(truth, scores)
    return None if best is None else best[0]


def best_threshold(truth: Any, scores: Any) -> tuple[float, float] | None:
    """The best F1 and the threshold (score >= it is marked) that reaches it.

    >>> best_threshold([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    (0.8, 0.2)
    """
    from sklearn.metrics import precision_recall_curve

    marked, values = _flat(truth, scores)
    if not marked.any():
        return None
    precision, recall, thresholds = precision_recall_curve(marked, values)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    best = int(f1.argmax())
    return float(f1[best]), float(thresholds[best])


def aupro(masks: Sequence[Any], maps: Sequence[Any], limit: float = 0.3) -> float | None:
    """Area under mean region overlap over false-positive rate up to `limit`, exactly, in 0…1.

    Every threshold counts. A region is a marked area connected over sides or corners, in any of
    the images; all regions weigh the same, whatever their size.

    >>> mask = np.zeros((4, 4), int)
    >>> mask[0, 0] = mask[2:, 2:] = 1
    >>> aupro([mask], [mask * 2.0])
    1.0
    """
    if not 0 < limit <= 1:
        raise Problem(f"a limit on the false-positive rate lies above 0 and up to 1, not {limit}.")
    curve = _curve(masks, maps)
    if curve is None:
        return None
    rate, overlap, _ = curve
    inside = rate <= limit
    at_limit = np.interp(limit, rate, overlap)
    rate, overlap = np.r_[rate[inside], limit], np.r_[overlap[inside], at_limit]
    return float(np.trapezoid(overlap, rate) / limit)


def aupro_in_steps(
    masks: Sequence[Any], maps: Sequence[Any], limit: float = 0.3, steps: int = STEPS
) -> float | None:
    """The same as papers report it: `steps` equal thresholds, rates below `limit` stretched.

    The kept false-positive rates are spread to 0…1 by their own least and largest. On coarse or
    tied maps this lies some points below the exact area.

    >>> mask = np.eye(4, dtype=int)
    >>> aupro_in_steps([mask], [mask + np.linspace(0, 0.5, 16).reshape(4, 4)])
    1.0
    """
    curve = _curve(masks, maps)
    if curve is None:
        return None
    rate, overlap, level = curve
    low, high = min(float(m.min()) for m in maps), max(float(m.max()) for m in maps)
    thresholds = np.linspace(low, high, steps, endpoint=False)
    # the last point of the curve whose level is above the threshold; level falls along the curve
    place = np.searchsorted(-level, -thresholds, side="left") - 1
    rate, overlap = rate[place], overlap[place]
    kept = np.flatnonzero(rate < limit)[::-1]  # thresholds rise, so rates fall
    rate, overlap = rate[kept], overlap[kept]
    if not len(rate) or rate[-1] == rate[0]:
        return None  # no threshold, or one only, lies below the limit
    return float(np.trapezoid(overlap, (rate - rate[0]) / (rate[-1] - rate[0])))


def measures(
    masks: Sequence[Any], maps: Sequence[Any], *, limit: float = 0.3, in_steps: bool = False
) -> dict[str, float | None]:
    """AUROC, AP, best F1 and AUPRO of maps against masks, all pixels of all images together.

    >>> mask = np.eye(4, dtype=int)
    >>> measures([mask], [mask.astype(float)])
    {'auroc': 1.0, 'ap': 1.0, 'f1_max': 1.0, 'aupro': 1.0}
    """
    truth = np.concatenate([np.asarray(mask).ravel() != 0 for mask in masks])
    scores = np.concatenate([np.asarray(one).ravel() for one in maps])
    region = aupro_in_steps if in_steps else aupro
    return image_measures(truth, scores) | {"aupro": region(masks, maps, limit)}


def image_measures(truth: Any, scores: Any) -> dict[str, float | None]:
    """AUROC, AP and best F1 of one score per image (or anything else).

    >>> image_measures([1, 1], [0.2, 0.3])["auroc"] is None
    True
    """
    return {
        "auroc": auroc(truth, scores),
        "ap": average_precision(truth, scores),
        "f1_max": f1_max(truth, scores),
    }


def _flat(truth: Any, scores: Any) -> tuple[np.ndarray, np.ndarray]:
    marked, values = np.asarray(truth).ravel() != 0, np.asarray(scores).ravel()
    if marked.shape != values.shape:
        raise Problem(f"{marked.size} marks do not fit {values.size} scores.")
    if not np.isfinite(values).all():
        raise Problem("scores must be finite numbers: some are missing or infinite.")
    return marked, values


def _curve(
    masks: Sequence[Any], maps: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """False-positive rate and mean region overlap at every level, which falls from infinity."""
    from scipy.ndimage import label

    regions = []  # per pixel the share of the mean overlap it brings
    values = []
    count = normal = 0
    for mask, scores in zip(masks, maps, strict=True):
        marked, scores = np.asarray(mask) != 0, np.asarray(scores)
        if marked.shape != scores.shape or marked.ndim != 2:
            raise Problem(f"a mask of {marked.shape} does not fit a map of {scores.shape}.")
        numbers, found = label(marked, np.ones((3, 3)))
        sizes = np.bincount(numbers.ravel(), minlength=found + 1)
        share = 1 / np.maximum(sizes, 1)
        share[0] = 0
        regions.append(share[numbers].ravel())
        values.append(scores.ravel())
        count += found
        normal += int(sizes[0])
    if not count or not normal:
        return None
    share, level = np.concatenate(regions), np.concatenate(values)
    if not np.isfinite(level).all():
        raise Problem("maps must hold finite numbers: some are missing or infinite.")
    order = np.argsort(-level, kind="stable")
    share, level = share[order], level[order]
    last = np.r_[np.flatnonzero(np.diff(level)), len(level) - 1]  # equal scores belong together
    rate = np.cumsum(share == 0)[last] / normal
    overlap = np.cumsum(share)[last] / count
    return np.r_[0, rate], np.r_[0, overlap], np.r_[np.inf, level[last]]
