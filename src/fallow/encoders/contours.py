"""Networks of outlines: what each point looks like, told along the ring its neighbours form.

A batch holds outlines of different lengths, padded at the end. Padding never counts: neither in
the statistics of norms, nor as a neighbour, nor in a mean.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 64
SLOPE = 0.2  # of scores below 0


def ring(length: int, size: int, reach: int) -> Tensor:
    """Which points of a closed line of `length` are at most `reach` apart; none beyond it.

    size size bool

    >>> ring(5, 6, 1).sum(1).tolist()
    [3, 3, 3, 3, 3, 0]
    """
    places = torch.arange(size)
    apart = (places[:, None] - places[None]).abs()
    near = torch.minimum(apart, length - apart) <= reach
    there = places < length
    return near & there[:, None] & there[None]


class GraphBlock(nn.Module):
    """x + attention of every point to those it is linked with, of relu(norm(x)).

    >>> block, x = GraphBlock(4), torch.zeros(3, 4)
    >>> block.on_graph(x, torch.tensor([[0, 1], [1, 2]])).shape
    torch.Size([3, 4])
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.value = nn.Linear(width, width, bias=False)
        self.sends = nn.Parameter(torch.empty(width))
        self.takes = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.value.weight)
        for scores in (self.sends, self.takes):
            nn.init.xavier_uniform_(scores[None])

    def on_graph(self, x: Tensor, edges: Tensor) -> Tensor:
        """Points (N C) of any graph; edges (2 E) lead from one to another, each point has its own.

        Edges of a point to itself are replaced by one for each, as a graph library would.
        """
        h = self.value(F.relu(self.norm(x)))
        here = torch.arange(len(x), device=x.device)
        others = edges[:, edges[0] != edges[1]]
        source, target = torch.cat([others, torch.stack([here, here])], 1)
        scores = F.leaky_relu((h @ self.sends)[source] + (h @ self.takes)[target], SLOPE)
        most = scores.new_full((len(x),), -torch.inf)
        most = most.scatter_reduce(0, target, scores.detach(), "amax")
        weights = (scores - most[target]).exp()
        sums = weights.new_zeros(len(x)).index_add(0, target, weights)
        told = (weights / sums[target])[:, None] * h[source]
        return x + torch.zeros_like(h).index_add(0, target, told) + self.bias

    def forward(self, x: Tensor, there: Tensor, around: Tensor, reach: int) -> Tensor:
        """Padded rings (B n C); `there` (B n) marks points, `around` (B, n + 2 reach) goes round.

        The neighbours are summed place by place from one padded copy, so memory does not grow
        with their number.
        """
        normed = torch.zeros_like(x)
        normed[there] = F.relu(self.norm(x[there])).to(x.dtype)
        h = self.value(normed)
        round_ = h.gather(1, around[..., None].expand(-1, -1, h.shape[2]))  # B n+2r C
        sends = round_ @ self.sends  # B n+2r
        scores = sends.unfold(1, 2 * reach + 1, 1) + (h @ self.takes)[..., None]  # B n 2r+1
        weights = F.leaky_relu(scores, SLOPE).softmax(2)
        total = x + self.bias
        count = x.shape[1]
        for place in range(2 * reach + 1):
            total = total + weights[..., place, None] * round_[:, place : place + count]
        return total


def going_round(lengths: Tensor, size: int, reach: int) -> Tensor:
    """For rings of such lengths (B): the point at each place from -reach to size + reach.

    >>> going_round(torch.tensor([3]), 3, 1).tolist()
    [[2, 0, 1, 2, 0]]
    """
    places = torch.arange(-reach, size + reach, device=lengths.device)
    return places % lengths[:, None].clamp(min=1)


