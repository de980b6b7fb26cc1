"""Losses that make a few images do to a network what many real ones do to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast

TINY = 1e-6  # beside a product of norms, so that a row of zeros is no division by zero


@without_autocast
def layerwise_cosine(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """DC's distance of two gradients: 1 - cosine of every output's weights, summed.

    Gradients come as a list with one tensor per parameter; biases and gains count for nothing.

    >>> one, two = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> round(float(layerwise_cosine([one, torch.ones(2)], [two, torch.zeros(2)])), 4)
    1.0
    """
    total = at_least_float32(ours[0]).new_zeros(())
    for one, two in zip(ours, theirs, strict=True):
        if one.ndim > 1:
            a, b = at_least_float32(one).flatten(1), at_least_float32(two).flatten(1)
            norms = a.norm(dim=1) * b.norm(dim=1)
            total = total + (1 - (a * b).sum(1) / (norms + TINY)).sum()
    return total


@without_autocast
def whole_cosine(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """1 - cosine of two gradients as single vectors.

    >>> round(float(whole_cosine([torch.tensor([1.0, 0.0])], [torch.tensor([1.0, 1.0])])), 4)
    0.2929
    """
    a, b = joined(ours), joined(theirs)
    return 1 - (a * b).sum() / (a.norm() * b.norm() + TINY)


@without_autocast
def whole_square(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Squared distance of two gradients as single vectors.

    >>> float(
    ...     whole_square(
    ...         [torch.tensor([1.0]), torch.ones(2, 2)], [torch.ones(1), torch.zeros(2, 2)]
    ...     )
    ... )
    4.0
    """
    return (joined(theirs) - joined(ours)).square().sum()


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """All tensors as one vector."""
    return torch.cat([at_least_float32(tensor).flatten() for tensor in tensors])


def grouped_means(features: Tensor, groups: int) -> Tensor:
    """Mean of each of `groups` equal runs of rows.  groups * n, D -> groups, D

    >>> grouped_means(torch.tensor([[1.0], [3.0], [5.0], [5.0]]), 2).flatten().tolist()
    [2.0, 5.0]
    """
    return at_least_float32(features).unflatten(0, (groups, -1)).mean(1)


@without_autocast
def mean_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """DM: squared distance of mean features (classes, D), summed over classes and coordinates.

    >>> float(mean_distance(torch.zeros(2, 3), torch.ones(2, 3)))
    6.0
    """
    return (at_least_float32(theirs) - at_least_float32(ours)).square().sum()


@without_autocast
def trajectory_distance(end: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """MTT: how far a student ended from the expert, over how far the expert went.

    >>> float(trajectory_distance(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([2.0])))
    0.25
    """
    end, start, target = (at_least_float32(each) for each in (end, start, target))
    return (end - target).square().sum() / (start - target).square().sum()
