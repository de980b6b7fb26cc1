"""SwAV: predict one view's balanced cluster code from every other view of the image."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.heads import swav_head
from fallow.losses.prototypes import sinkhorn, swapped_prediction
from fallow.parts.memory import FrontQueue, whole_batches
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.views import Recipe, swav


class SwAV(Method):
    """Swap cluster codes between the views of an image (Caron et al. 2020)."""

    family = "clustering"
    predicts = "the balanced cluster code of one view, from another view of the image"

    class Settings(BaseSettings):
        prototypes: int = Field(100, gt=1, description="codes; about 3x the expected classes")
        hidden: int = Field(512, gt=0, description="width of the projection head")
        projection: int = Field(128, gt=0, description="dimension the prototypes live in")
        temperature: float = Field(0.1, gt=0)
        epsilon: float = Field(0.03, gt=0, description="softness of the codes; 0.05 in the paper")
        iterations: int = Field(3, ge=0, description="Sinkhorn rounds")
        freeze_epochs: float = Field(1.0, ge=0, description="epochs with fixed prototypes")
        queue: int = Field(0, ge=0, description="past images that share in the codes")
        queue_from_epoch: int = Field(15, ge=0)
        crops: int = Field(4, ge=0, description="small local views beside the two global ones")
        optimiser: Optimiser = Field(
            "sgd", description="larc in the paper, whose steps are too small for short runs"
        )
        learning_rate: float = Field(0.4, gt=0, description="at batch 256")
        final_rate: float = 0.001
        weight_decay: float = 1e-6

    presets: ClassVar = {
        "paper": {
            "optimiser": "larc",
            "size": 224,
            "batch": 4096,
            "epochs": 800,
            "warmup": 10 / 800,
            "start_rate": 0.3 / 4.8,
            "learning_rate": 0.3,  # 4.8 at 4096
            "prototypes": 3000,
            "hidden": 2048,
            "epsilon": 0.05,
            "crops": 6,
        },
        "paper-small-batch": {
            "optimiser": "larc",
            "size": 224,
            "batch": 256,
            "epochs": 400,
            "warmup": 0.0,
            "learning_rate": 0.6,
            "prototypes": 3000,
            "hidden": 2048,
            "epsilon": 0.05,
            "queue": 3840,
            "queue_from_epoch": 15,
            "crops": 6,
        },
    }

    def recipe(self) -> Recipe:
        published = swav(self.settings.size)
        large, small = published.views
        if not self.settings.crops:
            return replace(published, views=(large,))
        return replace(published, views=(large, replace(small, count=self.settings.crops)))

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.head = swav_head(encoder.dimension, hidden=s.hidden, output=s.projection)
        self.prototypes = torch.nn.Linear(s.projection, s.prototypes, bias=False)
        length = whole_batches(s.queue, s.batch)
        self.queue = FrontQueue(length, s.projection, crops=2) if length else None

    def loss(self, batch: Batch, now: Now) -> Loss:
        with torch.no_grad():  # so that the scores below are cosines
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight))
        features = torch.cat([self.encoder(group) for group in batch.groups])  # V*B F
        projected = self.head(features)
        with torch.autocast(features.device.type, enabled=False):
            unit = F.normalize(projected.float())  # V*B D
            scores = self.prototypes(unit)  # V*B K
        size = len(batch)
        views, units = scores.split(size), unit.split(size)
        codes = self.codes(views[:2])
        if self.queue is not None and now.epoch >= self.settings.queue_from_epoch:
            self.queue.enqueue(torch.stack(units[:2]))  # after use: no row meets itself
        total = swapped_prediction(views, dict(enumerate(codes)), self.settings.temperature)
        used = torch.cat(codes).argmax(1).unique().numel() / self.settings.prototypes
        return Loss(
            total,
            parts={"used_prototypes": used},
            embedding=features[:size],
            trivial=math.log(self.settings.prototypes),
        )

    @torch.no_grad()
    def codes(self, scores: tuple[Tensor, ...]) -> list[Tensor]:
        """Balanced codes of the global views, with the queue's help once it is full."""
        past: list[Tensor] = [score[:0] for score in scores]
        if self.queue is not None and self.queue.full:
            past = [self.prototypes(rows) for rows in self.queue.share()]
        s = self.settings
        return [
            sinkhorn(torch.cat(pair), s.epsilon, s.iterations)[len(pair[0]) :]
            for pair in zip(past, scores, strict=True)
        ]

    def before_step(self, now: Now) -> None:
        if now.step < self.settings.freeze_epochs * now.steps_per_epoch:
            self.prototypes.weight.grad = None  # neither momentum nor decay may move them
