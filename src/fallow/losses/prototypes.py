"""Losses that share the images among prototypes and predict one view's share from another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.distributed import all_reduce_max, all_reduce_sum, world_size
from fallow.losses.precision import at_least_float32, without_autocast


@torch.no_grad()
@without_autocast
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Soft assignments that use all prototypes about equally; each row sums to 1.

    `scores` (B, K) are this rank's; prototypes are balanced over the rows of all ranks, which
    must bring equally many. Works on logarithms, because exp(scores / epsilon) overflows float32
    once epsilon is near 0.01.

    >>> sinkhorn(torch.zeros(2, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500],
            [0.2500, 0.2500, 0.2500, 0.2500]])
    """
    log_q = at_least_float32(scores) / epsilon  # b K
    samples = len(scores) * world_size()
    log_samples, log_prototypes = math.log(samples), math.log(scores.shape[1])
    log_q -= _log_sum(log_q.reshape(-1))
    for _ in range(iterations):  # prototypes first, samples last
        log_q -= _log_sum(log_q) + log_prototypes
        log_q -= log_q.logsumexp(1, keepdim=True) + log_samples
    return log_q.add_(log_samples).exp_()


@without_autocast
def swapped_prediction(
    scores: Sequence[Tensor], assignments: Mapping[int, Tensor], temperature: float = 0.1
) -> Tensor:
    """SwAV: every assigned crop's code is predicted from each of the other crops.

    `scores` has one (B, K) tensor per crop, `assignments` maps a crop's position to its code
    (B, K). Mean over pairs; gradient flows through the scores only.

    >>> code = torch.eye(3)
    >>> round(float(swapped_prediction([code, code], {0: code, 1: code}, 0.1)), 6)
    9.1e-05
    """
    predictions = [F.log_softmax(at_least_float32(s) / temperature, 1) for s in scores]
    terms = [
        -(code.detach() * prediction).sum(1).mean()
        for assigned, code in assignments.items()
        for crop, prediction in enumerate(predictions)
        if crop != assigned
    ]
    return torch.stack(terms).mean()


@without_autocast
def prototype_contrast(
    features: Tensor, prototypes: Tensor, density: Tensor, target: Tensor
) -> Tensor:
    """GPC: every row (B, D) must find the prototype of its class; a tight one has a low density.

    `prototypes` (K, D) are unit rows and `density` (K) their temperatures; neither learns.

    >>> code = torch.eye(3)
    >>> round(float(prototype_contrast(code, code, torch.full((3,), 0.1), torch.arange(3))), 6)
    9.1e-05
    """
    return F.cross_entropy(prototype_scores(features, prototypes, density), target)


@without_autocast
def prototype_scores(features: Tensor, prototypes: Tensor, density: Tensor) -> Tensor:
    """Cosines of rows with prototypes, each over its own temperature."""  # B K
    unit = F.normalize(at_least_float32(features), dim=1, eps=1e-12)
    return unit @ prototypes.detach().T / density.detach()


def _log_sum(log_values: Tensor) -> Tensor:
    """log of the sum of exponentials over the first dimension, over all ranks."""
    largest = all_reduce_max(log_values.amax(0))
    return largest + all_reduce_sum((log_values - largest).exp_().sum(0)).log_()
