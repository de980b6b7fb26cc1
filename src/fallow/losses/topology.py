"""Whether two sets of vectors have the same neighbours, whatever space each lies in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast
from fallow.problems import Problem

SMALL = 1e-7  # added to lengths and within logarithms, as published
LEAST = 4  # rows: of fewer, neighbourhoods say nothing


def neighbourhoods(vectors: Tensor) -> Tensor:
    """How near each row (n D) is to each, as shares of its row: the nearest other counts as itself.

    >>> neighbourhoods(torch.eye(4))[0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    # a row of zeros has no direction, and must not make every gradient NaN
    length = vectors.square().sum(1, keepdim=True).clamp_min(1e-24).sqrt() + SMALL
    unit = vectors / length
    away = 1 - unit @ unit.T
    itself = torch.eye(len(away), dtype=torch.bool, device=away.device)
    nearest = away.masked_fill(itself, torch.inf).min(1, keepdim=True).values
    near = 1 - (away - nearest).masked_fill(itself, 0.0)
    near = (near + 1) / 2
    return near / near.sum(1, keepdim=True)


@without_autocast
def topology_deviation(found: Tensor, target: Tensor) -> Tensor:
    """How far the neighbourhoods of `found` (n D) are from those of `target` (n E), in nats.

    Divergence of what is near and of what is not, over all pairs; gradient flows to both.

    >>> x = torch.eye(4)
    >>> float(topology_deviation(x, 3 * x))
    0.0
    """
    if len(found) != len(target) or len(found) < LEAST:
        raise Problem(
            f"neighbourhoods of {len(found)} and {len(target)} rows cannot be compared: "
            f"{LEAST} or more of both are needed"
        )
    p, q = neighbourhoods(at_least_float32(target)), neighbourhoods(at_least_float32(found))
    near = p * ((p + SMALL) / (q + SMALL)).log()
    far = (1 - p) * ((1 - p + SMALL) / (1 - q + SMALL)).log()
    return (near + far).sum()


@without_autocast
def contrast_of_rows(query: Tensor, key: Tensor, temperature: float = 0.1) -> Tensor:
    """Each row (n D) must find the row of its place among all keys; in one direction only."""
    logits = (
        F.normalize(at_least_float32(query), dim=1) @ F.normalize(at_least_float32(key), dim=1).T
    )
    return F.cross_entropy(logits / temperature, torch.arange(len(query), device=query.device))
