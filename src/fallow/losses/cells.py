"""Contrast between places of two maps: cells of a coarse grid, weighted by who is sure of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.contrastive import queue_logits
from fallow.losses.precision import at_least_float32, without_autocast


def cells(maps: Tensor, grid: int) -> Tensor:
    """Means over grid x grid cells of maps, picture after picture.  B D h w -> B*grid*grid D

    >>> cells(torch.ones(2, 3, 5, 7), 2).shape
    torch.Size([8, 3])
    """
    return F.adaptive_avg_pool2d(maps, grid).flatten(2).transpose(1, 2).flatten(0, 1)


def sure_cells(
    anchor: Tensor, positive: Tensor, confidence: Tensor, grid: int, least: float
) -> tuple[Tensor, Tensor]:
    """The cells (M D, M D) in which two maps (B D h w) can be compared; M may be 0.

    `confidence` (B 1 h w) weighs every place. A cell is left out if its mean is below `least`, or
    if all of either map in it weighs nothing.

    >>> one, sure = torch.ones(1, 2, 4, 4), torch.ones(1, 1, 4, 4)
    >>> sure[..., :2] = 0
    >>> sure_cells(one, one, sure, 2, 0.2)[0].shape
    torch.Size([2, 2])
    """
    ours, theirs = (cells(maps * confidence, grid) for maps in (anchor, positive))
    weight = cells(confidence, grid)[:, 0]
    kept = (ours != 0).any(1) & (theirs != 0).any(1) & (weight >= least)
    return ours[kept], theirs[kept]


@without_autocast
def cell_contrast(
    anchor: Tensor,
    positive: Tensor,
    confidence: Tensor,
    queue: Tensor,
    *,
    grid: int = 7,
    temperature: float = 0.3,
    least: float = 0.2,
) -> tuple[Tensor, int]:
    """Every sure cell of the anchor must find the positive's among a queue's (L D), and how many.

    With no sure cell the loss is 0 and so is its gradient, not undefined.

    >>> maps, sure = torch.ones(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    >>> cell_contrast(maps, maps, sure, torch.eye(2), grid=2)
    (tensor(0.), 0)
    """
    anchor, positive = at_least_float32(anchor), at_least_float32(positive)
    ours, theirs = sure_cells(anchor, positive, confidence.to(anchor), grid, least)
    logits = queue_logits(ours, theirs, queue, temperature)
    total = F.cross_entropy(
        logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device), reduction="sum"
    )
    return total / max(1, len(logits)), len(logits)
