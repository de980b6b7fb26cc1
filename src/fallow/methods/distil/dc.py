"""DC: synthetic images give a network the gradient that real ones give it (Zhao et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fallow.losses.matching import layerwise_cosine
from fallow.methods.distil import Host
from fallow.methods.distil import Settings as BaseSettings

# per class -> how often the gradients are matched, and epochs of training between two matches
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


def loops(per_class: int) -> tuple[int, int]:
    """The published loops; in between, as many matches as images, and 500 epochs among them.

    >>> loops(10), loops(5)
    ((10, 50), (5, 100))
    """
    return LOOPS.get(per_class, (per_class, max(1, 500 // per_class)))


class DC(Host):
    """Match the gradients of real and synthetic images while a network learns the synthetic ones.

    Every step takes a new network. The longer it learns, the more stages the images are good for.
    """

    class Settings(BaseSettings):
        rate: float = Field(0.1, gt=0, description="step size of the pixels")
        augment: bool = Field(False, description="DSA's transforms; host dsa has them")
        matches: int | None = Field(
            None, ge=1, description="gradient matches a step; by images per class if left out"
        )
        epochs: int | None = Field(
            None, ge=0, description="epochs of the network between two matches; as above"
        )
        network_rate: float = Field(0.01, gt=0, description="the network's learning rate")
        batch: int = Field(256, ge=1, description="synthetic images a step of the network")

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"steps": 1000, "width": 128, "real": 256}
    }
    steps = 200

    def build(self) -> None:
        self.net = self.network()
        matches, epochs = loops(self.per_class)
        s = self.settings
        self.matches = matches if s.matches is None else s.matches
        self.epochs = epochs if s.epochs is None else s.epochs

    def step(self) -> float:
        self.net.fresh(self.generator)
        total = self.match()
        for _ in range(self.matches - 1):
            self.follow()
            total += self.match()
        return total / (self.matches * self.classes)

    def match(self) -> float:
        """One step of the pixels towards the real images' gradients, class by class."""
        total, gathered = 0.0, torch.zeros_like(self.pixels)
        for code in range(self.classes):
            transform = self.draw()
            rows = self.real.some(code, self.settings.real, self.generator)
            theirs = gradients(self.net, transform(self.real.take(rows)), code)
            own = slice(code * self.per_class, (code + 1) * self.per_class)
            x = self.copies(self.pixels[own])
            ours = gradients(self.net, transform(x), code, graph=True)
            loss = layerwise_cosine(ours, theirs)
            # only the pixels' gradient: a plain backward would fill the network's too
            gathered += torch.autograd.grad(loss, self.pixels)[0]
            total += float(loss.detach())
        self.pixels.grad = gathered
        self.optimiser.step()
        return total

    def follow(self) -> None:
        """Train the network on the synthetic images as they are."""
        optimiser = torch.optim.SGD(self.net.parameters(), lr=self.settings.network_rate)
        x, labels = self.copies(self.pixels.detach()), self.twice(self.labels)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), generator=self.generator).split(self.settings.batch):
                transform = self.draw(len(rows))
                loss = F.cross_entropy(self.net(transform(x[rows])), labels[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()


def gradients(network: nn.Module, x: Tensor, code: int, *, graph: bool = False) -> Sequence[Tensor]:
    """Of the mean cross-entropy of images of one class, one tensor per parameter."""
    labels = torch.full((len(x),), code, device=x.device)
    loss = F.cross_entropy(network(x), labels)
    return torch.autograd.grad(loss, list(network.parameters()), create_graph=graph)
