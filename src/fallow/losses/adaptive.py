"""Contrast in which every pair of embeddings has a temperature of its own, as AMCL has it.

A temperature stands for the uncertainty of its pair. Similarities and temperatures come per head
(C), anchor (B) and negative (N); losses are per anchor, summed over the heads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def bounded(affinity: Tensor, low: float, high: float) -> Tensor:
    """Temperatures between `low` and `high`; an affinity of 0 gives the middle.

    >>> bounded(torch.tensor([-9.0, 0.0, 9.0]), 0.1, 0.5).round(decimals=2)
    tensor([0.1000, 0.3000, 0.5000])
    """
    return low + (high - low) * at_least_float32(affinity).sigmoid()


@without_autocast
def omega(temperature: Tensor, dimension: int) -> Tensor:
    """What a temperature costs by itself: the rest of a Gaussian's likelihood on the unit sphere.

    -s / t + omega(t) is |a - b|^2 / 2t + (d / 2) log t for unit a, b; omega is least at 2 / d.

    >>> omega(torch.tensor([1.0, 2.0]), 2)
    tensor([1.0000, 1.1931])
    """
    t = at_least_float32(temperature)
    return dimension / 2 * t.log() + 1 / t


@without_autocast
def hardest_contrast(
    positive: Tensor,
    negatives: Tensor,
    positive_temperature: Tensor,
    negative_temperatures: Tensor,
    beta: float,
    dimension: int,
    hardest: int = 1,
) -> Tensor:
    """AMCL as published: the positive pair against the most similar negative of each head.

    `positive` is (C, B), `negatives` (C, B, N); the result (B,). With `hardest` above 1, the mean
    over that many negatives. Unbounded below where the temperatures are not bounded.

    >>> hardest_contrast(
    ...     torch.ones(1, 1),
    ...     torch.tensor([[[0.5, 0.0]]]),
    ...     torch.ones(1, 1),
    ...     torch.tensor([[[0.5, 1.0]]]),
    ...     beta=0.0,
    ...     dimension=2,
    ... )
    tensor([0.])
    """
    s, others = at_least_float32(positive), at_least_float32(negatives)
    t, temperatures = at_least_float32(positive_temperature), negative_temperatures
    # stable: the first of equally similar ones
    near, which = others.sort(dim=2, descending=True, stable=True)
    near, which = near[..., :hardest], which[..., :hardest]
    near_t = at_least_float32(temperatures).gather(2, which)  # C B hardest
    pull = -s / t + beta * omega(t, dimension)
    push = near / near_t - beta * omega(near_t, dimension)
    return (pull + push.sum(2) / max(1, push.shape[2])).sum(0)


@without_autocast
def soft_contrast(
    positive: Tensor,
    negatives: Tensor,
    positive_temperature: Tensor,
    negative_temperatures: Tensor,
    beta: float,
    dimension: int,
) -> Tensor:
    """NT-Xent whose logits have temperatures of their own, with AMCL's regulariser (ours).

    Shapes as in `hardest_contrast`, but all negatives repel. One head whose temperatures are all
    equal is plain NT-Xent, whatever `beta`.

    >>> t = torch.ones(1, 1)
    >>> soft_contrast(t, t[..., None], t, t[..., None], beta=0.1, dimension=8)
    tensor([0.6931])
    """
    t, temperatures = map(at_least_float32, (positive_temperature, negative_temperatures))
    own = at_least_float32(positive) / t  # C B
    others = at_least_float32(negatives) / temperatures  # C B N
    surprise = F.softplus(others.logsumexp(2) - own)
    cost = omega(t, dimension)
    if others.shape[2]:
        cost = cost - omega(temperatures, dimension).mean(2)
    else:  # nothing repels
        cost = torch.zeros_like(cost)
    return (surprise + beta * cost).sum(0)


@without_autocast
def adaptive_barlow(
    correlation: Tensor,
    temperature: Tensor,
    off_diagonal: float,
    beta: float,
    share: float = 1.0,
) -> Tensor:
    """AMCL's form of Barlow Twins: each entry of a head's cross-correlation has a temperature.

    Both are (C, D, D). `share` weighs the regulariser of the entries off the diagonal, which are
    D - 1 times as many; the authors have 1. All temperatures 1 and `beta` 0: Barlow Twins.

    >>> bool(adaptive_barlow(torch.eye(3)[None], torch.ones(1, 3, 3), 0.005, 0.0) == 0)
    True
    """
    c, t = at_least_float32(correlation), at_least_float32(temperature)
    size = c.shape[1]
    diagonal = torch.eye(size, device=c.device, dtype=torch.bool).expand_as(c)
    pull = (1 - c[diagonal] / t[diagonal]).square().sum()
    push = (c[~diagonal].square() / t[~diagonal]).sum()
    cost = omega(t[diagonal], size).sum() - share * omega(t[~diagonal], size).sum()
    return pull + off_diagonal * push + beta * cost
