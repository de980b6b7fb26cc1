"""I-JEPA: from one part of an image predict a teacher's features of several other parts."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from fallow.encoders import Encoder
from fallow.encoders.predictor import PatchPredictor
from fallow.encoders.vit import read_mean_patch, transformer_of
from fallow.losses.masked import plain_norm, smooth_absolute
from fallow.parts.masking import (
    multi_block,
    multi_block_as_published,
    numpy_generator,
    repeat_batches,
    take_blocks,
)
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.train.schedules import ramp
from fallow.views import Recipe, crop

BLOCKS = {"corrected": multi_block, "published": multi_block_as_published}


class IJEPA(Method):
    """Predict features of blocks from a context without them, no pixels (Assran et al. 2023)."""

    family = "predictive"
    predicts = "a teacher's features of several blocks, from the patches of a context block"
    needs_transformer = True

    class Settings(BaseSettings):
        targets: int = Field(4, ge=1, description="blocks to predict in each image")
        contexts: int = Field(1, ge=1, description="context blocks; each predicts every target")
        target_scale: tuple[float, float] = Field(
            (0.15, 0.2), description="share of the image that a target block covers"
        )
        target_aspect: tuple[float, float] = Field((0.75, 1.5), description="height : width")
        context_scale: tuple[float, float] = Field(
            (0.85, 1.0), description="the same of the context, before targets are taken out"
        )
        least_context: int = Field(4, ge=1, description="patches a context should keep")
        blocks: Literal["corrected", "published"] = Field(
            "corrected", description="published: as the authors' code draws them, faults included"
        )
        predictor_width: int = Field(64, gt=0, description="a multiple of 4; 384 in the paper")
        predictor_depth: int = Field(3, ge=1, description="12 in the paper")
        predictor_heads: int = Field(4, gt=0, description="12 in the paper")
        teacher_momentum: float = Field(
            0.99, ge=0, le=1, description="rises to 1 in a line; 0.996 in the paper"
        )
        smallest_crop: float = Field(0.3, gt=0, le=1, description="share of the image in a view")
        optimiser: Optimiser = "adamw"
        learning_rate: float = Field(1e-3, gt=0, description="at batch 256; 1.25e-4 in the paper")
        final_rate: float = 1e-3
        weight_decay: float = 0.04
        final_weight_decay: float | None = 0.4

    presets: ClassVar = {
        # ViT-H/14 on ImageNet
        "paper": {
            "size": 224,
            "batch": 2048,
            "epochs": 300,
            "warmup": 40 / 300,
            "learning_rate": 1.25e-4,  # 1e-3 at 2048
            "predictor_width": 384,
            "predictor_depth": 12,
            "predictor_heads": 12,
            "teacher_momentum": 0.996,
            "least_context": 10,
            "blocks": "published",
        },
    }

    def recipe(self) -> Recipe:
        return crop(self.settings.size, self.settings.smallest_crop, flip=0.0)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        network = read_mean_patch(encoder)
        self.grid = network.grid(s.size, s.size)
        self.predictor = PatchPredictor(
            encoder.dimension,
            encoder.dimension,
            self.grid,
            width=s.predictor_width,
            depth=s.predictor_depth,
            heads=s.predictor_heads,
        )
        self.teacher = twin(network)

    def loss(self, batch: Batch, now: Now) -> Loss:
        s, images, network = self.settings, batch.views[0], transformer_of(self.encoder)
        drawn = BLOCKS[s.blocks](
            self.grid,
            len(images),
            numpy_generator(),
            targets=s.targets,
            contexts=s.contexts,
            target_scale=s.target_scale,
            target_aspect=s.target_aspect,
            context_scale=s.context_scale,
            least=s.least_context,
        )
        context, targets = (blocks.to(images.device) for blocks in drawn)  # C B K, M B P
        with torch.no_grad():
            whole = plain_norm(self.teacher.forward_tokens(images)[:, network.prefix :])  # B L D
            features = take_blocks(whole, targets)  # M*B P D
        where = context.flatten(0, 1)  # C*B K
        seen = network.forward_tokens(images.repeat(s.contexts, 1, 1, 1), keep=where)
        # every context meets every target: M x C x B rows
        features, wanted = (
            repeat_batches(rows, len(images), s.contexts)
            for rows in (features, targets.flatten(0, 1))
        )
        prediction = self.predictor(
            seen.repeat(s.targets, 1, 1), where.repeat(s.targets, 1), wanted
        )
        return Loss(smooth_absolute(prediction, features), embedding=whole.mean(1))

    def after_step(self, now: Now) -> None:
        momentum = ramp(now.progress, self.settings.teacher_momentum, 1.0, 1.0)
        follow(self.teacher, transformer_of(self.encoder), momentum)
