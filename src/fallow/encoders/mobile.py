"""What mobile networks are made of: blocks that widen, look channel by channel, and narrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]
Layer = Callable[[Tensor, bool], Tensor]  # a map, and whether ReLU6 follows


class Stage(NamedTuple):
    """Blocks of one width; the first of them carries the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


class Block(nn.Module):
    """Widen, look around channel by channel, narrow; with a shortcut where nothing changes size.

    Names of layers are timm's, so weights go to and fro.
    """

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.layers: tuple[str, ...]
        if stage.expansion > 1:
            self.conv_pw = nn.Conv2d(inputs, wide, 1, bias=False)
            self.bn1 = norm(wide)
            around, narrow, self.layers = "bn2", "bn3", ("conv_pw", "conv_dw", "conv_pwl")
        else:
            around, narrow, self.layers = "bn1", "bn2", ("conv_dw", "conv_pw")
        side = stage.kernel
        self.conv_dw = nn.Conv2d(wide, wide, side, stride, groups=wide, bias=False)
        self.add_module(around, norm(wide))
        self.add_module(self.layers[-1], nn.Conv2d(wide, stage.width, 1, bias=False))
        self.add_module(narrow, norm(stage.width))
        self.shortcut = stride == 1 and inputs == stage.width

    def pairs(self) -> list[Pair]:
        """Each convolution with its batch norm, in order."""
        return [
            (getattr(self, name), getattr(self, f"bn{number}"))
            for number, name in enumerate(self.layers, 1)
        ]

    def forward(self, x: Tensor, layers: Iterator[Layer]) -> Tensor:
        before = x
        for number in range(len(self.layers)):
            x = next(layers)(x, number < len(self.layers) - 1)
        return x + before if self.shortcut else x


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


def apart(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Layer:
    """A convolution, its batch norm, and ReLU6 if asked for."""

    def run(x: Tensor, clipped: bool) -> Tensor:
        rows, columns = _needed(conv.kernel_size[0], x, conv.stride[0])
        around = [rows // 2, columns // 2]
        if rows % 2 or columns % 2:
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            around = [0, 0]
        x = norm(F.conv2d(x, conv.weight, None, conv.stride, around, 1, conv.groups))
        return F.relu6(x, inplace=True) if clipped else x

    return run


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, kind: torch.dtype) -> Layer:
    """The same in one pass: the norm is part of the convolution's weights."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    folded = (conv.weight * scale[:, None, None, None]).to(kind)
    bias = (norm.bias - norm.running_mean * scale).to(kind)

    def run(x: Tensor, clipped: bool) -> Tensor:
        weight, around = _placed(folded, x, conv.stride[0])
        if _clips_itself(x):
            after = ("hardtanh", [0.0, 6.0], "") if clipped else ("none", [], "")
            return torch.ops.mkldnn._convolution_pointwise(
                x, weight, bias, around, conv.stride, [1, 1], conv.groups, *after
            )
        x = F.conv2d(x, weight, bias, conv.stride, around, 1, conv.groups)
        return F.relu6(x, inplace=True) if clipped else x

    return run


def _clips_itself(x: Tensor) -> bool:
    """Whether the processor's library can apply ReLU6 to what it just computed (a third less)."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False  # a compiler joins them its own way, and the library has no gradient of it
    kinds = (torch.float32, torch.bfloat16)
    return x.device.type == "cpu" and x.dtype in kinds and torch.backends.mkldnn.is_available()


def _needed(kernel: int, x: Tensor, stride: int) -> list[int]:
    """Rows and columns to pad as TensorFlow does: the odd one comes after.

    ceil(side / stride) places come out, whatever the side.
    """
    return [max(0, (math.ceil(n / stride) - 1) * stride + kernel - n) for n in x.shape[2:]]


def _placed(weight: Tensor, x: Tensor, stride: int) -> tuple[Tensor, list[int]]:
    """The kernel, and what is padded on both sides.

    Where one more is needed after than before, the kernel begins with a zero, which is cheaper
    than a padded copy of the input.
    """
    needed = _needed(weight.shape[2], x, stride)
    rows, columns = (n % 2 for n in needed)
    if rows or columns:
        weight = F.pad(weight, (columns, 0, rows, 0))
    return weight, [(n + 1) // 2 for n in needed]
