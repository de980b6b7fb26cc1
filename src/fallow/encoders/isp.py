"""Networks light enough for a phone, from a sensor's planes to a picture.

A network says how its input is cut out of a mosaic (`planes`: 4 planes of half the size, or 3 full
ones with holes), how many pixels around a place it looks at, and of what its sides are multiples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fallow.problems import SettingProblem, did_you_mean


class Planes(nn.Module):
    """Three convolutions of four planes and a shuffle to twice their size.

    >>> Planes((12, 12))(torch.zeros(1, 4, 5, 6)).shape
    torch.Size([1, 3, 10, 12])
    """

    planes, multiple, reach = 4, 1, 3  # reach in planes' pixels

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        sides = [4, *widths, 12]
        layers = [nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sides)]
        assert layers[-1].bias is not None
        # it begins with grey: pictures of which every pixel is cut at 0 would never learn again
        nn.init.constant_(layers[-1].bias, 0.5)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self.layers
        x = torch.tanh(first(x))
        for layer in rest:
            x = F.relu(layer(x))
        return F.pixel_shuffle(x, 2)


class Attended(nn.Module):
    """Texture and tone apart, joined, and weighted by channel and by place; added to the input.

    Tone is the input without its illumination, which is looked for at a half and a quarter of the
    size: sides are multiples of 4.
    """

    def __init__(self, width: int, squeeze: int = 16) -> None:
        super().__init__()
        self.fine = nn.Conv2d(width, width // 2, 1)
        self.coarse = nn.Conv2d(width, width // 2, 3, padding=1)
        self.halved = nn.Conv2d(width, width, 3, padding=1)
        self.quartered = nn.Conv2d(width, width, 3, padding=1)
        self.again = nn.Conv2d(width, width, 3, padding=1)
        self.join = nn.Conv2d(2 * width, width, 3, padding=1)
        self.narrow = nn.Conv2d(width, max(width // squeeze, 1), 1, bias=False)
        self.widen = nn.Conv2d(max(width // squeeze, 1), width, 1, bias=False)
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        half = F.relu(self.halved(F.avg_pool2d(x, 2)))
        quarter = F.relu(self.quartered(F.avg_pool2d(half, 2)))
        lit = _twice(half + _twice(F.relu(self.again(quarter))))
        parts = [F.relu(self.fine(x)), F.relu(self.coarse(x)), x - lit]
        y = F.relu(self.join(torch.cat(parts, 1)))
        pooled = (y.mean((2, 3), keepdim=True), y.amax((2, 3), keepdim=True))
        y = y * torch.sigmoid(sum(self.widen(F.relu(self.narrow(one))) for one in pooled))
        seen = torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)
        return x + y * torch.sigmoid(self.place(seen))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Attentive(nn.Module):
    """Full planes with holes, two convolutions, attended blocks, and one convolution to a picture.

    >>> Attentive(16, 1)(torch.zeros(1, 3, 8, 12)).shape
    torch.Size([1, 3, 8, 12])
    """

    planes, multiple = 3, 4

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.start = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.blocks = nn.ModuleList(Attended(width) for _ in range(blocks))
        self.end = nn.Conv2d(width, 3, 3, padding=1)
        self.reach = 3 + 16 * blocks

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.second(self.start(x)))
        for block in self.blocks:
            x = block(x)
        return torch.sigmoid(self.end(x))


NETWORKS: dict[str, Callable[[], Any]] = {
    "efficient": lambda: Planes((12, 12)),
    "robust": lambda: Planes((16, 4)),
    "tiny": lambda: Attentive(16, 2),
    "medium": lambda: Attentive(16, 8),
    "large": lambda: Attentive(16, 20),
}


def network(name: str) -> Any:
    """A network by its name; its weights come from torch's generator.

    >>> [sum(p.numel() for p in network(n).parameters()) for n in ("efficient", "robust", "tiny")]
    [3060, 1616, 29223]
    """
    if name not in NETWORKS:
        raise SettingProblem(
            f"{name} is no network to develop with: {did_you_mean(name, NETWORKS)}"
        )
    return NETWORKS[name]()


def parameters_of(network: nn.Module) -> int:
    """How many numbers a network has learnt.

    >>> parameters_of(network("robust"))
    1616
    """
    return sum(one.numel() for one in network.parameters())


def operations(network: Any, side: int = 64) -> float:
    """Multiplications with an addition that convolutions need for one pixel of the mosaic.

    >>> operations(network("efficient")), operations(network("robust"))
    (756.0, 396.0)
    """
    counted = 0

    def count(layer: Any, inputs: Any, output: Tensor) -> None:
        nonlocal counted
        counted += output.numel() * layer.weight[0].numel()

    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    part = side // 2 if network.planes == 4 else side
    device = next(network.parameters()).device
    with torch.no_grad():
        network(torch.zeros(1, network.planes, part, part, device=device))
    for hook in hooks:
        hook.remove()
    return counted / side**2
