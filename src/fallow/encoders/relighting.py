"""A network that lights a picture anew: small curves for every pixel, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STEPS = 8


class Curves(nn.Module):
    """What to add to a normalised picture (B 3 H W) for another light (Guo et al. 2020).

    >>> Curves(4)(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 8, 8])
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        width: int = 32,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        inputs = [3, width, width, width, 2 * width, 2 * width, 2 * width]
        outputs = [width] * 6 + [3 * STEPS]
        self.layers = nn.ModuleList(
            nn.Conv2d(one, other, 3, padding=1) for one, other in zip(inputs, outputs, strict=True)
        )
        for layer in self.layers:  # small at first: a new network changes little
            nn.init.normal_(layer.weight, 0.0, 0.02)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        low = min(-m / s for m, s in zip(mean, std, strict=True))
        high = max((1 - m) / s for m, s in zip(mean, std, strict=True))
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))

    def maps(self, x: Tensor) -> Tensor:
        """How much each step bends each channel, before it is bounded: B 24 H W."""
        one, two, three, four, five, six, last = self.layers
        a = one(x).relu()
        b = two(a).relu()
        c = three(b).relu()
        d = four(c).relu()
        e = five(torch.cat([c, d], 1)).relu()
        f = six(torch.cat([b, e], 1)).relu()
        return last(torch.cat([a, f], 1))

    def forward(self, x: Tensor) -> Tensor:
        return bent(x, self.maps(x), float(self.low), float(self.high))[0]


def bent(x: Tensor, maps: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """What the last of eight steps adds to the seven before it; and the value half way.

    Each step is x + r (x * x - x), r the tanh of three of the maps. Values are kept within the
    range of normalised pixels after each but the fourth, as published.

    >>> x = torch.full((1, 3, 1, 1), 0.5)
    >>> bent(x, torch.zeros(1, 24, 1, 1), -2.0, 2.0)[1].flatten().tolist()
    [0.5, 0.5, 0.5]
    """
    *some, last = maps.tanh().split(3, 1)
    middle = x
    for number, r in enumerate(some, 1):
        x = x + r * (x.square() - x)
        if number == 4:
            middle = x
        else:
            x = x.clamp(low, high)
    return last * (x.square() - x), middle
