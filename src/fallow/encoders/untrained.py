"""A small network with fixed random filters, for when no trained one is at hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.resnet import resnet
from fallow.train.tune import fast_bf16


class Untrained(nn.Module):
    """A residual network of 32 to 128 channels; mean and spread of every stage make the vector.

    Each stage's part has length 1: random networks tell most in their early stages, which the
    larger values of the late ones would drown.
    """

    size = 64

    def __init__(self) -> None:
        super().__init__()
        self.model = resnet("resnet14", width=32, stem="imagenet")
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dimension = 2 * (32 + 64 + 128)

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Feature maps of the chosen stages, each B h w C."""
        return self.model.patches(x, layers, norm)

    def forward(self, x: Tensor) -> Tensor:
        # random features lose nothing to bf16, which halves the time where it is native
        with torch.autocast(x.device.type, torch.bfloat16, enabled=fast_bf16(x.device)):
            stages = self.model.stages(x.contiguous(memory_format=torch.channels_last))
        parts = []
        for features in stages:
            features = features.float()
            moments = torch.cat([features.mean((2, 3)), features.std((2, 3))], 1)
            parts.append(F.normalize(moments))
        return torch.cat(parts, 1)  # B D
