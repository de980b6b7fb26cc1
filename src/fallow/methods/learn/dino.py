"""DINO: a student learns, from other views, what its own slowly following teacher says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from fallow.encoders import Encoder
from fallow.encoders.attention import attention_pictures
from fallow.encoders.heads import dino_head
from fallow.losses.distillation import centred, self_distillation, silence
from fallow.methods.shared.selfdistilled import ADVICE, CentredSettings, hold_prototypes
from fallow.parts.teacher import Centre, follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train.schedules import cosine_momentum, ramp
from fallow.views import Recipe, dino


class DINO(Method):
    """Self-distillation without labels, centred and sharpened (Caron et al. 2021)."""

    family = "self-distillation"
    predicts = "the teacher's answer to one view, from every other view of the image"
    needs_transformer = True  # when no encoder is named; it learns residual networks as well

    Settings = CentredSettings

    presets: ClassVar = {
        "paper": {  # ViT-S/16
            "size": 224,
            "batch": 1024,
            "epochs": 800,
            "warmup": 10 / 800,
            "learning_rate": 5e-4,
            "final_rate": 5e-4,  # 1e-6 of 2e-3
            "prototypes": 65536,
            "hidden": 2048,
            "bottleneck": 256,
            "gain": True,
            "teacher_temperature": 0.07,
            "temperature_warmup": 30 / 800,
            "teacher_momentum": 0.996,
            "crops": 8,
            "boundary": 0.4,
        },
        "paper-resnet": {
            "size": 224,
            "batch": 512,
            "epochs": 100,
            "warmup": 10 / 100,
            "optimiser": "sgd",
            "learning_rate": 0.03,
            "final_rate": 1.7e-5,
            "weight_decay": 1e-4,
            "final_weight_decay": 1e-4,
            "prototypes": 65536,
            "hidden": 2048,
            "bottleneck": 256,
            "teacher_momentum": 0.996,
            "crops": 8,
            "boundary": 0.14,
        },
    }

    def recipe(self) -> Recipe:
        s = self.settings
        return dino(s.size, s.crops, s.boundary, getattr(self.encoder.network, "patch", 1))

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.head = dino_head(encoder.dimension, s.prototypes, s.hidden, s.bottleneck, gain=s.gain)
        self.teacher = twin(nn.Sequential(encoder, self.head))
        self.centre = Centre(s.prototypes, s.centre_momentum)

    def loss(self, batch: Batch, now: Now) -> Loss:
        s, size = self.settings, len(batch)
        features = torch.cat([self.encoder(group) for group in batch.groups])  # V*B D
        student = self.head(features).split(size)  # V x (B K)
        with torch.no_grad():  # the teacher sees no local views
            scores = self.teacher(batch.groups[0][: 2 * size])  # 2B K
        softness = ramp(
            now.progress, s.first_temperature, s.teacher_temperature, s.temperature_warmup
        )
        answers = centred(scores, self.centre.value, softness)
        self.centre.see(scores)
        total = self_distillation(student, answers.split(size), s.temperature)
        uniform, silent = math.log(s.prototypes), silence(answers)
        return Loss(
            total,
            parts={
                "teacher_entropy": silent,
                "centre": self.centre.value.norm(),
            },
            embedding=features[:size],
            trivial=uniform,
            advice=ADVICE if silent > 0.95 and now.progress > 0.25 else None,
        )

    def before_step(self, now: Now) -> None:
        hold_prototypes(self, self.head[-1], self.settings, now)

    def after_step(self, now: Now) -> None:
        self.centre.move()
        momentum = cosine_momentum(now.progress, 1.0, self.settings.teacher_momentum)
        follow(self.teacher, nn.Sequential(self.encoder, self.head), momentum)

    def pictures(self, images: Sequence[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
        return attention_pictures(self.encoder, images)
