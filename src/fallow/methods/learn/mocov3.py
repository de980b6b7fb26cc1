"""MoCo v3: queries of one view find the momentum encoder's keys of the other, within the batch."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import nn

from fallow.encoders import Encoder
from fallow.encoders.heads import moco3_head, moco3_predictor
from fallow.encoders.vit import ViT
from fallow.losses.contrastive import symmetric_in_batch
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.train.schedules import cosine_momentum
from fallow.views import Recipe, byol


class MoCoV3(Method):
    """Contrast with a momentum encoder's keys, without a queue (Chen, Xie and He 2021)."""

    family = "contrastive"
    predicts = "which momentum key of the batch is the other view's, from one view of an image"
    needs_transformer = True  # when no encoder is named; it learns residual networks as well

    class Settings(BaseSettings):
        temperature: float = Field(0.2, gt=0, description="1.0 in the paper for ResNets")
        hidden: int = Field(512, gt=0, description="width of projector and predictor")
        projection: int = Field(128, gt=0, description="dimension the loss works in")
        teacher_momentum: float = Field(
            0.99, ge=0, le=1, description="share of itself the momentum encoder keeps; rises to 1"
        )
        optimiser: Optimiser = "adamw"
        learning_rate: float = 1e-3
        weight_decay: float = 0.1
        warmup: float = 0.1

    presets: ClassVar = {
        "paper": {  # ViT-S/16 and ViT-B/16
            "size": 224,
            "batch": 4096,
            "epochs": 300,
            "warmup": 40 / 300,
            "learning_rate": 1.5e-4,
            "hidden": 4096,
            "projection": 256,
        },
        "paper-resnet": {
            "size": 224,
            "batch": 4096,
            "epochs": 1000,
            "warmup": 10 / 1000,
            "optimiser": "lars-mocov3",
            "learning_rate": 0.3,
            "weight_decay": 1.5e-6,
            "temperature": 1.0,
            "hidden": 4096,
            "projection": 256,
            "teacher_momentum": 0.996,
        },
    }

    def recipe(self) -> Recipe:
        return byol(self.settings.size)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        network, width = encoder.network, s.projection
        transformer = isinstance(network, ViT)
        self.head = moco3_head(encoder.dimension, s.hidden, width, layers=3 if transformer else 2)
        self.predictor = moco3_predictor(width, s.hidden, "batch-plain" if transformer else None)
        if isinstance(network, ViT):
            # random patches stay random: learning them is where the training breaks down
            network.patch_embed.requires_grad_(False)
        self.teacher = twin(nn.Sequential(encoder, self.head))

    def loss(self, batch: Batch, now: Now) -> Loss:
        one, two = batch.views
        # view by view, so that batch norm sees one kind of view at a time
        first, second = self.encoder(one), self.encoder(two)
        total = symmetric_in_batch(
            self.predictor(self.head(first)),
            self.predictor(self.head(second)),
            self.teacher(one),
            self.teacher(two),
            self.settings.temperature,
        )
        return Loss(total, embedding=first)

    def after_step(self, now: Now) -> None:
        momentum = cosine_momentum(now.progress, 1.0, self.settings.teacher_momentum)
        follow(self.teacher, nn.Sequential(self.encoder, self.head), momentum)
