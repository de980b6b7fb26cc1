"""What a relit picture is asked for: smooth changes, the same structure, the night's light."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def roughness(maps: Tensor) -> Tensor:
    """Twice the mean squared step down and across, summed over channels.  B C H W

    >>> float(roughness(torch.eye(2)[None, None]))
    4.0
    """
    maps = at_least_float32(maps)
    down, across = maps.diff(dim=2), maps.diff(dim=3)
    each = [step.square().mean((2, 3)).sum(1).mean() for step in (down, across)]
    return 2 * torch.stack(each).sum()


@without_autocast
def structure_distance(one: Tensor, other: Tensor) -> Tensor:
    """(1 - SSIM) / 2 within 0..1 at every pixel, over windows of 3 x 3.  B C H W

    >>> float(structure_distance(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).max())
    0.0
    """
    x, y = (F.pad(at_least_float32(maps), [1] * 4, mode="reflect") for maps in (one, other))

    def mean(maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, 3, 1)

    mx, my = mean(x), mean(y)
    vx, vy = mean(x * x) - mx * mx, mean(y * y) - my * my
    both = mean(x * y) - mx * my
    above = (2 * mx * my + C1) * (2 * both + C2)
    below = (mx * mx + my * my + C1) * (vx + vy + C2)
    return ((1 - above / below) / 2).clamp(0, 1)


C1, C2 = 0.01**2, 0.03**2


@without_autocast
def exposure(maps: Tensor, light: float | Tensor, block: int = 32) -> Tensor:
    """Mean squared distance of the light of blocks from a wanted light.  B C H W

    Rows and columns that fill no block do not count; of a smaller picture the whole is a block.

    >>> float(exposure(torch.zeros(1, 3, 40, 40), 0.5))
    0.25
    """
    maps = at_least_float32(maps)
    sides = [min(block, side) for side in maps.shape[2:]]
    grey = F.avg_pool2d(maps.mean(1, keepdim=True), (sides[0], sides[1]))
    return (grey - light).square().mean()


def relighting(
    residual: Tensor, relit: Tensor, picture: Tensor, light: float | Tensor, block: int = 32
) -> Tensor:
    """The three together, as DANNet weighs them; `light` is the mean of the night's pictures.

    >>> flat = torch.zeros(1, 3, 32, 32)
    >>> float(relighting(flat, flat, flat, 0.0))
    0.0
    """
    likeness = structure_distance(relit, picture).mean()
    return 10 * roughness(residual) + likeness + exposure(relit, light, block)
