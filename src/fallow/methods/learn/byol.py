"""BYOL: predict what a slowly following target network says of the other view, no negatives."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from fallow.encoders import Encoder
from fallow.encoders.heads import byol_head, byol_predictor
from fallow.losses.contrastive import byol
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.schedules import cosine_momentum
from fallow.views import Recipe
from fallow.views import byol as byol_views


class BYOL(Method):
    """Bootstrap an encoder from its own moving average (Grill et al. 2020)."""

    family = "self-distillation"
    predicts = "what a slow twin says of one view, from the other view of the image"

    class Settings(BaseSettings):
        hidden: int = Field(1024, gt=0, description="width of projector and predictor")
        projection: int = Field(256, gt=0, description="dimension the loss works in")
        target_momentum: float = Field(
            0.99,
            ge=0,
            le=1,
            description="what the target keeps of itself in the first step; ends 1",
        )

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "batch": 4096,
            "epochs": 1000,
            "warmup": 0.01,
            "optimiser": "lars",
            "learning_rate": 0.2,  # 3.2 at 4096
            "weight_decay": 1.5e-6,
            "hidden": 4096,
            "target_momentum": 0.996,
        },
    }

    def recipe(self) -> Recipe:
        return byol_views(self.settings.size)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.projector = byol_head(encoder.dimension, s.hidden, s.projection)
        self.predictor = byol_predictor(s.projection, s.hidden)
        self.target = twin(nn.Sequential(encoder, self.projector))

    def loss(self, batch: Batch, now: Now) -> Loss:
        # view by view: each has batch statistics of its own
        features = [self.encoder(view) for view in batch.views]  # B F each
        predictions = [self.predictor(self.projector(rows)) for rows in features]
        with torch.no_grad():
            targets = [self.target(view) for view in batch.views]
        total = byol(predictions[0], targets[1]) + byol(predictions[1], targets[0])
        return Loss(total, embedding=features[0])

    def after_step(self, now: Now) -> None:
        momentum = cosine_momentum(now.progress, 1.0, self.settings.target_momentum)
        follow(self.target, nn.ModuleList([self.encoder, self.projector]), momentum)
