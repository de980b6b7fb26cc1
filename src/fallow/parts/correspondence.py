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
    queries = queries / temperature
    top = queries.new_full((len(queries), 1), -torch.inf)
    total = queries.new_zeros(len(queries), facts.shape[1])
    held = queries.new_empty(block * len(queries))  # fresh memory costs as much as the product
    for some, known in zip(keys.split(block), facts.split(block), strict=True):
        scores = held[: len(queries) * len(some)].view(len(queries), len(some))
        torch.mm(queries, some.T, out=scores)
        higher = torch.maximum(top, scores.amax(1, keepdim=True))
        # what was summed so far is brought to the scale of the new largest
        total = (total * (top - higher).exp()).addmm_(scores.sub_(higher).exp_(), known)
        top = higher
    return total


@torch.no_grad()
def around(one: Tensor, other: Tensor, radius: int = 4, temperature: float = 0.02) -> Match:
    """Compare every place of one map with those of the other up to a radius away.  B D h w each

    Tile by tile: a tile of places is compared with all it can reach in one product, of which each
    place keeps its own window. Some tiles at a time, so that memory does not grow with the maps.

    >>> _ = torch.manual_seed(0)
    >>> maps = torch.randn(1, 16, 6, 8)
    >>> around(maps, maps.roll(1, dims=2)).flow[0, :, 2, 3].round().tolist()
    [0.0, 1.0]
    """
    height, width = one.shape[2:]
    reach, window = TILE + 2 * radius, 2 * radius + 1
    steps = grid(window, window).to(one) - radius  # window^2 2
    facts = torch.cat([steps, (steps**2).sum(1, keepdim=True)], 1)
    there = one.new_ones(1, 1, 1, 1).expand(1, 1, height, width)
    found = one.new_empty(len(one), 3, height, width)
    for top in range(0, height, TILE):
        for left in range(0, width, TILES * TILE):
            span = min(TILES, -(-(width - left) // TILE)) * TILE
            near = (top - radius, left - radius, reach, span + 2 * radius)
            queries = _tiles(F.normalize(_cut(one, top, left, TILE, span), dim=1), TILE)
            keys = _tiles(F.normalize(_cut(other, *near), dim=1), reach)
            inside = _tiles(_cut(there, *near), reach)
            scores = queries @ keys.mT / temperature  # B T TILE^2 reach^2
            scores.masked_fill_(inside.mT == 0, -1e4)
            chance = _windows(scores, reach, window).softmax(-1)
            moments = (chance @ facts).unflatten(2, (TILE, TILE))  # B T TILE TILE 3
            rows, columns = min(TILE, height - top), min(span, width - left)
            found[:, :, top : top + rows, left : left + columns] = moments.permute(
                0, 4, 2, 1, 3
            ).flatten(3)[:, :, :rows, :columns]
    mean, square = found[:, :2], found[:, 2]
    variance = (square - (mean**2).sum(1)).clamp(min=0) / 2
    return Match(mean.contiguous(), (variance + FLOOR).log())


TILE = 8  # places a side that are compared together
TILES = 16  # beside each other, at once


def _cut(maps: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A part of maps (B D h w), with zeros where it lies beyond them.

    >>> _cut(torch.ones(1, 1, 2, 2), -1, 1, 2, 2).tolist()
    [[[[0.0, 0.0], [1.0, 0.0]]]]
    """
    part = maps[:, :, max(top, 0) : top + height, max(left, 0) : left + width]
    above, before = max(-top, 0), max(-left, 0)
    below, beside = height - above - part.shape[2], width - before - part.shape[3]
    return F.pad(part, [before, beside, above, below])


def _tiles(row: Tensor, side: int) -> Tensor:
    """Squares of a row (B D side W), a TILE apart, place by place.  B T side^2 D"""
    return row.unfold(3, side, TILE).permute(0, 3, 2, 4, 1).flatten(2, 3)


def _windows(scores: Tensor, reach: int, window: int) -> Tensor:
    """Of scores of a tile's places and all they reach, those of each place's own window.

    B T TILE^2 reach^2 -> B T TILE^2 window^2
    """
    whole = scores.unflatten(3, (reach, reach)).unflatten(2, (TILE, TILE)).contiguous()
    batch, tile, down, across, below, beside = whole.stride()
    shape = (*whole.shape[:4], window, window)
    # a place further down begins its window further down
    steps = (batch, tile, down + below, across + beside, below, beside)
    return whole.as_strided(shape, steps).flatten(4).flatten(2, 3)


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
