"""Labels of one picture for another of about the same place: blended, and true up to a pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast

IGNORE = 255
SMALLEST = 1e-7  # a probability is kept this far from 0 and 1


def rare_weights(frequencies: Tensor, spread: float) -> Tensor:
    """Weights around 1 that deviate by `spread`: more for rare classes.  K -> K

    >>> rare_weights(torch.tensor([0.9, 0.1]), 0.05).round(decimals=3)
    tensor([0.9650, 1.0350])
    """
    logs = frequencies.clamp(min=1e-12).log()
    off = logs.std()
    if len(logs) < 2 or off == 0:
        return torch.ones_like(logs)
    return (logs.mean() - logs) / off * spread + 1


@torch.no_grad()
def blended(
    day: Tensor, night: Tensor, moving: Tensor, sure: float = 0.4, share: float = 0.8
) -> Tensor:
    """Logits (B K H W) of a place from its pictures by day and by night.

    What stands still is told by the day where its logit is above `sure`, else mostly by the night;
    what moves (K, bool) by the night alone.

    >>> day, night = torch.tensor([1.0, 0.0, 9.0]), torch.tensor([0.0, 1.0, 1.0])
    >>> moving = torch.tensor([False, False, True])
    >>> blended(day.view(1, 3, 1, 1), night.view(1, 3, 1, 1), moving).flatten()
    tensor([0.8000, 0.8000, 1.0000])
    """
    still = torch.where(
        day > sure, share * day + (1 - share) * night, (1 - share) * day + share * night
    )
    return torch.where(moving.to(day.device).view(1, -1, 1, 1), night, still)


def neighbours(target: Tensor, classes: int) -> Tensor:
    """Which classes are among the labels of a pixel and the eight around it.  B H W -> B K H W

    >>> neighbours(torch.tensor([[[0, 255, 1]]]), 2)[0].int().tolist()
    [[[1, 1, 0]], [[0, 1, 1]]]
    """
    known = target != IGNORE
    hot = F.one_hot(torch.where(known, target, 0).long(), classes) * known[..., None]
    return F.max_pool2d(hot.movedim(-1, 1).float(), 3, 1, 1) > 0


@without_autocast
def tolerant(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """A focal loss of the best class among those around a pixel; nothing labelled costs 0.

    The classes of pixels whose label is known may be those of the pixels around them, too: labels
    that come from another picture are a pixel or so off.

    >>> logits = torch.zeros(1, 2, 1, 2)
    >>> round(float(tolerant(logits, torch.tensor([[[0, 255]]]), torch.ones(2))), 4)
    0.3466
    """
    return _focal(logits, target, neighbours(target, logits.shape[1]), weights)


@without_autocast
def tolerant_as_published(logits: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The same as the authors' code computes it, and the labels as it leaves them.

    There the shifted labels share one memory: each shift moves what the last one left, a single
    class is allowed in the end, and whoever uses the labels afterwards finds them moved.

    >>> loss, moved = tolerant_as_published(
    ...     torch.zeros(1, 2, 3, 3),
    ...     torch.tensor([[[0, 0, 0], [0, 1, 0], [0, 0, 0]]]),
    ...     torch.ones(2),
    ... )
    >>> moved.shape, round(float(loss), 4)
    (torch.Size([1, 3, 3]), 0.3466)
    """
    moved = smeared(target)
    known = moved != IGNORE
    hot = F.one_hot(torch.where(known, moved, 0).long(), logits.shape[1]).movedim(-1, 1) > 0
    return _focal(logits, moved, hot, weights), moved


def smeared(target: Tensor) -> Tensor:
    """Labels after eight shifts by a pixel, one upon the other: each in its turn over the last."""
    moved = target.clone()
    whole, first, last = slice(None), slice(None, -1), slice(1, None)
    shifts = [
        ((first, whole), (last, whole)),
        ((last, whole), (first, whole)),
        ((whole, last), (whole, first)),
        ((whole, first), (whole, last)),
        ((first, last), (last, first)),
        ((last, last), (first, first)),
        ((last, first), (first, last)),
        ((first, first), (last, last)),
    ]
    for to, source in shifts:
        moved[(whole, *to)] = moved[(whole, *source)].clone()
    return moved


def _focal(logits: Tensor, target: Tensor, allowed: Tensor, weights: Tensor) -> Tensor:
    logits = at_least_float32(logits)
    each = weights.to(logits).view(1, -1, 1, 1) * logits.softmax(1) * allowed
    best = each.max(1).values.clamp(SMALLEST, 1 - SMALLEST)
    known = (target != IGNORE).to(best.dtype)
    return (-(1 - best) * best.log() * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def share_sure(probabilities: Tensor, threshold: float) -> Tensor:
    """The share of all pixels (B K H W) whose best class is at least that probable.

    >>> float(share_sure(torch.tensor([[[0.9, 0.5]], [[0.1, 0.5]]])[None], 0.9))
    0.5
    """
    return (probabilities.max(1).values >= threshold).double().mean()
