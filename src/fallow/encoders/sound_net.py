"""Maps of a spectrum in which a query finds its sound: a U-Net over time and frequency."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Down(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, first: bool, last: bool) -> None:
        layers: list[nn.Module] = [] if first else [nn.LeakyReLU(0.2)]
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
        if not first and not last:
            layers.append(nn.BatchNorm2d(outputs))
        super().__init__(*layers)


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=first)
        self.norm = None if first else nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(F.relu(x), scale_factor=2, mode="bilinear", align_corners=True)
        x = self.convolution(x)
        return x if self.norm is None else self.norm(x)


class SoundNet(nn.Module):
    """Logarithms of magnitudes (B 1 R T) to maps (B C R T); sides are multiples of 2^steps.

    >>> SoundNet(maps=4, width=4, steps=3)(torch.zeros(2, 1, 16, 8)).shape
    torch.Size([2, 4, 16, 8])
    """

    def __init__(self, maps: int = 32, width: int = 64, steps: int = 7) -> None:
        super().__init__()
        widths = [min(width * 2**k, 8 * width) for k in range(steps)]
        self.steps = steps
        self.norm = nn.BatchNorm2d(1)
        self.down = nn.ModuleList(
            _Down(1 if k == 0 else widths[k - 1], widths[k], k == 0, k == steps - 1)
            for k in range(steps)
        )
        self.up = nn.ModuleList(
            _Up(
                widths[k] * (1 if k == steps - 1 else 2),
                maps if k == 0 else widths[k - 1],
                k == 0,
            )
            for k in range(steps)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.001)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        seen = []
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        x = seen.pop()
        for k in reversed(range(self.steps)):
            x = self.up[k](x)
            if k:
                x = torch.cat([x, seen.pop()], 1)
        return x
