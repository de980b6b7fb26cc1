"""U-Net and V-Net in two or three dimensions: a contracting half that is an encoder's network,
and the expanding half it is joined to by its stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.problems import SettingProblem

# what U-Net leaves out at random in its five stages, and V-Net in its deepest
UNET_DROPOUT = (0.05, 0.1, 0.2, 0.3, 0.5)
VNET_DROPOUT = 0.5
VNET_LAYERS = (1, 2, 3, 3, 3)


def _of(name: str, dimensions: int) -> Any:
    """torch's layer of that name for 2 or 3 dimensions."""
    if dimensions not in (2, 3):
        raise SettingProblem(f"dimensions is 2 (pictures) or 3 (volumes), not {dimensions!r}.")
    return getattr(nn, f"{name}{dimensions}d")


def _norm(channels: int) -> nn.Module:
    """Every channel of every picture by itself, where the papers norm over a batch.

    With a handful of masks in small batches the running statistics of a batch norm fit no
    picture: a network found white blood cells with a Dice of 0.74 under them, and the same one
    with 0.86 under each picture's own.
    """
    return nn.GroupNorm(channels, channels)


def _initialise(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class _Convolutions(nn.Sequential):
    """`count` times convolution, norm, rectifier; dropout after the first if there is any."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        count: int,
        dimensions: int,
        dropout: float = 0.0,
        slope: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = []
        for place in range(count):
            layers += [
                _of("Conv", dimensions)(outputs if place else inputs, outputs, 3, padding=1),
                _norm(outputs),
                nn.LeakyReLU(slope) if slope else nn.ReLU(),
            ]
            if dropout and not place:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers)


class Contracting(nn.Module):
    """What both networks share: stages, largest first, and vectors made of the deepest."""

    channels: tuple[int, ...]
    dimensions: int

    @property
    def dimension(self) -> int:
        return self.channels[-1]

    def stages(self, x: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Maps of the chosen stages (0 is the largest, -1 the deepest), each B h w C."""
        maps = self.stages(x)
        return [maps[layer].movedim(1, -1) for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[-1].flatten(2).mean(2)  # B D


class UNet(Contracting):
    """The contracting half of a U-Net: two convolutions a stage, halved by maximum.

    >>> net = UNet(width=8)
    >>> (
    ...     [tuple(stage.shape[1:]) for stage in net.stages(torch.zeros(2, 3, 32, 32))][-1],
    ...     net.channels,
    ... )
    ((128, 2, 2), (8, 16, 32, 64, 128))
    """

    def __init__(
        self,
        *,
        width: int = 16,
        inputs: int = 3,
        dimensions: int = 2,
        dropout: Sequence[float] = UNET_DROPOUT,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.channels = tuple(width * 2**stage for stage in range(len(dropout)))
        before = (inputs, *self.channels)
        self.blocks = nn.ModuleList(
            _Convolutions(before[stage], outputs, 2, dimensions, rate, slope=0.01)
            for stage, (outputs, rate) in enumerate(zip(self.channels, dropout, strict=True))
        )
        self.pool = _of("MaxPool", dimensions)(2, ceil_mode=True)
        _initialise(self)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The output of every block, largest first."""
        maps = []
        for stage, block in enumerate(self.blocks):
            x = block(self.pool(x) if stage else x)
            maps.append(x)
        return maps

    def decoder(self, classes: int) -> nn.Module:
        """The expanding half for some classes."""
        return UNetDecoder(self.channels, classes, self.dimensions)


class UNetDecoder(nn.Module):
    """Enlarge, narrow, join the stage of that size, convolve; one logit a class at the end.

    >>> net = UNet(width=4, inputs=1, dimensions=3)
    >>> net.decoder(2)(net.stages(torch.zeros(1, 1, 16, 18, 17)), (16, 18, 17)).shape
    torch.Size([1, 2, 16, 18, 17])
    """

    def __init__(self, channels: Sequence[int], classes: int, dimensions: int) -> None:
        super().__init__()
        convolution = _of("Conv", dimensions)
        self.mode = "bilinear" if dimensions == 2 else "trilinear"
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # deepest first
        self.narrow = nn.ModuleList(convolution(deep, flat, 1) for deep, flat in pairs)
        self.blocks = nn.ModuleList(
            _Convolutions(2 * flat, flat, 2, dimensions, slope=0.01) for _, flat in pairs
        )
        self.classify = convolution(channels[0], classes, 3, padding=1)
        _initialise(self)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        x = maps[-1]
        skips = maps[-2::-1]
        for narrow, block, skip in zip(self.narrow, self.blocks, skips, strict=True):
            up = F.interpolate(narrow(x), skip.shape[2:], mode=self.mode, align_corners=True)
            x = block(torch.cat([skip, up], 1))
        return self.classify(x)  # B K *S


class VNet(Contracting):
    """The contracting half of a V-Net: one to three convolutions a stage, halved by a stride.

    >>> net = VNet(width=4, inputs=1, dimensions=3)
    >>> net.stages(torch.zeros(1, 1, 16, 16, 32))[-1].shape
    torch.Size([1, 64, 1, 1, 2])
    """

    def __init__(
        self,
        *,
        width: int = 16,
        inputs: int = 1,
        dimensions: int = 3,
        dropout: float = VNET_DROPOUT,
    ) -> None:
        super().__init__()
        self.dimensions, self.dropout = dimensions, dropout
        self.channels = tuple(width * 2**stage for stage in range(len(VNET_LAYERS)))
        self.downs = nn.ModuleList(
            nn.Sequential(
                _of("Conv", dimensions)(inside, outputs, 2, stride=2),
                _norm(outputs),
                nn.ReLU(),
            )
            for inside, outputs in zip(self.channels, self.channels[1:], strict=False)
        )
        self.blocks = nn.ModuleList(
            _Convolutions(outputs if stage else inputs, outputs, count, dimensions)
            for stage, (outputs, count) in enumerate(zip(self.channels, VNET_LAYERS, strict=True))
        )
        _initialise(self)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The output of every block, largest first; whole channels of the deepest drop out."""
        maps = []
        for stage, block in enumerate(self.blocks):
            if stage:
                # a side of odd length is rounded up, as in the U-Net
                odd = [part for side in reversed(x.shape[2:]) for part in (0, side % 2)]
                x = self.downs[stage - 1](F.pad(x, odd))
            x = block(x)
            maps.append(x)
        drop = F.dropout2d if self.dimensions == 2 else F.dropout3d
        maps[-1] = drop(maps[-1], self.dropout, self.training)
        return maps

    def decoder(self, classes: int) -> nn.Module:
        """The expanding half for some classes."""
        return VNetDecoder(self.channels, classes, self.dimensions, self.dropout)


class VNetDecoder(nn.Module):
    """Enlarge by a transposed convolution, add the stage of that size, convolve.

    >>> net = VNet(width=4, inputs=1, dimensions=3)
    >>> net.decoder(2)(net.stages(torch.zeros(1, 1, 16, 20, 17)), (16, 20, 17)).shape
    torch.Size([1, 2, 16, 20, 17])
    """

    def __init__(
        self, channels: Sequence[int], classes: int, dimensions: int, dropout: float
    ) -> None:
        super().__init__()
        self.dimensions, self.dropout = dimensions, dropout
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # deepest first
        self.ups = nn.ModuleList(
            nn.Sequential(
                _of("ConvTranspose", dimensions)(deep, flat, 2, stride=2),
                _norm(flat),
                nn.ReLU(),
            )
            for deep, flat in pairs
        )
        counts = VNET_LAYERS[-2::-1]
        self.blocks = nn.ModuleList(
            _Convolutions(flat, flat, count, dimensions)
            for (_, flat), count in zip(pairs, counts, strict=True)
        )
        self.classify = _of("Conv", dimensions)(channels[0], classes, 1)
        _initialise(self)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        x = maps[-1]
        for up, block, skip in zip(self.ups, self.blocks, maps[-2::-1], strict=True):
            cut = (slice(None), slice(None), *(slice(0, side) for side in skip.shape[2:]))
            x = block(up(x)[cut] + skip)
        drop = F.dropout2d if self.dimensions == 2 else F.dropout3d
        return self.classify(drop(x, self.dropout, self.training))  # B K *S


NETWORKS: dict[str, type[Contracting]] = {"unet": UNet, "vnet": VNet}
