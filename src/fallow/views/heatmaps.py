"""Key points as heat maps, one map a point, and back again to parts of a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = 3  # sigmas of a Gaussian that are drawn


def gaussians(
    centres: Tensor, size: Sequence[int], sigma: float, heights: Tensor | None = None
) -> Tensor:
    """A Gaussian about each centre (... 2: x, y in pixels of the maps): ... H W.

    It is cut at three sigmas along either side, and at the rim; `heights` (...) are 1 if not given.

    >>> gaussians(torch.tensor([[1.0, 0.0]]), (2, 3), sigma=0.5).round(decimals=2)
    tensor([[[0.1400, 1.0000, 0.1400],
             [0.0200, 0.1400, 0.0200]]])
    """
    height, width = size

    def along(count: int, centre: Tensor) -> Tensor:
        away = torch.arange(count, device=centre.device) - centre[..., None]
        return torch.exp(-away.square() / (2 * sigma**2)) * (away.abs() <= REACH * sigma)

    down = along(height, centres[..., 1])
    if heights is not None:
        down = down * heights[..., None]
    return down[..., :, None] * along(width, centres[..., 0])[..., None, :]


def drawn(centres: Tensor, size: Sequence[int], sigma: float) -> Tensor:
    """Which centres (... 2) have a Gaussian that reaches into maps of this size: ... bool.

    >>> drawn(torch.tensor([[-7.0, 0.0], [-8.0, 0.0]]), (9, 9), sigma=2.0).tolist()
    [True, False]
    """
    far = centres.new_tensor([size[1], size[0]])
    reach = REACH * sigma
    return ((centres - reach < far) & (centres + reach + 1 >= 0)).all(-1)


def peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Place (... 2: x, y) and height (...) of the highest pixel of each map (... H W).

    >>> peaks(torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.2]]))
    (tensor([1., 0.]), tensor(0.5000))
    """
    height, place = maps.flatten(-2).max(-1)
    width = maps.shape[-1]
    return torch.stack([place % width, place // width], -1).to(maps.dtype), height


def shifted(maps: Tensor, places: Tensor) -> Tensor:
    """Peaks (... 2) moved by a quarter of a pixel towards the larger neighbour on either axis."""
    near = _Near(maps, places, margin=1)
    along = torch.stack([near(1, 0) - near(-1, 0), near(0, 1) - near(0, -1)], -1)
    return places + near.inside[..., None] * along.sign() / 4


def refined(maps: Tensor, places: Tensor, kernel: int = 11) -> Tensor:
    """Peaks (... 2) moved to the top of the Gaussian their map looks like (DARK).

    Maps are smoothed and brought back to their old height; one step of Newton's in their
    logarithm then finds the top. Peaks within two pixels of the rim stay.

    >>> truth = torch.tensor([[9.3, 7.6]])
    >>> maps = gaussians(truth, (16, 20), sigma=2.0)
    >>> refined(maps, peaks(maps)[0]).round(decimals=1)
    tensor([[9.3000, 7.6000]])
    """
    logs = smoothed(maps, kernel).clamp_min(1e-10).log()
    near = _Near(logs, places, margin=2)
    slope = torch.stack([near(1, 0) - near(-1, 0), near(0, 1) - near(0, -1)], -1) / 2
    across = (near(2, 0) - 2 * near(0, 0) + near(-2, 0)) / 4
    down = (near(0, 2) - 2 * near(0, 0) + near(0, -2)) / 4
    both = (near(1, 1) - near(1, -1) - near(-1, 1) + near(-1, -1)) / 4
    area = across * down - both.square()
    known = near.inside & (area != 0)
    steps = torch.stack(
        [
            both * slope[..., 1] - down * slope[..., 0],
            both * slope[..., 0] - across * slope[..., 1],
        ],
        -1,
    )
    return places + torch.where(known, 1 / area.where(known, 1.0), 0.0)[..., None] * steps


def smoothed(maps: Tensor, kernel: int) -> Tensor:
    """Maps (... H W) blurred by a Gaussian, 0 outside, and scaled back to their old maximum."""
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8  # what a kernel of this width is made for
    away = torch.arange(kernel, device=maps.device) - (kernel - 1) / 2
    weights = torch.exp(-away.square() / (2 * sigma**2))
    weights = (weights / weights.sum()).to(maps.dtype)
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    blurred = F.conv2d(flat, weights.view(1, 1, 1, -1), padding=(0, kernel // 2))
    blurred = F.conv2d(blurred, weights.view(1, 1, -1, 1), padding=(kernel // 2, 0))
    blurred = blurred.view(maps.shape)
    before, after = (one.amax((-2, -1), keepdim=True) for one in (maps, blurred))
    return blurred * before / after.where(after != 0, 1.0)


class _Near:
    """Values of maps some pixels from their peaks, and which peaks lie inside a margin."""

    def __init__(self, maps: Tensor, places: Tensor, margin: int) -> None:
        self.maps, (x, y) = maps, places.floor().long().unbind(-1)
        height, width = maps.shape[-2:]
        self.inside = (x > 1) & (x < width - margin) & (y > 1) & (y < height - margin)
        self.x, self.y = x.where(self.inside, 0), y.where(self.inside, 0)

    def __call__(self, right: int, below: int) -> Tensor:
        height, width = self.maps.shape[-2:]
        # those too near the rim are read somewhere, and not used
        x, y = (self.x + right).clamp(0, width - 1), (self.y + below).clamp(0, height - 1)
        return self.maps.flatten(-2).gather(-1, (y * width + x)[..., None])[..., 0]
