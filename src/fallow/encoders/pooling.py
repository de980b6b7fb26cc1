"""How a network's maps become one vector: what each says on the whole, how it varies, and where."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def means(maps: Tensor) -> Tensor:
    """B C h w -> B C"""
    return maps.mean((2, 3))


def means_and_spreads(maps: Tensor) -> Tensor:
    """What there is, and how differently from place to place.  B C h w -> B 2C

    >>> means_and_spreads(torch.tensor([[[[1.0, 3.0]]]])).round()
    tensor([[2., 1.]])
    """
    middle = means(maps)
    # torch's own variance takes five times as long on a processor
    apart = (maps - middle[:, :, None, None]).square()
    spreads = (means(apart) + 1e-6).sqrt()  # smooth where it is 0
    return torch.cat([middle, spreads], 1)


def powered_means(maps: Tensor, power: float = 3.0) -> Tensor:
    """Between the mean and the largest of non-negative maps ("GeM").  B C h w -> B C

    >>> powered_means(torch.tensor([[[[0.0, 2.0]]]])).round(decimals=2)
    tensor([[1.5900]])
    """
    return maps.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1 / power)


def by_place(maps: Tensor, places: int) -> Tensor:
    """Means over a grid of places x places.  B C h w -> B C places^2

    Written as a product, whose gradients are the same twice on a GPU, unlike torch's pooling.

    >>> by_place(torch.ones(1, 2, 8, 5), 4).unique().tolist()
    [1.0]
    """
    down, across = (_shares(side, places, maps) for side in maps.shape[2:])
    return (torch.kron(down, across) @ maps.permute(0, 2, 3, 1).flatten(1, 2)).mT


def _shares(side: int, places: int, like: Tensor) -> Tensor:
    """What each of `side` rows adds to each place (places side), as adaptive pooling has it."""
    numbers = torch.arange(places, device=like.device)[:, None]
    rows = torch.arange(side, device=like.device)
    first, last = numbers * side // places, ((numbers + 1) * side + places - 1) // places
    inside = ((rows >= first) & (rows < last)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Parts of length 1 side by side: the larger values of one would drown the others.

    >>> joined([torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0]])])
    tensor([[0.6000, 0.8000, 1.0000]])
    """
    return torch.cat([F.normalize(part.flatten(1)) for part in parts], 1)
