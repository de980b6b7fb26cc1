"""A residual network whose vector comes from all of its stages: tiny, and the untrained one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.device import fast_bf16
from fallow.encoders.resnet import ResNet, resnet

# name -> layout; both are 32 channels wide at first, for pictures of 64 px
BUILT_IN = {"untrained": "resnet14", "tiny": "resnet18"}
PLACES = 4  # places along a side that the second stage is looked at in


class Moments(nn.Module):
    """Mean and spread of every stage make the vector, and the second stage by place.

    Early stages tell colour and texture, late ones things, and what is where tells a shirt from
    trousers. Each part has length 1: the larger values of the late ones would otherwise drown what
    the early ones say.
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
        parts = []
        for features in stages:
            features = features.float()
            spread = (features.var((2, 3), correction=0) + 1e-6).sqrt()  # smooth where it is 0
            parts.append(F.normalize(torch.cat([features.mean((2, 3)), spread], 1)))
        parts.append(F.normalize(by_place(stages[1].float()).mT.flatten(1)))
        return torch.cat(parts, 1)  # B D


def by_place(features: Tensor) -> Tensor:
    """Means over a grid of places: B C h w -> B PLACES^2 C.

    Written as a product, whose gradients are the same twice on a GPU, unlike torch's pooling.

    >>> by_place(torch.ones(1, 2, 8, 5)).unique().tolist()
    [1.0]
    """
    down, across = (_shares(side, features) for side in features.shape[2:])
    return torch.kron(down, across) @ features.permute(0, 2, 3, 1).flatten(1, 2)


def _shares(side: int, like: Tensor) -> Tensor:
    """What each of `side` rows adds to each place (PLACES side), as adaptive pooling has it."""
    places = torch.arange(PLACES, device=like.device)[:, None]
    rows = torch.arange(side, device=like.device)
    first, last = places * side // PLACES, ((places + 1) * side + PLACES - 1) // PLACES
    inside = ((rows >= first) & (rows < last)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def built_in(name: str) -> Moments:
    """The network of a name in BUILT_IN, with random weights.

    >>> built_in("tiny").dimension
    1984
    """
    return Moments(resnet(BUILT_IN[name], width=32, stem="imagenet"))
