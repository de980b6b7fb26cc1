"""The small convolutional network that dataset distillation is published with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 16  # images whose first layer stays in a processor's cache


class ConvNet(nn.Module):
    """Blocks of 3 x 3 convolution, instance norm, ReLU and 2 x 2 mean, then one linear layer.

    >>> ConvNet(5, width=8, depth=2, size=8)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 5])
    """

    def __init__(
        self, classes: int, *, width: int = 128, depth: int = 3, size: int = 32, channels: int = 3
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for block in range(depth):
            # grey pictures of 28 pixels become 32, whose halves are whole
            padding = 3 if channels == 1 and block == 0 else 1
            layers += [
                nn.Conv2d(inputs, width, 3, padding=padding),
                nn.GroupNorm(width, width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
            size = (size + 2 * padding - 2) // 2
            inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * size * size, classes)
        self.depth = depth

    def embed(self, x: Tensor) -> Tensor:
        """The flattened features before the classifier.  B C S S -> B D"""
        return self.features(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.embed(x))

    @torch.no_grad()
    def fresh(self, generator: torch.Generator) -> ConvNet:
        """The same network with new random weights, as torch would draw them."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                reach = 1 / math.sqrt(layer.weight[0].numel())
                for parameter in (layer.weight, layer.bias):
                    assert parameter is not None
                    drawn = torch.rand(parameter.shape, generator=generator)
                    parameter.copy_((2 * drawn - 1) * reach)
            elif isinstance(layer, nn.GroupNorm):
                layer.weight.fill_(1.0)
                layer.bias.fill_(0.0)
        return self

    @torch.no_grad()
    def means(self, x: Tensor, groups: Tensor, count: int, *, bf16: bool = False) -> Tensor:
        """Mean of `embed` over the images of each group 0 … count - 1, without gradient.

        The images pass a few at a time, so that what lies between two layers never leaves the
        processor's cache; with `bf16` the convolutions multiply in that precision.
        """
        kind = torch.bfloat16 if bf16 else x.dtype
        layers: list[Any] = list(self.features)
        weights = [
            (conv.weight.to(kind), conv.bias.to(kind), conv.padding, norm)
            for conv, norm in zip(layers[::4], layers[1::4], strict=True)
        ]
        total = x.new_zeros(count, self.classifier.in_features)
        for start in range(0, len(x), CHUNK):
            part = x[start : start + CHUNK].to(kind)
            for weight, bias, padding, norm in weights:
                part = F.conv2d(part, weight, bias, padding=padding)
                part = F.group_norm(
                    part, norm.num_groups, norm.weight.to(kind), norm.bias.to(kind), norm.eps
                )
                part = F.avg_pool2d(part.relu_(), 2)
            total.index_add_(0, groups[start : start + CHUNK], part.flatten(1).to(x.dtype))
        return total / groups.bincount(minlength=count)[:, None]


def flat(parameters: Iterable[Tensor]) -> Tensor:
    """Parameters as one vector, in their order."""
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def unflat(vector: Tensor, network: nn.Module) -> dict[str, Tensor]:
    """A vector as the network's parameters by name, for `torch.func.functional_call`.

    >>> network = ConvNet(2, width=4, depth=1, size=4)
    >>> found = unflat(flat(network.parameters()), network)
    >>> all(torch.equal(found[name], value) for name, value in network.named_parameters())
    True
    """
    named = dict(network.named_parameters())
    parts = vector.split([value.numel() for value in named.values()])
    return {
        name: part.view_as(value) for (name, value), part in zip(named.items(), parts, strict=True)
    }
