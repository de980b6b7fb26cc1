"""How far predicted points lie from true ones, as a share of the size of what they mark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fallow.problems import Problem

Size = Literal["box", "diagonal"]


def sizes(points: np.ndarray, by: Size | Sequence[int]) -> np.ndarray:
    """What distances are divided by, for each picture (N): from true points (N L 2).

    `box` is the root of the area of the box around the points, `diagonal` its diagonal, two
    numbers are the points whose distance counts (the outer corners of the eyes).
    """
    if isinstance(by, str):
        marked = np.isfinite(points)
        across = np.where(marked, points, -np.inf).max(1) - np.where(marked, points, np.inf).min(1)
        across = np.maximum(across, 0)  # N 2; nothing marked, no size
        return np.sqrt(across.prod(1)) if by == "box" else np.linalg.norm(across, axis=1)
    if len(by) != 2:
        raise Problem(f"a distance lies between two points, not {len(by)}")
    return np.linalg.norm(points[:, by[0]] - points[:, by[1]], axis=1)


def point_errors(
    predicted: np.ndarray, points: np.ndarray, by: Size | Sequence[int] = "box"
) -> np.ndarray:
    """Mean distance of the points of each picture in percent of its size (N); NaN: not marked.

    >>> truth = np.array([[[0.0, 0.0], [10.0, 10.0]]])
    >>> point_errors(truth + np.array([0.0, 1.0]), truth).round(3).tolist()
    [10.0]
    """
    predicted, points = np.asarray(predicted, np.float64), np.asarray(points, np.float64)
    away = np.linalg.norm(predicted - points, axis=2)  # N L
    known = ~np.isnan(away)
    mean = np.where(known, away, 0).sum(1) / np.maximum(known.sum(1), 1)
    size = sizes(points, by)
    return np.where(size > 0, 100 * mean / np.where(size > 0, size, 1), np.nan)


def pck(
    predicted: np.ndarray, points: np.ndarray, reach: np.ndarray | float, strict: bool = False
) -> np.ndarray:
    """Of each landmark the share of pictures (N L 2) where it lies within reach; NaN: unmarked.

    `reach` is one distance, one for each picture (N), or for x and y apart (N 2).

    >>> truth = np.array([[[0.0, 0.0], [9.0, 9.0]], [[0.0, 0.0], [np.nan, np.nan]]])
    >>> pck(truth + np.array([3.0, 0.0]), truth, np.array([2.0, 4.0])).tolist()
    [0.5, 0.0]
    """
    away = np.asarray(predicted, np.float64) - np.asarray(points, np.float64)  # N L 2
    limit = np.asarray(reach, np.float64)
    limit = np.broadcast_to(
        limit.reshape(-1, 1, 1) if limit.ndim < 2 else limit[:, None], away.shape
    )
    known = np.isfinite(points).all(2) & (limit > 0).all(2)  # N L
    share = np.linalg.norm(
        np.where(known[..., None], away / np.where(limit > 0, limit, 1), 0), axis=2
    )
    hit = known & (share < 1 if strict else share <= 1)
    counted = known.sum(0)
    return np.where(counted > 0, hit.sum(0) / np.maximum(counted, 1), np.nan)
