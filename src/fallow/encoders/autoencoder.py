"""A small convolutional autoencoder: what images are like before anything else was learnt."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Autoencoder(nn.Module):
    """G-SimCLR's: three halvings of the picture and three doublings, batch norm, 3x3 filters.

    >>> network = Autoencoder()
    >>> sum(weights.numel() for weights in network.parameters())  # and 896 of running statistics
    334851
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        down = [3, width, 2 * width, 4 * width]
        up = [4 * width, 4 * width, 2 * width, width]
        self.down = nn.Sequential(
            *[nn.Sequential(*_block(a, b), nn.MaxPool2d(2)) for a, b in pairwise(down)]
        )
        self.up = nn.Sequential(
            *[nn.Sequential(nn.Upsample(scale_factor=2), *_block(a, b)) for a, b in pairwise(up)]
        )
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore pixels (B, 3, S, S) in [0, 1]; S is a multiple of 8."""
        return self.last(self.up(self.down(pixels))).sigmoid()

    def embed(self, pixels: Tensor) -> Tensor:
        """The bottleneck averaged over the picture (B, 4 * width)."""
        return self.down(pixels).mean((2, 3))


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
