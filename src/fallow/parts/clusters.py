"""Pseudo-labels: clusters of what the encoder sees now, in the order of a batch's `index`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fallow.distributed import from_first
from fallow.views import Recipe

if TYPE_CHECKING:
    from fallow.images import Images
    from fallow.train.method import Method


def vectors(method: Method, images: Images) -> np.ndarray:
    """The encoder's vectors (N, D) of the images a run trains on; row i is batch index i.

    Reads the pack the run has already made, so nothing is decoded again.
    """
    from fallow.train.streams import source_side

    recipe = method.recipe()
    assert isinstance(recipe, Recipe)
    return method.encoder.embed(images.pack(side=source_side(recipe)))


def cluster(vectors: np.ndarray, count: int, *, rounds: int = 20, seed: int = 0) -> np.ndarray:
    """Labels (N) from k-means on rows scaled to length 1, the same on every rank.

    >>> cluster(np.eye(2, dtype=np.float32).repeat(3, axis=0), 2).tolist() in (
    ...     [0, 0, 0, 1, 1, 1],
    ...     [1, 1, 1, 0, 0, 0],
    ... )
    True
    """
    from fallow.vectors.space import kmeans, unit

    return from_first(kmeans(unit(vectors), count, rounds=rounds, seed=seed)[1])


def renamed(labels: np.ndarray, before: np.ndarray, count: int) -> np.ndarray:
    """New clusters under the names of the old ones they share most images with.

    >>> renamed(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 1]), 2).tolist()
    [1, 1, 0, 0]
    """
    from scipy.optimize import linear_sum_assignment

    shared = np.zeros((count, count), np.int64)
    both = before >= 0
    np.add.at(shared, (labels[both], before[both]), 1)
    return linear_sum_assignment(shared, maximize=True)[1][labels]
