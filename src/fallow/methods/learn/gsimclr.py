"""G-SimCLR: SimCLR on batches in which no two images are likely to show the same thing."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fallow.encoders import Encoder
from fallow.encoders.heads import mlp
from fallow.images import Pack
from fallow.losses.contrastive import nt_xent
from fallow.train import Batch, ContrastiveSettings, Loss, Method, Now
from fallow.views import Recipe, simclr


class GSimCLR(Method):
    """Keep likely false negatives out of each other's batch (Chakraborty et al. 2020)."""

    family = "contrastive"
    predicts = "which view shows the same image, from the other view, among unlike images"

    class Settings(ContrastiveSettings):
        compose: Literal["shuffled", "distinct"] = Field(
            "distinct", description="shuffled: the same network without the guidance"
        )
        noise: float = Field(
            0.1, ge=0, description="what the autoencoder must remove; 0.01 in the paper"
        )
        filters: int = Field(16, gt=0, description="of the autoencoder's first layer")
        rounds: int = Field(10, gt=0, description="most passes of the autoencoder")
        patience: int = Field(2, ge=0, description="passes it may get no better before it ends")
        detail: int = Field(
            32, ge=8, multiple_of=8, description="side in pixels of what the autoencoder sees"
        )
        temperature: float = Field(0.2, gt=0, description="0.1 in the paper")
        hidden: int = Field(256, gt=0, description="width of the projection head")
        middle: int = Field(128, gt=0, description="width of its second layer")
        projection: int = Field(
            64, gt=0, description="dimension the loss works in; 50 in the paper"
        )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # CIFAR-10; the authors restart the rate's cosine every 1000, 2000, ... steps
        "paper": {
            "size": 32,
            "batch": 64,
            "epochs": 15,
            "learning_rate": 0.4,  # 0.1 at 64
            "momentum": 0.0,
            "weight_decay": 0.0,
            "warmup": 0.0,
            "noise": 0.01,
            "filters": 32,
            "rounds": 100,
            "patience": 5,
            "temperature": 0.1,
            "projection": 50,
        },
    }

    def recipe(self) -> Recipe:
        return simclr(self.settings.size)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.head = mlp([encoder.dimension, s.hidden, s.middle, s.projection])

    def name_classes(self, pack: Pack, seed: int, **how: Any) -> np.ndarray:
        s = self.settings
        how |= {"side": s.detail, "width": s.filters, "noise": s.noise}
        return super().name_classes(pack, seed, epochs=s.rounds, patience=s.patience, **how)

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.groups[0])  # 2B D, first all first views, then all second
        one, two = self.head(features).chunk(2)
        return Loss(nt_xent(one, two, self.settings.temperature), embedding=features)
