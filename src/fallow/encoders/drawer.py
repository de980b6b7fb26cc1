"""A network that draws what it sees: a photo's features in, pen steps out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.losses.drawing import pen

Choose = Callable[[Tensor], Tensor]  # raw numbers of a step (B 3+6K) -> the step (B 5)


class PlaceAttention(nn.Module):
    """Where a drawer looks in a map of features, by what it remembers.

    >>> look = PlaceAttention(features=4, memory=6, width=5)
    >>> context, shares = look(torch.zeros(2, 4, 3, 3), torch.zeros(2, 6))
    >>> context.shape, shares.shape
    (torch.Size([2, 4]), torch.Size([2, 9]))
    """

    def __init__(self, features: int = 512, memory: int = 512, width: int = 256) -> None:
        super().__init__()
        self.of_memory = nn.Linear(memory, width)
        self.of_map = nn.Conv2d(features, width, 3, padding=1)
        self.score = nn.Linear(width, 1)

    def forward(self, features: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """A map (B C h w) and a memory (B M): what is seen (B C), and each place's share (B hw)."""
        return self.look(features, self.of_map(features), memory)

    def look(self, features: Tensor, keys: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The same with the map's part done, which does not change from step to step."""
        mixed = (keys + self.of_memory(memory)[:, :, None, None]).tanh()
        shares = self.score(mixed.flatten(2).mT)[..., 0].softmax(1)
        return torch.einsum("bcp,bp->bc", features.flatten(2), shares), shares


class Decoder(nn.Module):
    """Pen steps, each from what is looked at, the step before, and what is remembered."""

    def __init__(
        self,
        code: int = 128,
        features: int = 512,
        memory: int = 512,
        mixtures: int = 20,
        width: int = 256,
    ) -> None:
        super().__init__()
        self.begin = nn.Linear(code, 2 * memory)
        self.cell = nn.LSTM(features + 5, memory, batch_first=True)
        self.tell = nn.Linear(memory, 3 + 6 * mixtures)
        self.attention = PlaceAttention(features, memory, width)

    def start(self, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Memory (B M), its cell (B M), and the step before the first (B 5)."""
        memory, cell = self.begin(code).tanh().chunk(2, 1)
        first = code.new_tensor([0.0, 0.0, 1.0, 0.0, 0.0]).expand(len(code), 5)
        return memory.contiguous(), cell.contiguous(), first

    def step(
        self, features: Tensor, keys: Tensor, memory: Tensor, cell: Tensor, before: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Raw numbers of one step (B 3+6K), and memory and cell after it."""
        context, _ = self.attention.look(features, keys, memory)
        seen = torch.cat([context, before], 1)[:, None]
        out, (memory, cell) = self.cell(seen, (memory[None], cell[None]))
        return self.tell(out[:, 0]), memory[0], cell[0]

    def forward(self, features: Tensor, code: Tensor, sketch: Tensor) -> Tensor:
        """Raw numbers of every step of a known sketch (B T 5), and of the one after it.

        B T+1 3+6K
        """
        keys = self.attention.of_map(features)
        memory, cell, before = self.start(code)
        told = []
        for known in [before, *sketch.unbind(1)]:
            raw, memory, cell = self.step(features, keys, memory, cell, known)
            told.append(raw)
        return torch.stack(told, 1)

    def draw(
        self, features: Tensor, code: Tensor, length: int, choose: Choose
    ) -> tuple[Tensor, Tensor]:
        """Draw up to `length` steps: the sketches (B T 5) and the raw numbers they came from.

        A sketch that is done stays so; one that never ends is ended at the last step.
        """
        keys = self.attention.of_map(features)
        memory, cell, before = self.start(code)
        done = torch.zeros(len(code), dtype=torch.bool, device=code.device)
        filling = before.new_tensor([0.0, 0.0, 0.0, 0.0, 1.0])
        steps, told = [], []
        for place in range(length):
            raw, memory, cell = self.step(features, keys, memory, cell, before)
            before = torch.where(done[:, None], filling, choose(raw))
            if place == length - 1:
                ended = torch.cat([before[:, :2], filling[2:].expand(len(code), 3)], 1)
                before = torch.where(done[:, None], before, ended)
            done = done | (before[:, 4] > 0)
            steps.append(before)
            told.append(raw)
        return torch.stack(steps, 1), torch.stack(told, 1)


def likeliest(raw: Tensor) -> Tensor:
    """The step a drawer would take: the middle of its likeliest normal, its likeliest pen.

    >>> likeliest(torch.zeros(1, 9)).tolist()
    [[0.0, 0.0, 1.0, 0.0, 0.0]]
    """
    found = pen(raw)
    best = found.weight.argmax(1, keepdim=True)
    place = torch.cat([found.x.gather(1, best), found.y.gather(1, best)], 1)
    return torch.cat([place, F.one_hot(found.state.argmax(1), 3).to(place.dtype)], 1)


def drawn_by_chance(draw: torch.Generator | None = None) -> Choose:
    """Steps as likely as a drawer finds them; without a generator by torch's own.

    >>> drawn_by_chance(torch.Generator().manual_seed(0))(torch.zeros(2, 9)).shape
    torch.Size([2, 5])
    """

    def choose(raw: Tensor) -> Tensor:
        found = pen(raw)
        which = torch.multinomial(found.weight, 1, generator=draw)
        x, y, wide, high, together = (part.gather(1, which)[:, 0] for part in found[1:6])
        u, v = torch.randn(2, len(raw), generator=draw, device=raw.device).to(found.x)
        along = x + wide * u
        across = y + high * (together * u + (1 - together.square()).clamp(min=0).sqrt() * v)
        state = torch.multinomial(found.state.softmax(1), 1, generator=draw)[:, 0]
        place = torch.stack([along, across], 1)
        return torch.cat([place, F.one_hot(state, 3).to(place.dtype)], 1).detach()

    return choose


class SketchGenerator(nn.Module):
    """A photo in, a sketch of it out, through a small random code and a map to look at.

    >>> maker = SketchGenerator(layers=(8, 8), code=4, memory=8, mixtures=2, width=8)
    >>> maker.seen(torch.zeros(2, 3, 16, 16))[0].shape
    torch.Size([2, 8, 4, 4])
    """

    def __init__(
        self,
        layers: tuple[int, ...] = (32, 64, 128, 128),
        code: int = 128,
        memory: int = 512,
        mixtures: int = 20,
        width: int = 256,
    ) -> None:
        super().__init__()
        self.trunk = trunk(layers)
        self.middle, self.spread = nn.Linear(layers[-1], code), nn.Linear(layers[-1], code)
        self.decoder = Decoder(code, layers[-1], memory, mixtures, width)

    def seen(self, photo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of photos (B 3 S S): the map (B C h w), and middle and log variance of their codes."""
        features = self.trunk(photo)
        whole = features.amax((2, 3))
        return features, self.middle(whole), self.spread(whole)


VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def trunk(layers: tuple[int, ...]) -> nn.Sequential:
    """Convolutions with norm and a halving each; with zeros among them, those halve and norms go.

    >>> trunk(VGG)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 512, 1, 1])
    """
    parts: list[nn.Module] = []
    inputs = 3
    for width in layers:
        if not width:
            parts.append(nn.MaxPool2d(2))
            continue
        parts.append(nn.Conv2d(inputs, width, 3, padding=1))
        inputs = width
        if 0 in layers:
            parts.append(nn.ReLU())
        else:
            parts += [nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*parts)
