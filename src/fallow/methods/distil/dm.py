"""DM: mean features of synthetic and real images agree in random networks (Zhao & Bilen 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from fallow.losses.matching import grouped_means, mean_distance
from fallow.methods.distil import Host
from fallow.methods.distil import Settings as BaseSettings


class DM(Host):
    """Match each class's mean features in a new random network every step: quick, no training.

    All classes pass the network together, the real ones without a graph and a few at a time.
    """

    class Settings(BaseSettings):
        rate: float | None = Field(  # type: ignore[assignment]
            None,
            gt=0,
            description="step size of the pixels; 1 in the paper; images per class if left out, "
            "as each of them gets that part of the class's gradient",
        )
        precision: Literal["auto", "32", "bf16"] = Field(
            "auto", description="of the real images' features; auto: bf16 where it is native"
        )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"steps": 20_000, "width": 128, "real": 256, "rate": 1.0, "precision": "32"}
    }
    steps = 500

    def build(self) -> None:
        from fallow.device import fast_bf16

        wanted = self.settings.precision
        self.bf16 = wanted == "bf16" or (wanted == "auto" and fast_bf16(self.device))
        self.net = self.network().requires_grad_(False)

    def rate(self) -> float:
        return float(self.settings.rate or self.per_class)

    def step(self) -> float:
        self.net.fresh(self.generator)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def loss(self) -> Tensor:
        """For the network as it is and newly drawn real images and transforms."""
        rows = [
            self.real.some(code, self.settings.real, self.generator) for code in range(self.classes)
        ]
        synthetic = self.copies(self.pixels.unflatten(0, (self.classes, -1)))  # C n 3 S S
        theirs, ours = [], []
        for code, drawn in enumerate(rows):
            transform = self.draw()  # the same for a class's real and synthetic images
            theirs.append(transform(self.real.take(drawn)))
            ours.append(transform(synthetic[code]))
        groups = torch.arange(self.classes).repeat_interleave(torch.tensor([*map(len, rows)]))
        targets = self.net.means(
            torch.cat(theirs), groups.to(self.device), self.classes, bf16=self.bf16
        )
        features = self.net.embed(torch.cat(ours))
        return mean_distance(grouped_means(features, self.classes), targets)
