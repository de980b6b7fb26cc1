"""Maps that teach one another: of several sources, and between the parts of one picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


@torch.no_grad()
def agreed_mask(together: Tensor, labels: Tensor, bar: float = 0.5) -> Tensor:
    """Where the joint map (B 1 h w) is above `bar`; nowhere in pictures labelled 0.

    A picture labelled 1 that is above it nowhere is marked at its highest places.

    >>> agreed_mask(torch.tensor([[[[0.2, 0.4]]], [[[0.9, 0.1]]]]), torch.tensor([1, 0])).flatten()
    tensor([0., 1., 0., 0.])
    """
    highest = together.amax((1, 2, 3), keepdim=True)
    marked = (together > bar) | ((highest <= bar) & (together == highest))
    return (marked & (labels > 0)[:, None, None, None]).to(together.dtype)


@torch.no_grad()
def agreed_shares(together: Tensor, labels: Tensor | None = None) -> Tensor:
    """The joint map itself; zero in pictures labelled 0 where labels are given."""
    if labels is None:
        return together.clone()
    return together * (labels > 0).to(together.dtype)[:, None, None, None]


def multi_source(maps: Sequence[Tensor], target: Tensor) -> Tensor:
    """How far each source's map lies from what they agree on; sum over sources."""
    return torch.stack([F.mse_loss(at_least_float32(one), target.to(one)) for one in maps]).sum()


@torch.no_grad()
def unlike_pairs(target: Tensor, grid: tuple[int, int]) -> Tensor:
    """1 for every pair of places of which one is marked and one is not.  B 1 h w -> B h w h w

    >>> unlike_pairs(torch.tensor([[[[1.0, 0.0]]]]), (1, 2)).flatten()
    tensor([0., 1., 1., 0.])
    """
    if target.shape[2:] != grid:
        target = F.interpolate(target, grid, mode="bilinear", align_corners=False)
    marked = (target > 0.5).flatten(1)  # B hw
    return (marked[:, :, None] != marked[:, None]).to(target.dtype).reshape(-1, *grid, *grid)


@without_autocast
def inter_patch(volume: Tensor, target: Tensor) -> Tensor:
    """Whether pairs of places are told apart as they should be; `volume` (B h w h w) in 0 ... 1."""
    volume = at_least_float32(volume)
    pairs = unlike_pairs(target.to(volume), (volume.shape[1], volume.shape[2]))
    return F.binary_cross_entropy(volume, pairs)
