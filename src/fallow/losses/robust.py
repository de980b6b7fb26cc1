"""Losses that look after every group of images: group DRO and invariant risks (IRM)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


def group_means(losses: Tensor, groups: Tensor, count: int) -> Tensor:
    """Mean loss of each group of a batch, 0 for groups it lacks.  B, B -> G

    >>> group_means(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
    tensor([2., 0., 5.])
    """
    sums = losses.new_zeros(count).index_add(0, groups, losses)
    return sums / groups.bincount(minlength=count).clamp(min=1)


def even_weights(present: Tensor) -> Tensor:
    """Equal weights of the groups that there are; the others have none, for ever.

    >>> even_weights(torch.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    some = present.to(torch.get_default_dtype())
    return some / some.sum()


@torch.no_grad()
def raised_weights(weights: Tensor, means: Tensor, step: float) -> Tensor:
    """Group DRO: weights grow with their group's loss, and add up to 1 again.

    >>> raised_weights(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]), 1.0).round(decimals=2)
    tensor([0.2700, 0.7300])
    """
    weights = weights * (step * means).exp()
    return weights / weights.sum()


@without_autocast
def invariance(logits: Tensor, labels: Tensor) -> Tensor:
    """IRM's penalty for one group: would another scale of its logits (B, C) be better?

    The product of two estimates of that slope, of even and of odd images; below two images 0.

    >>> float(invariance(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])))
    0.0
    """
    logits = at_least_float32(logits)
    if len(logits) < 2:
        return 0.0 * logits.sum()
    # d/ds of the cross-entropy of s * logits at s = 1: expected logit less the true one's
    own = logits.gather(1, labels[:, None])[:, 0]
    slope = (logits.softmax(1) * logits).sum(1) - own  # B
    return slope[0::2].mean() * slope[1::2].mean()


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Of every image; labels are classes (B) or probabilities of all classes (B, C).

    >>> cross_entropies(torch.zeros(1, 2), torch.tensor([1]))
    tensor([0.6931])
    """
    return F.cross_entropy(at_least_float32(logits), labels, reduction="none")
