"""Is an embedding still using its space? Meters that need no labels."""

from __future__ import annotations

import math
from typing import Any

import torch

from fallow.problems import Problem
from fallow.vectors.arrays import similarity_blocks, unit_rows


def spread(features: Any) -> float:
    """Mean deviation of unit rows per dimension, times sqrt(D): 1 fills the sphere, 0 collapsed.

    >>> round(spread(torch.eye(64)), 2), spread(torch.ones(8, 4))
    (0.99, 0.0)
    """
    unit = unit_rows(features)
    return float(unit.std(0, unbiased=False).mean() * math.sqrt(unit.shape[1]))


def effective_rank(features: Any) -> float:
    """Number of directions the centred unit rows use: exp of the entropy of singular values.

    Identical rows use none.

    >>> round(effective_rank(torch.cat([torch.eye(8), -torch.eye(8)])), 3)
    8.0
    >>> effective_rank(torch.ones(8, 4))
    0.0
    """
    unit = unit_rows(features).double()
    centred = unit - unit.mean(0)
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0).sqrt()
    values = values[values > 1e-6 * math.sqrt(len(unit))]  # below is rounding
    if not len(values):
        return 0.0
    share = values / values.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def alignment(first: Any, second: Any) -> float:
    """Mean squared distance between unit rows of two views; small is good.

    >>> alignment(torch.eye(2), torch.eye(2).flip(0))
    2.0
    """
    return float((unit_rows(first) - unit_rows(second)).square().sum(1).mean())


def uniformity(features: Any, sharpness: float = 2.0) -> float:
    """log of the mean of exp(-sharpness * squared distance) over pairs; low is uniform.

    >>> round(uniformity(torch.eye(4)), 4)
    -4.0
    >>> abs(uniformity(torch.ones(4, 3))) < 1e-6
    True
    """
    unit = unit_rows(features)
    rows = len(unit)
    if rows < 2:
        raise Problem("uniformity needs at least two rows.")
    total = 0.0
    for part, similarity in similarity_blocks(unit, unit):
        closeness = (2 * sharpness * (similarity.clamp(max=1) - 1)).exp()
        closeness[:, part].fill_diagonal_(0)  # not with itself
        total += float(closeness.sum(dtype=torch.float64))
    return math.log(total / (rows * (rows - 1)))
