"""Residual networks, from three basic blocks for small pictures to ResNet-50."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.attention_pool import AttentionPool
from fallow.problems import SettingProblem


class Layout(NamedTuple):
    """How many residual blocks each stage has, and of which kind."""

    blocks: tuple[int, ...]
    bottleneck: bool = False


# resnet8 and resnet14 stop after three stages, as the small networks for 32-pixel images do
LAYOUTS = {
    "resnet8": Layout((1, 1, 1)),
    "resnet14": Layout((2, 2, 2)),
    "resnet18": Layout((2, 2, 2, 2)),
    "resnet34": Layout((3, 4, 6, 3)),
    "resnet50": Layout((3, 4, 6, 3), bottleneck=True),
}


class _Pointwise(nn.Conv2d):
    """A strided 1x1 convolution: skips pixels first, then mixes channels.

    The same numbers as torch's own, whose backward pass on a CPU crashes for 8 channels or fewer
    in channels-last memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        _Pointwise(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1 to four times the width, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(self.bn3(self.conv3(x)) + shortcut, inplace=True)


class ResNet(nn.Module):
    """A residual network without classifier.

    The "imagenet" stem is 7x7 stride 2 and a max-pool, the "small" one 3x3 stride 1 and no pool.
    Parameter names are the usual ones, so public weights load.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        width: int = 64,
        stem: str = "imagenet",
        zero_last: bool = False,
        pool_side: int | None = None,
    ) -> None:
        super().__init__()
        if stem not in ("imagenet", "small"):
            raise SettingProblem(f'stem is "imagenet" or "small", not {stem!r}.')
        block: Callable[..., nn.Module] = Bottleneck if layout.bottleneck else BasicBlock
        expansion = Bottleneck.expansion if layout.bottleneck else BasicBlock.expansion
        self.stem = stem
        side, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(3, width, side, stride, side // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stage_names: list[str] = []
        inputs = width
        for stage, count in enumerate(layout.blocks):
            outputs = width * 2**stage
            blocks = []
            for position in range(count):
                first_of_later_stage = stage > 0 and position == 0
                blocks.append(block(inputs, outputs, 2 if first_of_later_stage else 1))
                inputs = outputs * expansion
            name = f"layer{stage + 1}"
            self.add_module(name, nn.Sequential(*blocks))
            self.stage_names.append(name)
        self.dimension = inputs
        self._initialise(zero_last)
        self.pool = (
            None if pool_side is None else AttentionPool(inputs, pool_side, max(1, inputs // 64))
        )

    def _initialise(self, zero_last: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_last and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)

    def stages(self, x: Tensor, count: int | None = None) -> list[Tensor]:
        """The feature map after each of the first stages, largest first."""  # each B C h w
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.stem == "imagenet":
            x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for name in self.stage_names[:count]:
            x = cast(nn.Module, getattr(self, name))(x)
            maps.append(x)
        return maps

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Feature maps of the chosen stages (0 is the first, -1 the last), each B h w C.

        `norm` is there to match the transformers: a residual network has no final norm.
        """
        wanted = [range(len(self.stage_names))[layer] for layer in layers]
        maps = self.stages(x, max(wanted, default=-1) + 1)
        return [maps[layer].permute(0, 2, 3, 1) for layer in wanted]

    def forward(self, x: Tensor) -> Tensor:
        last = self.stages(x)[-1]
        return last.mean((2, 3)) if self.pool is None else self.pool(last)  # B D


def resnet(
    name: str,
    *,
    width: int = 64,
    stem: str = "imagenet",
    zero_last: bool = False,
    pool_side: int | None = None,
) -> ResNet:
    """A randomly initialised network of a known layout.

    With `pool_side`, the side of its last map, attention takes the place of the mean at the end.

    >>> import torch
    >>> resnet("resnet8", width=16, stem="small")(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64])
    """
    layout = LAYOUTS[name]
    return ResNet(layout, width=width, stem=stem, zero_last=zero_last, pool_side=pool_side)
