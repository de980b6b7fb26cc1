"""A network from pictures to pictures of the same size: down, residual blocks, up."""

from __future__ import annotations

from torch import Tensor, nn

from fallow.problems import SettingProblem


class Generator(nn.Module):
    """Two halvings, residual blocks, two doublings, and values in -1…1 (Johnson et al. 2016).

    Sides must be multiples of 4. Batch norm sees whatever batch there is, if only one picture:
    `eval()` then gives another output, since running statistics lag behind.

    >>> import torch
    >>> Generator(8, blocks=1)(torch.rand(1, 3, 12, 20)).shape
    torch.Size([1, 3, 12, 20])
    """

    def __init__(self, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        wide = 4 * width
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normed(nn.Conv2d(3, width, 7, bias=False)),
            *_normed(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False)),
            *_normed(nn.Conv2d(2 * width, wide, 3, 2, 1, bias=False)),
            *[Block(wide) for _ in range(blocks)],
            *_normed(nn.ConvTranspose2d(wide, 2 * width, 3, 2, 1, 1, bias=False)),
            *_normed(nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1, bias=False)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height % 4 or width % 4:
            raise SettingProblem(
                f"a generator's sides are multiples of 4, not {height} x {width} pixels"
            )
        return self.layers(x)


class Block(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_normed(nn.Conv2d(width, width, 3, bias=False)),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU(inplace=True)]
