"""Losses that pull features to where their content does not belong, or hide where it is from."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def toward(features: Tensor, target: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """KL of the features' softmax (B, D) from that of a target (D or B, D); a mean over pictures.

    The target is a constant. Nothing is scaled to length 1: raw features, as a network gives them.

    >>> import torch
    >>> float(toward(torch.ones(2, 3), torch.zeros(3)))
    0.0
    """
    features, target = at_least_float32(features), at_least_float32(target.detach())
    wanted = F.log_softmax(target / temperature, -1).expand_as(features)
    found = F.log_softmax(features / temperature, -1)
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return -context.factor * gradient[0], None


def reversed_gradient(features: Tensor, factor: float = 1.0) -> Tensor:
    """The features themselves, but what is learnt behind them is unlearnt before them.

    >>> x = torch.ones(2, requires_grad=True)
    >>> reversed_gradient(3 * x, 0.5).sum().backward()
    >>> x.grad
    tensor([-1.5000, -1.5000])
    """
    return _Reversed.apply(features, factor)  # type: ignore[no-any-return, no-untyped-call]


@without_autocast
def told_from(scores: Tensor, wanted: float) -> Tensor:
    """Least squares: mean squared distance of a judge's scores from what they should be, 0 or 1.

    >>> float(told_from(torch.tensor([0.0, 1.0]), 0.0))
    0.5
    """
    return (at_least_float32(scores) - wanted).square().mean()


# --- between a network that makes something and a critic that tells it from the real thing ---


def more_real(logits: Tensor, others: Tensor) -> Tensor:
    """How far the critic is from finding each of `logits` more real than its partner; a mean.

    A relativistic pairing: the i-th made one is compared with the i-th real one, however
    unrelated the two are. The critic's own loss has the two the other way round.

    >>> round(float(more_real(torch.zeros(3), torch.zeros(3))), 4)
    0.6931
    """
    return F.softplus(others - logits).mean()


def steepness(logits: Tensor, inputs: Tensor) -> Tensor:
    """Squared length of the slope of each one's logit, to be kept small.  B ... -> B

    `inputs` must have been what the logits were computed from, with derivatives asked for.

    >>> x = torch.ones(2, 3, requires_grad=True)
    >>> steepness((x * x).sum(1), x).tolist()
    [12.0, 12.0]
    """
    (slope,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return slope.flatten(1).square().sum(1)
