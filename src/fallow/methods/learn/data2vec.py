"""data2vec: predict, at hidden patches, the averaged layers of a teacher that sees everything."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from fallow.encoders import Encoder
from fallow.encoders.vit import read_mean_patch, transformer_of
from fallow.losses.masked import average_layers, smooth_absolute
from fallow.parts.masking import blocks, numpy_generator, smallest_block
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.views import Recipe, crop


class Data2Vec(Method):
    """Regress what a slow teacher makes of the whole image (Baevski et al. 2022)."""

    family = "generative"
    predicts = "a teacher's features of hidden patches, from the image with a token in their place"
    needs_transformer = True

    class Settings(BaseSettings):
        masked: float = Field(
            120 / 196, gt=0, lt=1, description="share of the patches that blocks hide"
        )
        layers: float = Field(
            0.5, gt=0, le=1, description="share of the blocks, from the top, that makes the target"
        )
        beta: float = Field(2.0, gt=0, description="error from which the loss is linear")
        teacher_momentum: float = Field(
            0.99, ge=0, le=1, description="0.9998 in the paper, for runs of many steps"
        )
        smallest_crop: float = Field(0.2, gt=0, le=1, description="share of the image in a view")
        optimiser: Optimiser = "adamw"
        learning_rate: float = Field(5e-4, gt=0, description="at batch 256; 2.5e-4 in the paper")
        weight_decay: float = 0.05
        clip: float | None = 3.0

    presets: ClassVar = {
        # ViT-B/16 on ImageNet; with its drop path: encoder("vit-base/16", drop_path=0.25)
        "paper": {
            "size": 224,
            "batch": 2048,
            "epochs": 800,
            "warmup": 10 / 800,
            "learning_rate": 2.5e-4,  # 2e-3 at 2048
            "teacher_momentum": 0.9998,
        },
    }

    def recipe(self) -> Recipe:
        return crop(self.settings.size, self.settings.smallest_crop)

    def build(self, encoder: Encoder) -> None:
        network = read_mean_patch(encoder)
        self.grid = network.grid(self.settings.size, self.settings.size)
        top = max(1, round(self.settings.layers * len(network.blocks)))
        self.layers = range(-top, 0)
        self.mask_token = nn.Parameter(torch.zeros(encoder.dimension))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.head = nn.Linear(encoder.dimension, encoder.dimension)
        self.teacher = twin(network)

    def loss(self, batch: Batch, now: Now) -> Loss:
        images, network = batch.views[0], transformer_of(self.encoder)
        random, count = numpy_generator(), round(self.settings.masked * np.prod(self.grid))
        hidden = np.stack(
            [blocks(self.grid, count, random, smallest=smallest_block(self.grid)) for _ in images]
        )
        mask = torch.from_numpy(hidden).flatten(1).to(images.device)  # B L
        with torch.no_grad():
            layers = self.teacher.eval().block_outputs(images, self.layers)
            targets = average_layers([layer[:, network.prefix :] for layer in layers])  # B L D
        tokens = network.forward_tokens(images, mask=mask, mask_token=self.mask_token)
        tokens = tokens[:, network.prefix :]
        total = smooth_absolute(self.head(tokens[mask]), targets[mask], self.settings.beta)
        return Loss(total, embedding=targets.mean(1))

    def after_step(self, now: Now) -> None:
        follow(self.teacher, transformer_of(self.encoder), self.settings.teacher_momentum)
