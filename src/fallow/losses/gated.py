"""Contrast in the dimensions a gate leaves open, with labels that say which pairs to compare.

Several ranks: a rank passes its own queries and the keys and key labels of all ranks; the mean of
the ranks' losses is the loss of one process on the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.distributed import all_reduce_sum, world_size
from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def gated_cosine(query: Tensor, key: Tensor, gate: Tensor) -> Tensor:
    """Cosine of every query (B, D) with every key (N, D), both under the query's gate (B, D).

    Two matrix products instead of a B x N x D tensor. Under a gate of zeros all cosines are 0.

    >>> query, key = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    >>> gated_cosine(query, key, torch.tensor([[1.0, 0.0]]))
    tensor([[1.]])
    """
    query, key, gate = (at_least_float32(x) for x in (query, key, gate))
    # a cosine does not change with the gate's scale, and small gates squared would underflow
    gate = gate / gate.detach().abs().amax(1, keepdim=True).clamp(min=1e-30)
    open_to = gate.square()
    query_length = (open_to * query.square()).sum(1, keepdim=True)  # B 1
    key_length = open_to @ key.square().T  # B N
    lengths = query_length.clamp(min=1e-24).sqrt() * key_length.clamp(min=1e-24).sqrt()
    return (query * open_to) @ key.T / lengths


@without_autocast
def gated_product(query: Tensor, key: Tensor, gate: Tensor) -> Tensor:
    """As `gated_cosine`, but rows are scaled to length 1 before the gate and not after it.

    >>> gated_product(torch.eye(2), torch.eye(2), torch.tensor([[0.5, 1.0], [0.5, 1.0]]))
    tensor([[0.2500, 0.0000],
            [0.0000, 1.0000]])
    """
    query, key, gate = (at_least_float32(x) for x in (query, key, gate))
    query, key = F.normalize(query, dim=1, eps=1e-12), F.normalize(key, dim=1, eps=1e-12)
    return (query * gate.square()) @ key.T


@without_autocast
def pair_contrast(logits: Tensor, labels: Tensor, others: Tensor, keys: Tensor) -> Tensor:
    """Hydra: queries of class `labels` (B) must find the keys of class `others` (B).

    `logits` (B, N) compare queries with the keys, whose classes are `keys` (N). Every positive
    has a denominator of its own, with the keys of neither class; mean over all positives of all
    ranks. Class -1 is unknown and takes no part; without any positive the loss is 0.

    >>> labels = torch.tensor([0, 1])
    >>> float(pair_contrast(torch.zeros(2, 2), labels, labels, labels))
    0.6931471824645996
    """
    surprise, pairs = _surprise(logits, labels, others, keys)
    total = all_reduce_sum(pairs.sum()).clamp(min=1)
    return surprise.sum() * world_size() / total


@without_autocast
def pair_contrast_by_anchor(logits: Tensor, labels: Tensor, others: Tensor, keys: Tensor) -> Tensor:
    """`pair_contrast` with a mean over each query's positives first, then over all queries.

    The authors' later form, with their small constant in the inner mean.

    >>> labels = torch.tensor([0, 1])
    >>> round(float(pair_contrast_by_anchor(torch.zeros(2, 2), labels, labels, labels)), 4)
    0.6931
    """
    surprise, pairs = _surprise(logits, labels, others, keys)
    return (surprise.sum(1) / (pairs + 1e-6)).mean()


def _surprise(
    logits: Tensor, labels: Tensor, others: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor]:
    """-log of each positive's share, 0 elsewhere (B N), and the number of positives (B)."""
    logits = at_least_float32(logits)
    known = (labels >= 0) & (others >= 0)
    wanted = others[:, None] == keys[None]
    positive = wanted & known[:, None]
    negative = ~wanted & (labels[:, None] != keys[None]) & (keys >= 0)[None]
    against = logits.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)  # B 1
    # log(e^own + e^against) - own; a row without negatives contributes 0
    return F.softplus(against - logits) * positive, positive.sum(1)
