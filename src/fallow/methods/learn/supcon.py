"""SupCon: all views of all images of a class attract, everything else repels."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field

from fallow.encoders import Encoder
from fallow.encoders.heads import moco_head
from fallow.losses.contrastive import supcon
from fallow.problems import Problem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.views import Recipe, moco


class SupCon(Method):
    """Contrast by labels (Khosla et al. 2020); an image without one is a class of its own."""

    family = "contrastive"
    learns_labels = True
    predicts = "which images of the batch share the label, from a view of one of them"

    class Settings(BaseSettings):
        temperature: float = Field(0.1, gt=0, description="lower looks harder at the nearest")
        projection: int = Field(128, gt=0, description="dimension the loss works in")

    presets: ClassVar = {
        # the authors' CIFAR-10 settings
        "paper": {
            "size": 32,
            "batch": 1024,
            "epochs": 1000,
            "warmup": 0.01,
            "learning_rate": 0.125,  # 0.5 at 1024
            "weight_decay": 1e-4,
        },
    }

    def recipe(self) -> Recipe:
        published = moco(self.settings.size)
        return replace(published, views=(replace(published.views[0], area=(0.2, 1.0)),))

    def build(self, encoder: Encoder) -> None:
        if self.facts.classes < 2:
            raise Problem(
                f"supcon learns from labels of at least two classes and these images have "
                f"{self.facts.classes or 'none'}: give them with labels, or choose simclr"
            )
        self.head = moco_head(encoder.dimension, self.settings.projection)

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.groups[0])  # 2B F
        # -1 says unknown; every such image gets a negative number of its own
        names = torch.where(batch.labels < 0, -1 - batch.index, batch.labels)
        total = supcon(self.head(features), names.repeat(2), self.settings.temperature)
        return Loss(total, embedding=features)
