"""MSN: views with missing patches share the images among prototypes as the whole view does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.attention import attention_pictures
from fallow.encoders.heads import msn_head
from fallow.encoders.vit import ViT, transformer_of
from fallow.losses.distillation import balanced, cross_entropy, neglect, silence
from fallow.losses.precision import at_least_float32
from fallow.methods.shared.selfdistilled import SelfDistilledSettings
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train.schedules import cosine_momentum
from fallow.views import Recipe, msn

ADVICE = "use fewer prototypes, lower sharpening, raise the batch, or raise learning_rate"


class MSN(Method):
    """Masked siamese networks (Assran et al. 2022): few labels are enough afterwards."""

    family = "clustering"
    predicts = "the balanced prototypes of a whole view, from a view with missing patches"
    needs_transformer = True

    class Settings(SelfDistilledSettings):
        prototypes: int = Field(128, gt=1, description="1024 in the paper for 1000 classes")
        projection: int = Field(128, gt=0, description="dimension the prototypes live in")
        dropped: float = Field(0.15, ge=0, lt=1, description="share of patches that are left out")
        sharpening: float = Field(0.25, gt=0, description="the teacher's temperature, relative")
        iterations: int = Field(3, ge=0, description="Sinkhorn rounds that balance the teacher")
        spread_weight: float = Field(1.0, ge=0, description="of using all prototypes equally")
        boundary: float = Field(
            0.3, gt=0.05, lt=1, description="share of the image that parts local from large views"
        )
        clip: float | None = 3.0

    presets: ClassVar = {
        "paper": {  # ViT-S/16
            "size": 224,
            "batch": 1024,
            "epochs": 800,
            "warmup": 15 / 800,
            "start_rate": 0.2,
            "learning_rate": 2.5e-4,  # 1e-3 at 1024
            "final_rate": 1e-3,
            "prototypes": 1024,
            "hidden": 2048,
            "projection": 256,
            "teacher_momentum": 0.996,
            "crops": 10,
        },
    }

    def recipe(self) -> Recipe:
        s = self.settings
        return msn(s.size, s.crops, s.boundary, transformer_of(self.encoder).patch)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        transformer_of(encoder)
        self.head = msn_head(encoder.dimension, s.hidden, s.projection)
        bound = s.projection**-0.5
        self.prototypes = nn.Parameter(
            torch.empty(s.prototypes, s.projection).uniform_(-bound, bound)
        )
        self.teacher = twin(nn.Sequential(encoder, self.head))

    def loss(self, batch: Batch, now: Now) -> Loss:
        s, size = self.settings, len(batch)
        network = transformer_of(self.encoder)
        whole, anchor, *focal = batch.views
        tokens = network.forward_tokens(anchor, keep=visible(anchor, network, s.dropped))
        seen = tokens[:, 0] if network.pool == "cls" else tokens[:, network.prefix :].mean(1)
        features = torch.cat([seen, *(self.encoder(view) for view in focal)])  # V*B D
        scores = self.scores(self.head(features))  # V*B K
        with torch.no_grad():
            target = self.scores(self.teacher(whole))  # B K
        shares = balanced(target, s.temperature * s.sharpening, s.iterations)
        agreement = cross_entropy(scores, shares.repeat(len(scores) // size, 1), s.temperature)
        unused = neglect(scores, s.temperature)
        uniform, silent = math.log(s.prototypes), silence(shares)
        return Loss(
            agreement.mean() + s.spread_weight * unused,
            parts={
                "agreement": agreement.mean().detach(),
                "neglect": unused.detach(),
                "teacher_entropy": silent,
            },
            embedding=seen,
            trivial=uniform,
            advice=ADVICE if silent > 0.95 and now.progress > 0.25 else None,
        )

    def scores(self, rows: Tensor) -> Tensor:
        """Cosines of rows and prototypes."""
        with torch.autocast(rows.device.type, enabled=False):
            unit = F.normalize(at_least_float32(rows), dim=1)
            return unit @ F.normalize(self.prototypes, dim=1).T

    def after_step(self, now: Now) -> None:
        momentum = cosine_momentum(now.progress, 1.0, self.settings.teacher_momentum)
        follow(self.teacher, nn.Sequential(self.encoder, self.head), momentum)

    def pictures(self, images: Sequence[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
        return attention_pictures(self.encoder, images)


def visible(images: Tensor, network: ViT, dropped: float) -> Tensor:
    """Random patches to look at, other ones in every image (the authors' code shares them).

    >>> from fallow.encoders.vit import vit
    >>> visible(torch.zeros(2, 3, 16, 16), vit("vit-nano", patch=4, size=16), 0.15).shape
    torch.Size([2, 13])
    """
    rows, columns = network.grid(*images.shape[2:])
    count = max(1, math.floor(rows * columns * (1 - dropped) + 1e-6))
    noise = torch.rand(len(images), rows * columns, device=images.device)
    return noise.argsort(1)[:, :count]
