"""Heat maps of key points against others: supervised, and networks that teach themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fallow.losses.precision import at_least_float32


def heat_loss(maps: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Half the squared difference of maps (B J h w), each joint by its weight (B J).

    Maps that count nothing stay in the mean, as published.

    >>> heat_loss(torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.2500)
    """
    apart = at_least_float32(maps) - target.to(at_least_float32(maps))
    return (weights[..., None, None] * apart).square().mean() / 2


def heat_consistency(students: Sequence[Tensor], teacher: Tensor, weights: Tensor) -> Tensor:
    """What several hard views (each B J h w) owe to the easy one: a sum over them, not a mean.

    >>> views = [torch.ones(1, 1, 2, 2)] * 3
    >>> heat_consistency(views, torch.zeros(1, 1, 2, 2), torch.ones(1, 1))
    tensor(1.5000)
    """
    target = teacher.detach()
    return torch.stack([heat_loss(one, target, weights) for one in students]).sum()


def sure_joints(teacher: Tensor, weights: Tensor, least: float = 0.5) -> Tensor:
    """Weights (B J) of those joints whose map peaks above `least`; 0 of the others.

    >>> sure_joints(torch.tensor([[[[0.9]], [[0.3]]]]), torch.ones(1, 2)).tolist()
    [[1.0, 0.0]]
    """
    return weights * (teacher.amax((2, 3)) > least)
