"""A network that turns a map into another of the same kind: four levels around a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fallow.encoders.condensed import MULTIPLE, Block, StyledBlock


@dataclass(frozen=True)
class Shape:
    """How large a translator is; the default is the published one, of 9 million numbers."""

    channels: int = 4
    levels: tuple[int, ...] = (24, 48, 96, 192)
    blocks: int = 12  # of the transformer, whose width is the last level's
    heads: int = 6
    hidden: int = 768

    @property
    def multiple(self) -> int:
        """Of which the sides of its input are."""
        return MULTIPLE * 2 ** (len(self.levels) - 1)


class Layer(nn.Module):
    """A transformer's layer whose two steps a learnt number holds back; it starts at 0.  B N D"""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(batch, count, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # B heads N d
        found = F.scaled_dot_product_attention(query, key, value)
        x = x + self.alpha * self.out(found.transpose(1, 2).reshape(batch, count, width))
        return x + self.alpha * self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Place(nn.Module):
    """Every token with waves of its place before it.  B N D"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.waves = nn.Linear(2, width)
        self.join = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        waves = torch.sin(self.waves(spots(rows, columns, tokens)))
        return self.join(torch.cat([waves.expand(len(tokens), -1, -1), tokens], 2))  # type: ignore[no-any-return]


def spots(rows: int, columns: int, like: Tensor) -> Tensor:
    """Where tokens lie, down and to the right, from -1 to 1, in the order of a map's rows.  N 2

    >>> spots(2, 2, torch.zeros(1)).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    down, right = (
        torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in (rows, columns)
    )
    return torch.cartesian_prod(down, right)


class Middle(nn.Module):
    """A transformer over all places, and a token more that says what the whole is like."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.levels[-1]
        self.extra = nn.Parameter(torch.randn(1, 1, width))
        self.place = Place(width)
        self.layers = nn.ModuleList(
            Layer(width, shape.heads, shape.hidden) for _ in range(shape.blocks)
        )
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map again, and the extra token.  B D h w, B D"""
        rows, columns = x.shape[2:]
        tokens = self.place(x.flatten(2).transpose(1, 2), rows, columns)
        tokens = torch.cat([tokens, self.extra.expand(len(x), -1, -1)], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        found = self.out(tokens[:, :-1]).transpose(1, 2)
        return found.reshape(x.shape), tokens[:, -1]


class Level(nn.Module):
    """Down by a half, what lies within, up again, with a shortcut across."""

    def __init__(
        self, inputs: int, width: int, within: nn.Module, returned: int, told: int
    ) -> None:
        super().__init__()
        self.smaller = nn.Conv2d(width, width, 2, 2)
        self.block = Block(inputs, width, width)
        self.larger = nn.Conv2d(returned, width, 3, padding=1)
        self.styled = StyledBlock(2 * width, inputs, width, told)
        self.within = within

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        across = self.block(x)
        x, told = self.within(self.smaller(across))
        x = self.larger(F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.styled(torch.cat([x, across], 1), told), told


class Translator(nn.Module):
    """Planes in 0...1 to planes in 0...1, of any sides that are multiples of `shape.multiple`.

    >>> small = Shape(levels=(4, 8), blocks=1, heads=2, hidden=8)
    >>> Translator(small)(torch.zeros(1, 4, 16, 32)).shape
    torch.Size([1, 4, 16, 32])
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        first, last = shape.levels[0], shape.levels[-1]
        self.start = nn.Conv2d(shape.channels, first, 3, padding=1)
        self.end = nn.Conv2d(first, shape.channels, 1)
        inside: nn.Module = Middle(shape)
        returned = last
        for inputs, width in reversed([*_pairs(shape.levels)]):
            inside = Level(inputs, width, inside, returned, last)
            returned = inputs
        self.levels = inside

    def forward(self, x: Tensor) -> Tensor:
        found, _ = self.levels(F.leaky_relu(self.start(x)))
        return torch.sigmoid(self.end(found))


def _pairs(levels: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip((levels[0], *levels[:-1]), levels, strict=True))


def start_small(network: nn.Module, spread: float) -> None:
    """Weights of convolutions and of linear layers drawn anew, biases at 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, spread)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
