"""MTT: a student trained on synthetic images walks where experts walked (Cazenavette et al. 2022).

`unrolled` differentiates through the whole walk, whose graph grows with its steps. `two_passes` is
FYI's form: how the student's end depends on each step's gradient is known after a first pass
without a graph, and a second pass visits the steps one by one. The loss is the same; that later
steps start elsewhere when an earlier image changes is left out of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders.convnet import flat, unflat
from fallow.losses.matching import trajectory_distance
from fallow.methods.distil import Host
from fallow.methods.distil import Settings as BaseSettings

# step -> images made of the synthetic pixels, and their labels; the same whenever it is asked
Feed = Callable[[int], tuple[Tensor, Tensor]]
LEAST_RATE = 1e-6  # a student that walks backwards learns nothing


@dataclass(frozen=True)
class Walk:
    """A student's walk: the loss, where it ended, and the gradients of pixels and step size."""

    loss: Tensor
    end: Tensor
    pixels: Tensor
    rate: Tensor


def unrolled(
    network: nn.Module, start: Tensor, target: Tensor,
    feed: Feed, steps: int, pixels: Tensor, rate: Tensor,
) -> Walk:  # fmt: skip
    """The exact gradient; memory grows with the steps."""
    rate = rate.detach().requires_grad_()
    theta = start.detach().requires_grad_()
    for number in range(steps):
        theta = theta - rate * slope(network, theta, *feed(number), graph=True)
    loss = trajectory_distance(theta, start, target)
    own, of_rate = torch.autograd.grad(loss, (pixels, rate))
    return Walk(loss.detach(), theta.detach(), own, of_rate)


def two_passes(
    network: nn.Module, start: Tensor, target: Tensor,
    feed: Feed, steps: int, pixels: Tensor, rate: Tensor,
) -> Walk:  # fmt: skip
    """The same loss in memory that does not grow: the second pass walks anew, without storing."""
    start, step = start.detach(), rate.detach()
    theta, total = start, torch.zeros_like(start)
    for number in range(steps):
        x, labels = feed(number)
        g = slope(network, theta.detach().requires_grad_(), x.detach(), labels)
        total, theta = total + g, theta - step * g
    end = theta
    leaf = step.clone().requires_grad_()
    loss = trajectory_distance(start - leaf * total, start, target)
    (of_rate,) = torch.autograd.grad(loss, leaf)
    # of the loss with respect to every step's gradient, which all enter it alike
    pull = 2 * step * (step * total - start + target) / (start - target).square().sum()
    theta, own = start, torch.zeros_like(pixels)
    for number in range(steps):
        g = slope(network, theta.detach().requires_grad_(), *feed(number), graph=True)
        own += torch.autograd.grad((g * pull).sum(), pixels)[0]
        theta = theta - step * g.detach()
    return Walk(loss.detach(), end.detach(), own, of_rate)


def slope(
    network: nn.Module, theta: Tensor, x: Tensor, labels: Tensor, *, graph: bool = False
) -> Tensor:
    """Gradient of the mean cross-entropy at the flat parameters `theta`."""
    logits = torch.func.functional_call(network, unflat(theta, network), (x,))
    return torch.autograd.grad(F.cross_entropy(logits, labels), theta, create_graph=graph)[0]


class MTT(Host):
    """Match stretches of experts' training: strong, and dear, as experts must be trained first."""

    class Settings(BaseSettings):
        rate: float = Field(100.0, gt=0, description="step size of the pixels")
        experts: int = Field(3, ge=1, description="networks trained on the real images; 100")
        expert_epochs: int = Field(10, ge=2, description="their epochs; 50 in the paper")
        expert_rate: float = Field(0.01, gt=0, description="their learning rate")
        expert_batch: int = Field(256, ge=1)
        ahead: int = Field(2, ge=1, description="expert epochs a student has to cover")
        latest: int = Field(8, ge=1, description="a student starts before this expert epoch")
        walk: int = Field(20, ge=1, description="steps of a student")
        walk_rate: float = Field(0.01, gt=0, description="its step size to begin with; learned")
        rate_of_rate: float = Field(1e-6, ge=0, description="step size of that step size")
        batch: int | None = Field(
            None, ge=1, description="images a student step, copies counted; all if left out"
        )
        constant_memory: bool = Field(
            True, description="two passes with a nearly exact gradient instead of one long graph"
        )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "steps": 10_000, "width": 128, "experts": 100, "expert_epochs": 50, "rate": 1000.0,
            "rate_of_rate": 1e-4, "walk": 30, "ahead": 2, "latest": 20, "whiten": True,
        }
    }  # fmt: skip
    steps = 200

    def build(self) -> None:
        self.net = self.network()
        self.walk_rate = torch.tensor(self.settings.walk_rate, device=self.device)
        self.walk_rate.requires_grad_()
        self.rate_optimiser = torch.optim.SGD(
            [self.walk_rate], lr=self.settings.rate_of_rate, momentum=0.5
        )
        self.paths: list[list[Tensor]] = []

    def prepare(self, tell: Callable[[str], None]) -> None:
        for number in range(self.settings.experts):
            self.paths.append(self.expert())
            tell(f"expert {number + 1} of {self.settings.experts} is trained")

    def expert(self) -> list[Tensor]:
        """Flat parameters of a network at the start and after each epoch on the real images."""
        s = self.settings
        net = self.net.fresh(self.generator)
        optimiser = torch.optim.SGD(net.parameters(), lr=s.expert_rate)
        path = [flat(net.parameters())]
        for _ in range(s.expert_epochs):
            for x, labels in self.real.batches(s.expert_batch, self.generator):
                loss = F.cross_entropy(net(self.draw(len(x))(x)), labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            path.append(flat(net.parameters()))
        return path

    def step(self) -> float:
        s = self.settings
        path = self.paths[int(torch.randint(len(self.paths), (1,), generator=self.generator))]
        ahead = min(s.ahead, len(path) - 1)
        first = int(torch.randint(min(s.latest, len(path) - ahead), (1,), generator=self.generator))
        match = two_passes if s.constant_memory else unrolled
        walk = match(
            self.net, path[first], path[first + ahead],
            self.feed(), s.walk, self.pixels, self.walk_rate,
        )  # fmt: skip
        self.pixels.grad, self.walk_rate.grad = walk.pixels, walk.rate
        self.optimiser.step()
        self.rate_optimiser.step()
        with torch.no_grad():
            self.walk_rate.clamp_(min=LEAST_RATE)
        return float(walk.loss)

    def feed(self) -> Feed:
        """Mini-batches and transforms of one walk, drawn now, so that both passes see the same."""
        s = self.settings
        count = len(self.pixels)
        copies = 1 if s.copies == "none" else 2
        batch = count if s.batch is None else min(count, max(1, s.batch // copies))
        order: list[Tensor] = []
        while len(order) < s.walk:
            shuffled = torch.randperm(count, generator=self.generator)
            order += shuffled.split(batch)
        transforms = [self.draw(copies * len(rows)) for rows in order[: s.walk]]
        turns = [int(torch.randint(2**31, (1,), generator=self.generator)) for _ in transforms]

        def images(number: int) -> tuple[Tensor, Tensor]:
            rows = order[number]
            again = torch.Generator().manual_seed(turns[number])
            x = self.copies(self.pixels[rows], again)
            return transforms[number](x), self.twice(self.labels[rows])

        return images

    def recipe(self) -> dict[str, float]:
        return {"rate": float(self.walk_rate.detach())}
