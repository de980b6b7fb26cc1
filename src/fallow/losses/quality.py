"""Losses that fit predictions to ratings: by correlation, by order, by which of two is better.

Predictions and ratings are one number for each picture (B, or B 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast

TINY = 1e-8


@without_autocast
def correlation_loss(predicted: Tensor, rated: Tensor) -> Tensor:
    """(1 - r) / 2 with the linear correlation r: 0 where they agree up to scale and offset.

    >>> x = torch.tensor([1.0, 2.0, 4.0])
    >>> round(correlation_loss(3 * x + 1, x).item(), 6), round(correlation_loss(-x, x).item(), 6)
    (0.0, 1.0)
    """
    one, two = (_standard(values) for values in (predicted, rated))
    return (one - two).square().mean() / 4


@without_autocast
def order_loss(predicted: Tensor, rated: Tensor) -> Tensor:
    """By how much pairs stand in the wrong order, in units of one plus the worst of them.

    >>> order_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.3, 0.9])).item()
    0.0
    """
    one, two = _flat(predicted), _flat(rated)
    wrong = ((one[:, None] - one) * (two - two[:, None]).sign()).relu()  # B B
    return wrong.mean() / (1 + wrong.detach().max())


@without_autocast
def norm_in_norm(predicted: Tensor, rated: Tensor) -> Tensor:
    """Distance of predictions and ratings, each centred and brought to length 1 (Li et al. 2020).

    >>> x = torch.tensor([1.0, 2.0, 4.0])
    >>> round(norm_in_norm(2 * x, x).item(), 6)
    0.0
    """
    one, two = (_flat(values) - _flat(values).mean() for values in (predicted, rated))
    apart = (one / (one.norm() + TINY) - two / (two.norm() + TINY)).abs().sum()
    return apart / (2 * len(one) ** 0.5)


@without_autocast
def chance_better(one: Tensor, two: Tensor) -> Tensor:
    """How probably the first of each pair is the better one, by Thurstone's model.

    >>> chance_better(torch.tensor([1.0]), torch.tensor([1.0])).item()
    0.5
    """
    return 0.5 * (1 + torch.erf((at_least_float32(one) - at_least_float32(two)) / 2**0.5))


@without_autocast
def fidelity(one: Tensor, two: Tensor, rated_one: Tensor, rated_two: Tensor) -> Tensor:
    """How far the predicted chance that one of two is better lies from the rated one.

    >>> x = torch.tensor([0.3, 0.9])
    >>> abs(fidelity(x, x.flip(0), x, x.flip(0)).item()) < 1e-6
    True
    """
    p, q = chance_better(one, two), chance_better(rated_one, rated_two)
    # a chance of exactly 0 has no slope under the root
    return (1 - (p * q + TINY).sqrt() - ((1 - p) * (1 - q) + TINY).sqrt()).mean()


def _flat(values: Tensor) -> Tensor:
    return at_least_float32(values).reshape(-1)


def _standard(values: Tensor) -> Tensor:
    values = _flat(values)
    return (values - values.mean()) / (values.std(correction=0) + TINY)
