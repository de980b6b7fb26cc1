"""Losses that take images out of an encoder: unexplained by their own model, unlike before.

All are sums over the images of a batch, as published: their gradients grow with the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast

TINY = 1e-8  # keeps the logarithm of a vanishing spread finite


def unexplained(reconstruction: Tensor, embedding: Tensor) -> Tensor:
    """Squared error of each row's reconstruction.

    >>> unexplained(torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([25.,  0.])
    """
    error = at_least_float32(reconstruction) - at_least_float32(embedding)
    return error.square().sum(1)  # B


@without_autocast
def discrepancy(reconstruction: Tensor, embedding: Tensor) -> Tensor:
    """LAF: squared errors q squashed to exp(q / (q + 1)), between 1 and e, summed over the rows.

    The gradient falls with 1 / (q + 1)^2: rows far from their reconstruction hardly move.

    >>> discrepancy(torch.zeros(1, 2), torch.zeros(1, 2))
    tensor(1.)
    """
    error = unexplained(reconstruction, embedding)
    return (error / (error + 1)).exp().sum()


def unlearning(
    kept_reconstruction: Tensor, kept: Tensor, forgotten_reconstruction: Tensor, forgotten: Tensor
) -> Tensor:
    """LAF's extractor unlearning: kept rows stay explained, forgotten ones become unexplained.

    >>> same = torch.zeros(2, 3)
    >>> unlearning(same, same, same, same)
    tensor(0.)
    """
    return discrepancy(kept_reconstruction, kept) - discrepancy(forgotten_reconstruction, forgotten)


@without_autocast
def alignment(
    kept: Tensor,
    kept_before: Tensor,
    forgotten: Tensor,
    forgotten_before: Tensor,
    temperature: float,
) -> Tensor:
    """LAF's representation alignment: kept rows (R, D) stay where they were, forgotten ones leave.

    Distances are 1 - cosine to the row's embedding before; nothing moved gives -R log F.

    >>> rows = torch.eye(4)
    >>> alignment(rows, rows, rows, rows, 20.0).round(decimals=4)
    tensor(-5.5452)
    """
    stayed = _apart(kept, kept_before)  # R
    left = _apart(forgotten, forgotten_before)  # F
    return (stayed - torch.logsumexp(left / temperature, 0)).sum()


def _apart(now: Tensor, before: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(at_least_float32(now), at_least_float32(before), dim=1)


@without_autocast
def evidence(
    embedding: Tensor, reconstruction: Tensor, mean: Tensor, spread: Tensor, weight: float = 0.025
) -> Tensor:
    """A variational autoencoder's loss, a mean over the rows: squared error + weight * divergence.

    >>> nothing = torch.zeros(2, 3)
    >>> abs(evidence(nothing, nothing, nothing, torch.ones(2, 3)).item()) < 1e-6
    True
    """
    error = unexplained(reconstruction, embedding).sum()
    mean, spread = at_least_float32(mean), at_least_float32(spread)
    terms = (spread.square() + TINY).log() + 1 - mean.square() - spread.square()
    return (error - weight * 0.5 * terms.sum()) / len(embedding)
