"""AdvCLIP: one patch that upsets every task built on an encoder (Zhou et al. 2023).

An audit of encoders one owns or may test: how far do retrieval and classification fall when the
same small square is pasted on every picture, how far do plain squares go, and which defence helps?
The patch comes from a generator; it is learnt from bare pictures, and from their texts where the
encoder reads, and never from the tasks it is then tried on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fallow.losses.topology import contrast_of_rows, topology_deviation
from fallow.parts.patch import Square, lower_right, pasted
from fallow.problems import Problem

Look = Callable[[Tensor], Tensor]  # B 3 S S, normalised -> B D, with gradient
CLIP_WEIGHTS = 0.01  # the critic's, after each of its steps
LATENT = 100


class Settings(BaseModel):
    """What the search for a patch can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    area: float = Field(0.03, gt=0, lt=0.5, description="share of the picture the patch covers")
    epochs: int = Field(10, ge=1, description="passes over the pictures")
    batch: int = Field(16, ge=4, description="pictures a step; channels of the generator's mixture")
    width: int = Field(128, ge=8, description="channels of the generator's last hidden layer")
    learning_rate: float = Field(1e-3, gt=0, description="of generator and critic")
    away: float = Field(10.0, ge=0, description="weight of distance from the clean pictures")
    texts: float = Field(5.0, ge=0, description="how much texts count beside clean pictures")
    topology: float = Field(1.0, ge=0, description="weight of other neighbourhoods")
    looks: Literal["critic", "none"] = Field(
        "critic", description="whether a critic asks that patched pictures look like clean ones"
    )
    steps: int = Field(200, ge=1, description="of the patch that is learnt without a generator")


presets: dict[str, dict[str, Any]] = {
    "paper": {"epochs": 20, "learning_rate": 2e-4},
}


class Generator(nn.Module):
    """From B latent vectors, the same ones always, one picture (1 3 S S) in -1 ... 1.

    Published for 224 pixels; the last layer's kernel and padding follow the size. It mixes the
    batch's pictures into one, so the size of the batch is a number of its channels.
    """

    def __init__(self, batch: int, size: int = 224, latent: int = LATENT, width: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = [latent, 8 * width, 4 * width, 2 * width, width]
        for number, (inputs, outputs) in enumerate(pairwise(channels)):
            step, around = (1, 0) if number == 0 else (2, 1)
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, step, around),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.hidden = nn.Sequential(*layers)
        self.out = nn.ConvTranspose2d(width, 3, *_last(size))
        self.mix = nn.Conv2d(batch, 1, 3, padding=1)
        self.size = size
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, latent: Tensor) -> Tensor:  # B Z 1 1
        pictures = torch.tanh(self.out(self.hidden(latent)))
        pictures = pictures[..., : self.size, : self.size]
        mixed: Tensor = self.mix(pictures.transpose(0, 1))  # 3 1 S S
        return mixed.transpose(0, 1)


def _last(size: int) -> tuple[int, int, int]:
    """Kernel, stride and padding that make at least `size` of the 32 places before.

    >>> _last(224), _last(64)
    ((4, 8, 14), (4, 2, 1))
    """
    stride = 2
    while 31 * stride + 4 < size:
        stride += 1
    return 4, stride, (31 * stride + 4 - size) // 2


class Critic(nn.Module):
    """Whether a picture (B 3 S S) is clean; its weights are cut off after every step."""

    def __init__(self, size: int = 224, width: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = [3, width, 2 * width, 4 * width, 8 * width]
        for number, (inputs, outputs) in enumerate(pairwise(channels)):
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1))
            layers += [nn.BatchNorm2d(outputs)] if number else []
            layers.append(nn.LeakyReLU(0.2))
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Conv2d(channels[-1], 1, max(1, size // 16))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.sigmoid(self.out(self.hidden(x)))
        return found

    @torch.no_grad()
    def cut_off(self) -> None:
        for weight in self.parameters():
            weight.clamp_(-CLIP_WEIGHTS, CLIP_WEIGHTS)


@dataclass(frozen=True)
class Objective:
    """What a patch is after; lower is more upsetting."""

    away: Tensor
    topology: Tensor

    def total(self, settings: Settings) -> Tensor:
        return settings.away * self.away + settings.topology * self.topology


def objective(
    clean: Tensor, patched: Tensor, texts: Tensor | None, weight: float = 5.0
) -> Objective:
    """Patched pictures shall be found neither by their clean selves nor by their texts.

    And their neighbourhoods shall be others. Vectors of pictures and texts, n D each; `weight` is
    how much the texts count.
    """
    away = -contrast_of_rows(clean, patched)
    topology = -topology_deviation(clean, patched)
    if texts is not None:
        away = away - weight * contrast_of_rows(patched, texts)
        topology = topology - weight * topology_deviation(patched, texts)
    return Objective(away, topology)


@dataclass(frozen=True)
class Bounds:
    """The values a picture may have: black and white after an encoder's normalisation.  3 1 1"""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...]) -> Bounds:
        shift, scale = (torch.tensor(each).view(-1, 1, 1) for each in (mean, std))
        return cls((0 - shift) / scale, (1 - shift) / scale)

    def keep(self, patch: Tensor) -> Tensor:
        """Nothing darker than black or lighter than white, channel by channel."""
        return patch.clamp(self.low.to(patch), self.high.to(patch))

    def spread(self, patch: Tensor) -> Tensor:
        """-1 ... 1 to black ... white."""
        low, high = self.low.to(patch), self.high.to(patch)
        return low + (patch + 1) / 2 * (high - low)

    def as_8_bit(self, patch: Tensor) -> Tensor:
        """As it is after a PNG was written and read."""
        low, high = self.low.to(patch), self.high.to(patch)
        return low + (((self.keep(patch) - low) / (high - low)) * 255).round() / 255 * (high - low)


