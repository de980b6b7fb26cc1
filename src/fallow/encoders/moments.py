"""A residual network whose vector comes from all of its stages: tiny, and the untrained one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from fallow.device import fast_bf16
from fallow.encoders.pooling import by_place, joined, means_and_spreads
from fallow.encoders.resnet import ResNet, resnet

# name -> layout; both are 32 channels wide at first, for pictures of 64 px
BUILT_IN = {"untrained": "resnet14", "tiny": "resnet18"}
PLACES = 4  # places along a side that the second stage is looked at in


class Moments(nn.Module):
    """Mean and spread of every stage make the vector, and the second stage by place.

    Early stages tell colour and texture, late ones things, and what is where tells a shirt from
    trousers.
    """

    size = 64

    def __init__(self, model: ResNet) -> None:
        super().__init__()
        self.model = model
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        stages = len(model.stage_names)
        widths = [model.dimension // 2**k for k in reversed(range(stages))]
        self.dimension = 2 * sum(widths) + PLACES**2 * widths[1]

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Feature maps of the chosen stages, each B h w C."""
        return self.model.patches(x, layers, norm)

    def forward(self, x: Tensor) -> Tensor:
        # a look loses nothing to bf16, which halves the time where it is native
        traced = torch.onnx.is_in_onnx_export()  # it must compute the same anywhere
        look = fast_bf16(x.device) and not torch.is_grad_enabled() and not traced
        autocast = torch.autocast(x.device.type, torch.bfloat16)
        with autocast if look else nullcontext():
            stages = self.model.stages(x.contiguous(memory_format=torch.channels_last))
        stages = [features.float() for features in stages]
        parts = [means_and_spreads(features) for features in stages]
        return joined([*parts, by_place(stages[1], PLACES)])  # B D


def built_in(name: str) -> Moments:
    """The network of a name in BUILT_IN, with random weights.

    >>> built_in("tiny").dimension
    1984
    """
    return Moments(resnet(BUILT_IN[name], width=32, stem="imagenet"))
