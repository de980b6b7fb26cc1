"""Judges of maps: which of two conditions does this part of them come from?"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class MapJudge(nn.Sequential):
    """Five convolutions of 4 x 4 over maps (B K H W): a score for every part of them.

    >>> import torch
    >>> MapJudge(5, width=8)(torch.zeros(1, 5, 64, 64)).shape
    torch.Size([1, 1, 13, 13])
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        wide = [channels, width, 2 * width, 4 * width, 4 * width]
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(wide)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2 if number < 2 else 1, 1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(wide[-1], 1, 4, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps)
