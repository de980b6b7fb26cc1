"""Systems that sort images when only some classes are labelled, and count the new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fallow.encoders import Encoder
from fallow.encoders.parts import train_last
from fallow.train import Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.order import weighted
from fallow.views import Recipe, moco

if TYPE_CHECKING:
    from fallow.images import Images


class Settings(BaseSettings):
    """What methods that learn from some labels can be told; a method adds its own."""

    classes: int | None = Field(
        None, gt=1, description="how many there are, known ones included; none: counted"
    )
    temperature: float = Field(1.0, gt=0, description="of the contrast of two views")
    class_temperature: float = Field(0.07, gt=0, description="of the contrast of classes")
    balance: float = Field(0.35, ge=0, le=1, description="share of what labels say")
    hidden: int = Field(512, gt=0, description="width of the projection head")
    last: int | None = Field(None, gt=0, description="blocks of the encoder that learn; none: all")


class Discoverer(Method):
    """A method that trains on all images, those with a label drawn as often as those without."""

    family = "discovery"
    shares: Tensor  # N, chances to be drawn, by row of the pack

    def recipe(self) -> Recipe:
        return moco(self.settings.size)

    def build(self, encoder: Encoder) -> None:
        if self.settings.last is not None:
            train_last(encoder, self.settings.last)
        self.register_buffer("shares", torch.ones(self.facts.count, dtype=torch.float64))

    def before_epoch(self, now: Now, images: Images) -> None:
        known = self.known(images)
        self.shares[: len(known)] = torch.from_numpy(even_shares(known))

    def known(self, images: Images) -> np.ndarray:
        """Labels by row of the pack, -1 where there is none."""
        from fallow.train.streams import source_side

        return images.labels[0][images.pack(side=source_side(self.recipe())).rows]

    def compose(self, now: Now, count: int, batch: int, seed: int) -> np.ndarray:
        return weighted(self.shares[:count].cpu().numpy(), batch, seed=seed, epoch=now.epoch)


def even_shares(known: np.ndarray) -> np.ndarray:
    """Chances to be drawn: labelled images together as often as the others together.

    >>> even_shares(np.array([0, 1, -1, -1, -1, -1])).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    """
    labelled = known >= 0
    rest = max(1, int((~labelled).sum()))
    return np.where(labelled, 1.0, max(1, int(labelled.sum())) / rest)
