"""LPIPS: how different two pictures look to the layers of a trained network.

Which network and which weights is the caller's business: none are shipped. These are the parts
that turn its feature maps into a distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# what LPIPS 0.1 takes away from pictures in -1...1, and divides by
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def lpips_input(pictures: Tensor) -> Tensor:
    """Pictures in 0...1 (B 3 H W) as LPIPS' networks expect them.

    >>> lpips_input(torch.full((1, 3, 1, 1), 0.5)).flatten()
    tensor([0.0655, 0.1964, 0.4178])
    """
    shift, scale = (pictures.new_tensor(values).reshape(1, 3, 1, 1) for values in (SHIFT, SCALE))
    return (2 * pictures - 1 - shift) / scale


def lpips(
    originals: Sequence[Tensor], copies: Sequence[Tensor], weights: Sequence[Tensor]
) -> Tensor:
    """Distance of pictures from their feature maps (each B C h w), one weight a channel.  -> B

    >>> maps = [torch.rand(2, 4, 3, 3)]
    >>> lpips(maps, maps, [torch.ones(4)]).tolist()
    [0.0, 0.0]
    """
    layers = zip(originals, copies, weights, strict=True)
    return torch.stack([_apart(*layer).mean((1, 2)) for layer in layers]).sum(0)


def lpips_plus(
    originals: Sequence[Tensor],
    copies: Sequence[Tensor],
    weights: Sequence[Tensor],
    layer: int = 2,
) -> Tensor:
    """The same, where places count by what the original's `layer` answers there.  -> B

    The activations of all its channels count together, at the size of each map.

    >>> maps = [torch.rand(2, 4, 3, 3)] * 3
    >>> lpips_plus(maps, maps, [torch.ones(4)] * 3).tolist()
    [0.0, 0.0]
    """
    total = originals[0].new_zeros(len(originals[0]))
    for original, copy, weight in zip(originals, copies, weights, strict=True):
        apart = _apart(original, copy, weight)
        attention = F.interpolate(
            originals[layer], apart.shape[1:], mode="bilinear", align_corners=False
        ).sum(1)
        total = total + (apart * attention).sum((1, 2)) / attention.sum((1, 2))
    return total


def _apart(original: Tensor, copy: Tensor, weight: Tensor) -> Tensor:
    """Weighted squared difference of unit vectors, place by place.  B h w"""
    one, other = (maps / (maps.norm(dim=1, keepdim=True) + 1e-10) for maps in (original, copy))
    return torch.einsum("bchw,c->bhw", (one - other) ** 2, weight.clamp(min=0))
