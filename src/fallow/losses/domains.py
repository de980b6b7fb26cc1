"""Losses that make features of different places alike: CORAL and adaptive feature norms."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def coral(one: Tensor, other: Tensor) -> Tensor:
    """How much means and covariances of two groups' features (N, D), (M, D) differ.

    The mean squared difference of each; a group of one image has no covariance, and gives NaN.

    >>> round(float(coral(torch.eye(3), torch.eye(3) + 2)), 4)
    4.0
    """
    one, other = at_least_float32(one), at_least_float32(other)
    means = (one.mean(0) - other.mean(0)).square().mean()
    return means + (_covariance(one) - _covariance(other)).square().mean()


@without_autocast
def coral_of_groups(features: Tensor, groups: Tensor) -> Tensor:
    """Deep CORAL: the mean of `coral` over all pairs of groups of a batch (B, D), (B).

    One group alone costs nothing. A group of one image is left out, as it has no covariance.

    >>> x = torch.eye(4)
    >>> round(float(coral_of_groups(torch.cat([x, x + 1]), torch.arange(8) // 4)), 4)
    1.0
    """
    features = at_least_float32(features)
    names, sizes = groups.unique(return_counts=True)
    some = [features[groups == name] for name in names[sizes > 1]]
    penalties = [coral(a, b) for a, b in combinations(some, 2)]
    return torch.stack(penalties).mean() if penalties else 0.0 * features.sum()


@without_autocast
def longer(features: Tensor, step: float = 1.0) -> Tensor:
    """Stepwise AFN: the features' lengths are to grow by `step` from what they are (B, D).

    The value is always `step` squared; only its gradient says anything.

    >>> x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> longer(x).backward()
    >>> x.grad
    tensor([[-1.2000, -1.6000]])
    """
    lengths = at_least_float32(features).norm(dim=1)
    return (lengths - (lengths.detach() + step)).square().mean()


@without_autocast
def mean_length(features: Tensor, length: float) -> Tensor:
    """Hard AFN: the features' mean length is to be `length`.

    >>> float(mean_length(torch.tensor([[3.0, 4.0]]), 4.0))
    1.0
    """
    return (at_least_float32(features).norm(dim=1).mean() - length).square()


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred.T @ centred / (len(features) - 1)  # of one image: 0 / 0
