"""Losses of every pixel: cross-entropy over a denominator that has a name, and both Dice forms.

Logits and probabilities are B K *S, targets B *S (any integer type), weights B *S; *S is H W or
D H W. A target of 255 is never counted.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.losses.precision import at_least_float32, without_autocast

IGNORE = 255

Denominator = Literal["weight", "valid", "all"]


@without_autocast
def masked_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    over: Denominator,
    epsilon: float = 0.0,
    ignore: int = IGNORE,
) -> Tensor:
    """Sum of weight * cross-entropy, divided by what `over` names.

    "weight": the sum of the weights, for a mean over the region they mark; "valid": the pixels
    whose target is not to be ignored, also those of weight 0; "all": every pixel there is. Where
    nothing is counted the loss is 0, not undefined.

    >>> logits = torch.zeros(1, 2, 2, 2)
    >>> target = torch.tensor([[[0, 1], [1, 255]]])
    >>> half = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    >>> [
    ...     round(masked_cross_entropy(logits, target, half, over=how).item(), 4)
    ...     for how in ("weight", "valid", "all")
    ... ]
    [0.6931, 0.231, 0.1733]
    """
    valid = target != ignore
    values = F.cross_entropy(
        at_least_float32(logits), torch.where(valid, target, 0).long(), reduction="none"
    )  # B *S
    counted = valid.to(values.dtype)
    if weight is not None:
        counted = counted * weight.to(values.dtype)
    if over == "weight":
        count = counted.sum() + epsilon
    elif over == "valid":
        count = valid.sum().to(values.dtype) + epsilon
    else:
        count = values.new_tensor(float(values.numel())) + epsilon
    total = (values * counted).sum()
    return torch.where(count > 0, total / count.clamp_min(torch.finfo(values.dtype).tiny), total)


@without_autocast
def dice_squared(
    probabilities: Tensor, target: Tensor, mask: Tensor | None = None, *, epsilon: float = 1e-10
) -> Tensor:
    """1 - Dice of each class over the whole batch with squares below, mean over classes.

    >>> sure = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # 1 2 1 2
    >>> round(dice_squared(sure, torch.tensor([[[0, 1]]])).item(), 6)
    0.0
    """
    p, g, m = _parts(probabilities, target, mask)
    axes = (0, *range(2, p.ndim))
    both = (p * g * m).sum(axes)
    each = (p * p * m).sum(axes) + (g * m).sum(axes)  # K
    return (1 - (2 * both + epsilon) / (each + epsilon)).mean()


@without_autocast
def dice_plain(
    probabilities: Tensor, target: Tensor, mask: Tensor | None = None, *, epsilon: float = 1e-5
) -> Tensor:
    """1 - Dice of each sample and class without squares, mean over both.

    >>> unsure = torch.full((1, 2, 1, 2), 0.5)
    >>> round(dice_plain(unsure, torch.tensor([[[0, 1]]])).item(), 4)
    0.5
    """
    p, g, m = _parts(probabilities, target, mask)
    axes = tuple(range(2, p.ndim))
    both = (p * g * m).sum(axes)
    each = (p * m).sum(axes) + (g * m).sum(axes)  # B K
    return (1 - (2 * both + epsilon) / (each + epsilon)).mean()


def _parts(
    probabilities: Tensor, target: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, one-hot target, and where to look, all B K *S (the last B 1 *S)."""
    p = at_least_float32(probabilities)
    valid = target != IGNORE
    hot = F.one_hot(torch.where(valid, target, 0).long(), p.shape[1]).movedim(-1, 1).to(p.dtype)
    look = valid.to(p.dtype) if mask is None else valid.to(p.dtype) * mask.to(p.dtype)
    return p, hot, look[:, None]
