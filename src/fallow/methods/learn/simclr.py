"""SimCLR: two views of an image attract, all other views in the batch repel."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fallow.encoders import Encoder
from fallow.encoders.heads import simclr_head
from fallow.losses.contrastive import nt_xent
from fallow.train import Batch, ContrastiveSettings, Loss, Method, Now
from fallow.views import Recipe, simclr


class SimCLR(Method):
    """Contrast two views of each image with all others of the batch (Chen et al. 2020)."""

    family = "contrastive"
    predicts = "which view of the batch shows the same image, from the other view of it"

    class Settings(ContrastiveSettings):
        temperature: float = Field(0.2, gt=0, description="0.5 in the paper for small images")
        hidden: int = Field(512, gt=0, description="width of the projection head")
        projection: int = Field(128, gt=0, description="dimension the loss works in")

    presets: ClassVar = {
        # the authors' CIFAR-10 settings: LARS, square images of 32 px
        "paper": {
            "optimiser": "lars",
            "learning_rate": 1.0,
            "weight_decay": 1e-4,
            "temperature": 0.5,
            "batch": 512,
            "epochs": 1000,
            "warmup": 0.01,
            "hidden": 2048,
        },
    }

    def recipe(self) -> Recipe:
        return simclr(self.settings.size)

    def build(self, encoder: Encoder) -> None:
        self.head = simclr_head(
            encoder.dimension, hidden=self.settings.hidden, output=self.settings.projection
        )

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.groups[0])  # 2B D, first all first views, then all second
        one, two = self.head(features).chunk(2)
        total = nt_xent(one, two, self.settings.temperature)
        return Loss(total, embedding=features)