@dataclass
class Found:
    """A patch (3 S S, normalised), where it goes, and how the search went."""

    patch: Tensor
    square: Square
    history: list[dict[str, float]] = field(default_factory=list)


def batches(count: int, batch: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Rows of full batches; the generator's mixture needs as many as it has channels."""
    draw = torch.Generator().manual_seed(seed * 1000 + epoch)
    order = torch.randperm(count, generator=draw)
    yield from order[: count // batch * batch].view(-1, batch)


def generated(
    look: Look,
    pictures: Tensor,
    bounds: Bounds,
    settings: Settings,
    texts: Tensor | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Found:
    """A patch from a generator, against an encoder that only gives gradients.

    `pictures` (N 3 S S) are normalised, `texts` (N D) the vectors of their texts.
    """
    s = settings
    if len(pictures) < s.batch:
        raise Problem(f"{len(pictures)} pictures are too few for a batch of {s.batch}")
    size = pictures.shape[-1]
    square = lower_right(size, s.area)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        maker = Generator(s.batch, size, width=s.width).to(pictures.device)
        critic = Critic(size, max(8, s.width // 4)).to(pictures.device)
        latent = torch.randn(s.batch, LATENT, 1, 1).to(pictures.device)
    making = torch.optim.Adam(maker.parameters(), s.learning_rate, betas=(0.5, 0.999))
    judging = torch.optim.Adam(critic.parameters(), s.learning_rate, betas=(0.5, 0.999))
    with torch.no_grad():
        clean = torch.cat([look(part) for part in pictures.split(s.batch)])
    found = Found(pictures[0].new_zeros(3, size, size), square)
    for epoch in range(s.epochs):
        for rows in batches(len(pictures), s.batch, seed, epoch):
            some = pictures[rows]
            if s.looks == "critic":
                _judge(critic, judging, some, pasted(some, _made(maker, latent, bounds), square))
            patch = _made(maker, latent, bounds)
            patched = pasted(some, patch, square)
            asked = objective(
                clean[rows], look(patched), None if texts is None else texts[rows], s.texts
            )
            loss = asked.total(s) + F.mse_loss(patched, some)
            if s.looks == "critic":
                loss = loss + F.binary_cross_entropy(critic(patched), torch.ones(s.batch, 1, 1, 1))
            making.zero_grad()
            loss.backward()
            making.step()
            found.patch = patch.detach()
        line = {"away": float(asked.away.detach()), "topology": float(asked.topology.detach())}
        found.history.append({"epoch": epoch, **line})
        tell(f"epoch {epoch + 1} of {s.epochs}: {line['away']:.2f} away")
    found.patch = bounds.as_8_bit(found.patch)
    return found


def _made(maker: Generator, latent: Tensor, bounds: Bounds) -> Tensor:
    # the mixture of pictures in -1 ... 1 leaves that range: what is spread is kept within bounds
    return bounds.keep(bounds.spread(maker(latent)[0]))


def _judge(critic: Critic, judging: torch.optim.Optimizer, clean: Tensor, patched: Tensor) -> None:
    one, none = critic(clean), critic(patched.detach())
    loss = F.binary_cross_entropy(one, torch.ones_like(one))
    loss = loss + F.binary_cross_entropy(none, torch.zeros_like(none))
    judging.zero_grad()
    loss.backward()
    judging.step()
    critic.cut_off()


def descended(
    look: Look,
    pictures: Tensor,
    bounds: Bounds,
    settings: Settings,
    texts: Tensor | None = None,
    seed: int = 0,
) -> Found:
    """A patch learnt directly, by signs of the gradient: what the generator has to beat."""
    s = settings
    size = pictures.shape[-1]
    square = lower_right(size, s.area)
    draw = torch.Generator().manual_seed(seed)
    patch = bounds.spread(2 * torch.rand(3, size, size, generator=draw) - 1)
    step = (bounds.high - bounds.low) * 4 / s.steps
    count = min(s.batch, len(pictures))
    with torch.no_grad():
        clean = torch.cat([look(part) for part in pictures.split(s.batch)])
    for number in range(s.steps):
        rows = torch.randperm(len(pictures), generator=draw)[:count]
        patch = patch.detach().requires_grad_()
        seen = look(pasted(pictures[rows], patch, square))
        asked = objective(clean[rows], seen, None if texts is None else texts[rows], s.texts)
        (slope,) = torch.autograd.grad(asked.total(s), patch)
        slower = step * (1 - number / s.steps)
        patch = bounds.keep(patch.detach() - slower * slope.sign())
    return Found(bounds.as_8_bit(patch.detach()), square)


def plain(size: int, bounds: Bounds, settings: Settings, seed: int = 0) -> dict[str, Found]:
    """Squares nobody had to learn: black, white, grey and random."""
    square = lower_right(size, settings.area)
    draw = torch.Generator().manual_seed(seed)
    shades = {"black": -1.0, "grey": 0.0, "white": 1.0}
    found = {
        name: Found(bounds.as_8_bit(bounds.spread(torch.full((3, size, size), shade))), square)
        for name, shade in shades.items()
    }
    noise = bounds.spread(2 * torch.rand(3, size, size, generator=draw) - 1)
    return {**found, "random": Found(bounds.as_8_bit(noise), square)}