class PointStream(nn.Module):
    """Patches around the points of outlines, a small network for each, then blocks on the ring."""

    def __init__(
        self, colours: int, blocks: int, width: int = WIDTH, beside: int = 2, reach: int = 8
    ) -> None:
        super().__init__()
        self.reach = reach
        if colours == 1:  # the line alone, and some numbers beside it
            layers = [*_seen(1, width, 0)]
            self.mix: nn.Module | None = nn.Linear(width + beside, width)
        else:
            layers = [*_seen(colours, width // 2, 1), *_seen(width // 2, width, 0)]
            self.mix = None
        self.patch = nn.Sequential(*layers)
        self.blocks = nn.ModuleList([GraphBlock(width) for _ in range(blocks)])

    def forward(self, patches: Tensor, lengths: Tensor, beside: Tensor | None = None) -> Tensor:
        """Patches (B n C k k) and, of the line's stream, numbers beside them (B n M) -> B n W."""
        batch, size = patches.shape[:2]
        there = torch.arange(size, device=lengths.device) < lengths[:, None]
        seen = self.patch(patches[there]).mean((2, 3))  # N W
        if self.mix is not None:
            assert beside is not None
            seen = self.mix(torch.cat([seen, beside[there].to(seen.dtype)], 1))
        x = seen.new_zeros(batch, size, seen.shape[1])
        x[there] = seen
        around = going_round(lengths, size, self.reach)
        for block in self.blocks:
            x = block(x, there, around, self.reach)
        return x * there[..., None]


def _seen(inputs: int, outputs: int, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]


def centred(points: Tensor, lengths: Tensor, canvas: float) -> Tensor:
    """Points (B n 2) as shares of half a canvas, each outline about its own middle.

    >>> centred(torch.tensor([[[0.0, 0.0], [4.0, 2.0], [9.0, 9.0]]]), torch.tensor([2]), 4.0)[0, :2]
    tensor([[-1.0000, -0.5000],
            [ 1.0000,  0.5000]])
    """
    there = (torch.arange(points.shape[1], device=lengths.device) < lengths[:, None])[..., None]
    scaled = points.float() / (canvas / 2) - 1
    middle = (scaled * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
    return (scaled - middle) * there


class Gate(nn.Module):
    """How much of each feature is taken from the line, and how much from the texture.

    >>> gate, one = Gate(4), torch.ones(2, 4)
    >>> bool(gate.blend(one, one).allclose(one)), gate.beside(one, one).shape
    (True, torch.Size([2, 8]))
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.first = nn.Linear(2 * width, width)
        self.second = nn.Linear(width, width)

    def share(self, contour: Tensor, texture: Tensor) -> Tensor:
        """The line's share of every feature, 0 to 1."""
        return self.second(F.elu(self.first(torch.cat([contour, texture], -1)))).sigmoid()

    def blend(self, contour: Tensor, texture: Tensor) -> Tensor:
        """Their weighted mean, as wide as one of them."""
        share = self.share(contour, texture)
        return share * contour + (1 - share) * texture

    def beside(self, contour: Tensor, texture: Tensor) -> Tensor:
        """Both weighted, one after the other."""
        share = self.share(contour, texture)
        return torch.cat([share * contour, (1 - share) * texture], -1)


Streams = Literal["both", "contour", "texture"]


class PointNetwork(nn.Module):
    """What is at every point of an outline: its line and its texture, and both gated."""

    def __init__(
        self, blocks: int, width: int = WIDTH, streams: Streams = "both", beside: int = 2
    ) -> None:
        super().__init__()
        self.streams = streams
        if streams != "texture":
            self.contour = PointStream(1, blocks, width, beside)
        if streams != "contour":
            self.texture = PointStream(3, blocks, width)
        if streams == "both":
            self.gate = Gate(width)

    def both(
        self, beside: Tensor, lines: Tensor, colours: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features of lines (patches B n k k) and colours (B n 3 k k); one alone stands twice.

        With each line's patch go some numbers (B n M): where it lies, or how the line runs there.
        """
        found = []
        if self.streams != "texture":
            found.append(self.contour(lines[:, :, None].float(), lengths, beside))
        if self.streams != "contour":
            found.append(self.texture(colours.float() / 255, lengths))
        return found[0], found[-1]

    def fused(self, contour: Tensor, texture: Tensor) -> Tensor:
        """Features that points are matched by.  B n W"""
        return self.gate.blend(contour, texture) if self.streams == "both" else contour


class LinearAttention(nn.Module):
    """Heads that attend to all points at a cost that grows with their number, and to near ones.

    Of the `heads`, `local` look at a window and the ones beside it, around the ring's seam as
    anywhere else; the others weigh all points once and answer every query from that.
    """

    def __init__(
        self, width: int = WIDTH, heads: int = 8, local: int = 4, window: int = 32
    ) -> None:
        super().__init__()
        self.heads, self.local, self.window = heads, local, window
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """Features (B n W) of points, `there` (B n) marking those that are real."""
        normed = self.norm(x)
        q, k, v = (
            layer(normed).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # B heads n d
        near, far = slice(0, self.local), slice(self.local, None)
        told = torch.cat(
            [
                self._near(q[:, near], k[:, near], v[:, near], there),
                self._far(q[:, far], k[:, far], v[:, far], there),
            ],
            1,
        )
        x = x + self.out(told.transpose(1, 2).flatten(2))
        return x + self.mlp(x)

    def _far(self, q: Tensor, k: Tensor, v: Tensor, there: Tensor) -> Tensor:
        hidden = ~there[:, None, :, None]
        weights = k.masked_fill(hidden, -torch.inf).softmax(2)  # over points
        told = weights.mT @ v.masked_fill(hidden, 0)  # B h d d
        return q.softmax(3) @ told * q.shape[3] ** -0.5

    def _near(self, q: Tensor, k: Tensor, v: Tensor, there: Tensor) -> Tensor:
        heads, size, wide = q.shape[1:]
        if not heads:
            return q
        window = self.window
        lengths = there.sum(1)
        count = -(-size // window)
        places = torch.arange(count * window, device=q.device).clamp(max=size - 1)
        queries = q[:, :, places].unflatten(2, (count, window))  # B h c w d
        around = going_round(lengths, count * window, window)  # B (c + 2) w
        steps = around[:, None, :, None].expand(-1, heads, -1, wide)
        keys, values = (
            x.gather(2, steps).unfold(2, 3 * window, window).transpose(3, 4) for x in (k, v)
        )  # B h c 3w d
        told = F.scaled_dot_product_attention(queries, keys, values)
        return told.flatten(2, 3)[:, :, :size]


class Summary(nn.Module):
    """All points of an outline as one vector of unit length, from line and texture."""

    def __init__(self, width: int = WIDTH, depth: int = 5, heads: int = 8, local: int = 4) -> None:
        super().__init__()
        self.contour, self.texture = (
            nn.ModuleList([LinearAttention(width, heads, local) for _ in range(depth)])
            for _ in range(2)
        )
        self.gate = Gate(width)
        self.out = nn.Linear(2 * width, 2 * width)

    def forward(self, contour: Tensor, texture: Tensor, lengths: Tensor) -> Tensor:
        """Features of points (B n W each) -> B 2W."""
        there = torch.arange(contour.shape[1], device=lengths.device) < lengths[:, None]
        for one, other in zip(self.contour, self.texture, strict=True):
            contour, texture = one(contour, there), other(texture, there)
        both = self.gate.beside(contour, texture) * there[..., None]
        mean = both.sum(1) / lengths[:, None].clamp(min=1)
        return F.normalize(self.out(mean), dim=1, eps=1e-12)
