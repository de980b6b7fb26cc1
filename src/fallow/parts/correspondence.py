"""Which place of one map shows what a place of another shows: correlation, in flat memory.

A flow (B 2 h w; x, then y) says for every place of the one how many places further to read in the
other. Beside it goes the logarithm of its variance (B h w), in places squared.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1024  # places of either map that are compared at once


class Match(NamedTuple):
    """A flow, and how far off it may be."""

    flow: Tensor  # B 2 h w
    log_variance: Tensor  # B h w


def certainty(log_variance: Tensor, radius: float = 1.0) -> Tensor:
    """The chance that a flow is off by less than a radius.

    >>> certainty(torch.tensor([-20.0, 0.0, 20.0]))
    tensor([1.0000, 0.3935, 0.0000])
    """
    return 1 - (-(radius**2) / (2 * log_variance.exp())).exp()


@torch.no_grad()
def everywhere(one: Tensor, other: Tensor, temperature: float = 0.02, block: int = BLOCK) -> Match:
    """Compare every place of one map (B D h w) with every place of the other (B D H W).

    The flow leads to the mean of the softmax of cosines over all places within `near` of the best
    one. Places are compared in blocks, so that memory does not grow with the maps.

    >>> _ = torch.manual_seed(0)
    >>> maps = torch.randn(1, 16, 6, 8)
    >>> flow = everywhere(maps, maps.roll(2, dims=3)).flow
    >>> flow[0, :, 0, 0].round().tolist()
    [2.0, 0.0]
    """
    height, width = one.shape[2:]
    queries = F.normalize(at_places(one), dim=2)  # B N D
    keys = F.normalize(at_places(other), dim=2)  # B M D
    there = grid(other.shape[2], other.shape[3]).to(one)  # M 2
    facts = torch.cat([there, (there**2).sum(1, keepdim=True), torch.ones_like(there[:, :1])], 1)
    rows = [
        torch.cat(
            [_moments(q, keys[row], facts, temperature, block) for q in queries[row].split(block)]
        )
        for row in range(len(one))
    ]
    found = torch.stack(rows)  # B N 4
    mean = found[..., :2] / found[..., 3:]
    square = found[..., 2] / found[..., 3]
    variance = (square - (mean**2).sum(2)).clamp(min=0) / 2  # of an axis
    flow = mean - grid(height, width).to(one)
    return Match(
        flow.transpose(1, 2).reshape(len(one), 2, height, width),
        (variance + FLOOR).log().reshape(len(one), height, width),
    )


FLOOR = 1 / 12  # the variance of a place itself: it is one wide


def _moments(
    queries: Tensor, keys: Tensor, facts: Tensor, temperature: float, block: int
) -> Tensor:
    """Softmax-weighted sums of what is known of each key: N 4, up to a common factor."""
    top = queries.new_full((len(queries), 1), -torch.inf)
    total = queries.new_zeros(len(queries), facts.shape[1])
    for some, known in zip(keys.split(block), facts.split(block), strict=True):
        cosine = queries @ some.T / temperature  # N block
        higher = torch.maximum(top, cosine.amax(1, keepdim=True))
        # what was summed so far is brought to the scale of the new largest
        total = total * (top - higher).exp() + (cosine - higher).exp_() @ known
        top = higher
    return total


@torch.no_grad()
def around(one: Tensor, other: Tensor, radius: int = 4, temperature: float = 0.02) -> Match:
    """Compare every place of one map with those of the other up to a radius away.  B D h w each

    >>> _ = torch.manual_seed(0)
    >>> maps = torch.randn(1, 16, 6, 8)
    >>> around(maps, maps.roll(1, dims=2)).flow[0, :, 2, 3].round().tolist()
    [0.0, 1.0]
    """
    height, width = one.shape[2:]
    ours = F.normalize(one, dim=1)
    theirs = F.pad(F.normalize(other, dim=1), [radius] * 4)
    inside = F.pad(ours.new_ones(1, height, width), [radius] * 4)
    shape = (len(one), height, width)
    top = ours.new_full(shape, -torch.inf)
    weight, square = ours.new_zeros(shape), ours.new_zeros(shape)
    mean = ours.new_zeros(len(one), 2, height, width)
    for down in range(-radius, radius + 1):
        for across in range(-radius, radius + 1):
            rows = slice(radius + down, radius + down + height)
            columns = slice(radius + across, radius + across + width)
            cosine = (ours * theirs[:, :, rows, columns]).sum(1) / temperature
            cosine = cosine.masked_fill(inside[:, rows, columns] == 0, -1e4)
            higher = torch.maximum(top, cosine)
            before, new = (top - higher).exp(), (cosine - higher).exp()
            weight = weight * before + new
            square = square * before + new * (down**2 + across**2)
            mean[:, 0] = mean[:, 0] * before + new * across
            mean[:, 1] = mean[:, 1] * before + new * down
            top = higher
    mean = mean / weight[:, None]
    variance = (square / weight - (mean**2).sum(1)).clamp(min=0) / 2
    return Match(mean, (variance + FLOOR).log())


@torch.no_grad()
def matched(one: Tensor, other: Tensor, coarse: int = 16, radius: int = 4) -> Match:
    """Everywhere at `coarse` places a side, then around what was found at full size.

    >>> _ = torch.manual_seed(0)
    >>> maps = torch.randn(1, 16, 24, 24)
    >>> flow = matched(maps, maps.roll(3, dims=3)).flow
    >>> flow[0, :, 12, 12].round().int().tolist()
    [3, 0]
    """
    from fallow.views.geometry import warped

    size = one.shape[2:]
    small = [min(coarse, side) for side in size]
    scale = one.new_tensor([size[1] / small[1], size[0] / small[0]]).view(1, 2, 1, 1)
    near, far = (F.adaptive_avg_pool2d(maps, (small[0], small[1])) for maps in (one, other))
    rough = everywhere(near, far)
    flow = at_size(rough.flow * scale, size)
    moved, seen = warped(other, flow)
    fine = around(one, moved, radius)
    # where the rough flow leads is read before the fine one is added to it
    first, _ = warped(flow, fine.flow)
    doubt = torch.where(seen, fine.log_variance, fine.log_variance + 6.0)
    return Match(first + fine.flow, doubt)


def grid(height: int, width: int) -> Tensor:
    """x and y of every place.  -> h*w 2

    >>> grid(1, 2).tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).float()


def at_places(maps: Tensor) -> Tensor:
    """B D h w -> B h*w D"""
    return maps.flatten(2).transpose(1, 2)


def at_size(maps: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Maps (B D h w) at another size, linear in between."""
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
