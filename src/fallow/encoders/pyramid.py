"""A decoder of maps at several scales: from coarse to fine, the picture itself last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 64  # channels of every scale
FINE = 16  # channels of the closer look
GROUPS = 8  # of channels that are normed together


class Pyramid(nn.Module):
    """Every finer map corrects what the coarser ones say; a closer look at the picture comes last.

    Norms are of each picture's own (groups of) channels, as batches with masks are small. `closer`
    follows thin lines, which maps of a quarter of the side cannot.

    >>> head, x = Pyramid((8, 16, 32), classes=4), torch.zeros(2, 3, 32, 32)
    >>> maps = [torch.zeros(2, c, s, s) for c, s in ((8, 8), (16, 4), (32, 2))]
    >>> head([head.closer(x), *maps], (32, 32)).shape
    torch.Size([2, 4, 32, 32])
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.closer = nn.Sequential(_layer(3, FINE, 3, stride=2), _layer(FINE, FINE, 3))
        self.flat = nn.ModuleList(_layer(inputs, WIDTH, 1) for inputs in channels)
        self.joined = nn.ModuleList(_layer(WIDTH, WIDTH, 3) for _ in channels)
        self.classify = nn.Conv2d(WIDTH, classes, 1)
        self.narrow = nn.Conv2d(WIDTH, FINE, 1)
        self.correct = nn.Sequential(_layer(2 * FINE, FINE, 3), nn.Conv2d(FINE, classes, 1))

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        fine, *maps = features  # largest first
        x: Tensor | None = None
        for flat, joined, seen in zip(
            reversed(self.flat), reversed(self.joined), reversed(maps), strict=True
        ):
            here = flat(seen)
            x = joined(here if x is None else here + _enlarged(x, here.shape[2:]))
        logits, what = (
            _enlarged(said, fine.shape[2:]) for said in (self.classify(x), self.narrow(x))
        )
        logits = logits + self.correct(torch.cat([fine, what], 1))
        return _enlarged(logits, size)  # B K H W


def _enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def _layer(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(),
    )
