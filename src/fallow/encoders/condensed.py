"""Attention over patches of a map through condensed queries, and the blocks built around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 4  # of a patch that is one token
MULTIPLE = 2 * SIDE  # of which a map's sides are: half-size queries are cut into patches, too
_SMALL = 1e-6


def patches(x: Tensor, side: int = SIDE) -> Tensor:
    """Patches of a map, row by row.  B C H W -> B H/side W/side C side side

    >>> patches(torch.zeros(1, 2, 8, 12)).shape
    torch.Size([1, 2, 3, 2, 4, 4])
    """
    return x.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5)


def together(parts: Tensor) -> Tensor:
    """The map that `patches` has cut.  B h w C s s -> B C H W

    >>> x = torch.rand(2, 3, 8, 16)
    >>> bool((together(patches(x)) == x).all())
    True
    """
    batch, rows, columns, channels, side, _ = parts.shape
    whole = parts.permute(0, 3, 1, 4, 2, 5)
    return whole.reshape(batch, channels, rows * side, columns * side)


def evening(weight: Tensor, style: Tensor) -> Tensor:
    """What keeps a layer's outputs as strong as before its inputs were scaled.  O I ..., B I -> B O

    >>> evening(torch.ones(1, 4), torch.ones(2, 4)).tolist()
    [[0.4999999403953552], [0.4999999403953552]]
    """
    power = weight.flatten(2).square().sum(2) if weight.ndim > 2 else weight.square()
    return (style.square() @ power.T + _SMALL).rsqrt()


class Attention(nn.Module):
    """Every patch asks a quarter as many condensed patches, which have asked all of them.

    Two small tables of weights (N N/4, N/4 N) take the place of one of N N. Sides are multiples
    of 8. Queries and keys have length 1 and the temperature is small: at the start almost every
    patch attends to all others alike.

    >>> Attention(6)(torch.zeros(1, 6, 8, 24)).shape
    torch.Size([1, 6, 8, 24])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.condense = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, 1)
        return self.out(self.attended(query, self.condense(F.avg_pool2d(query, 2)), key, value))  # type: ignore[no-any-return]

    def attended(self, query: Tensor, condensed: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The values as they were asked for.  B C H W"""
        shape = patches(value).shape
        asked, few, keys, values = (
            patches(one).flatten(1, 2).flatten(2) for one in (query, condensed, key, value)
        )  # B N 16C
        asked, few, keys = (F.normalize(one, dim=2) for one in (asked, few, keys))
        scale = value.shape[1] ** -0.5
        gathered = (few @ keys.transpose(1, 2) * scale).softmax(2) @ values  # B N/4 16C
        found = (asked @ few.transpose(1, 2) * scale).softmax(2) @ gathered
        return together(found.reshape(shape))


class StyledAttention(Attention):
    """The same with queries scaled, channel by channel, by a style (B C); outputs are evened."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:  # type: ignore[override]
        return self.bare(x, style) * evening(self.out.weight, style)[..., None, None]

    def bare(self, x: Tensor, style: Tensor) -> Tensor:
        """Not evened out."""
        query, key, value = self.qkv(x).chunk(3, 1)
        query = query * style[..., None, None]
        return self.out(self.attended(query, self.condense(F.avg_pool2d(query, 2)), key, value))  # type: ignore[no-any-return]


class Around(nn.Module):
    """Neighbours at two distances, channel by channel, mixed in both orders.  B C H W

    >>> Around(4, 6)(torch.zeros(1, 4, 7, 9)).shape
    torch.Size([1, 4, 7, 9])
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.near_in = nn.Conv2d(width, hidden, 1)
        self.near = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.near_out = nn.Conv2d(2 * hidden, width, 1)
        self.far_in = nn.Conv2d(width, hidden, 1)
        self.far = nn.Conv2d(hidden, hidden, 5, padding=2, groups=hidden)
        self.far_out = nn.Conv2d(2 * hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        near, far = F.relu(self.near(self.near_in(x))), F.relu(self.far(self.far_in(x)))
        first = self.near_out(torch.cat([far, near], 1))
        return first + self.far_out(torch.cat([near, far], 1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention beside a look around, then neighbours, then another width.

    >>> Block(4, 6, 6)(torch.zeros(1, 4, 8, 16)).shape
    torch.Size([1, 6, 8, 16])
    """

    def __init__(
        self, width: int, outputs: int, hidden: int, attention: type[Attention] = Attention
    ) -> None:
        super().__init__()
        self.attention = attention(width)
        self.beside = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.join = nn.Conv2d(2 * width, width, 1)
        self.around = Around(width, hidden)
        self.out = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.joined(x, self.attention(x))

    def joined(self, x: Tensor, attended: Tensor) -> Tensor:
        """All that follows attention."""
        beside = F.leaky_relu(self.beside(x))
        x = x + self.join(torch.cat([attended, beside], 1))
        x = x + self.around(x)
        return F.leaky_relu(self.out(x))


class Style(nn.Module):
    """What a vector makes of each channel's queries: 1 at the start.  B D -> B C

    >>> Style(3, 4)(torch.rand(2, 3)).unique().tolist()
    [1.0]
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        self.affine = nn.Linear(inputs, width)

    def forward(self, told: Tensor) -> Tensor:
        return 1 + self.alpha * self.affine(told)  # type: ignore[no-any-return]


class StyledBlock(nn.Module):
    """A block whose queries a vector scales.

    >>> StyledBlock(4, 5, 5, 3)(torch.zeros(2, 4, 8, 8), torch.zeros(2, 3)).shape
    torch.Size([2, 5, 8, 8])
    """

    def __init__(self, width: int, outputs: int, hidden: int, told: int) -> None:
        super().__init__()
        self.style = Style(told, width)
        self.block = Block(width, outputs, hidden, StyledAttention)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.block.joined(x, self.block.attention(x, self.style(told)))  # type: ignore[no-any-return]
