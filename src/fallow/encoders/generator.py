"""A network from pictures to pictures of the same size: down, residual blocks, up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from fallow.problems import SettingProblem

Normed = Literal["batch", "instance", "none"]
Activation = Literal["relu", "selu", "leaky"]

# instance norm has no weights of its own
NORMS: dict[Normed, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
    "none": lambda channels: nn.Identity(),
}
ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "selu": lambda: nn.SELU(inplace=True),
    "leaky": lambda: nn.LeakyReLU(0.2, inplace=True),
}


class Generator(nn.Module):
    """Two halvings, residual blocks, two doublings, and values in -1…1 (Johnson et al. 2016).

    Sides must be multiples of 4. Batch norm sees whatever batch there is, if only one picture:
    `eval()` then gives another output, since running statistics lag behind. `activation` is that
    of the ways down and up; in the blocks it is always ReLU, as published.

    >>> import torch
    >>> Generator(8, blocks=1)(torch.rand(1, 3, 12, 20)).shape
    torch.Size([1, 3, 12, 20])
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 6,
        norm: Normed = "batch",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        wide = 4 * width
        bias = norm != "batch"  # which would subtract it again

        def normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
            return [layer, NORMS[norm](layer.out_channels), ACTIVATIONS[activation]()]

        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3),
            *normed(nn.Conv2d(3, width, 7, bias=bias)),
            *normed(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias)),
            *normed(nn.Conv2d(2 * width, wide, 3, 2, 1, bias=bias)),
            *[Block(wide, norm) for _ in range(blocks)],
            *normed(nn.ConvTranspose2d(wide, 2 * width, 3, 2, 1, 1, bias=bias)),
            *normed(nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1, bias=bias)),
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

    def __init__(self, width: int, norm: Normed = "batch") -> None:
        super().__init__()
        bias = norm != "batch"
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            NORMS[norm](width),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            NORMS[norm](width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
