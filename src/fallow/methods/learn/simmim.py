"""SimMIM: hide squares of an image from the whole encoder and predict their pixels linearly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.vit import patchify, read_mean_patch, transformer_of, unpatchify
from fallow.losses.masked import masked_absolute
from fallow.parts.masking import hidden_squares, squares
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.views import Recipe, crop


class SimMIM(Method):
    """Put a token in hidden places and read the pixels off its outputs (Xie et al. 2022)."""

    family = "generative"
    predicts = "the pixels of hidden squares, from the image with a token in their place"
    needs_transformer = True

    class Settings(BaseSettings):
        masked: float = Field(0.6, gt=0, lt=1, description="share of the squares that is hidden")
        square: int = Field(2, ge=1, description="side of a hidden square, in patches")
        smallest_crop: float = Field(0.67, gt=0, le=1, description="share of the image in a view")
        optimiser: Optimiser = "adamw"
        learning_rate: float = Field(1e-3, gt=0, description="at batch 256; 1e-4 in the paper")
        weight_decay: float = 0.05

    presets: ClassVar = {
        # ViT-B/16 on ImageNet; the authors' rate falls once, at 7/8, where this one is a cosine
        "paper": {
            "size": 224,
            "batch": 2048,
            "epochs": 800,
            "warmup": 10 / 800,
            "learning_rate": 1e-4,
        },
    }

    def recipe(self) -> Recipe:
        return crop(self.settings.size, self.settings.smallest_crop)

    def build(self, encoder: Encoder) -> None:
        network = read_mean_patch(encoder)
        self.patch = network.patch
        self.grid = network.grid(self.settings.size, self.settings.size)
        self.mask_token = nn.Parameter(torch.zeros(encoder.dimension))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.head = nn.Linear(encoder.dimension, 3 * self.patch**2)

    def loss(self, batch: Batch, now: Now) -> Loss:
        images = batch.views[0]
        count, _ = self.squares
        mask = self.mask(torch.rand(len(images), count, device=images.device).argsort(1))
        rebuilt, tokens = self.predict(images, mask)
        maps = mask.unflatten(1, self.grid)
        with torch.no_grad():  # what an image of the mean colour costs
            trivial = masked_absolute(torch.zeros_like(images), images, maps)
        return Loss(
            masked_absolute(rebuilt, images, maps),
            embedding=tokens.mean(1),
            trivial=float(trivial),
        )

    @property
    def squares(self) -> tuple[int, int]:
        """How many squares there are, and how many are hidden."""
        return hidden_squares(self.grid, self.settings.square, self.settings.masked)

    def mask(self, order: Tensor) -> Tensor:
        """Which patches are hidden, with squares in the order given."""  # B L
        return squares(order, self.squares[1], self.grid, self.settings.square)

    def predict(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The image as predicted from what the mask leaves, and the patch tokens."""
        network = transformer_of(self.encoder)
        tokens = network.forward_tokens(images, mask=mask, mask_token=self.mask_token)
        tokens = tokens[:, network.prefix :]
        return unpatchify(self.head(tokens), self.grid, self.patch), tokens

    @torch.no_grad()
    def pictures(self, images: Sequence[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
        """Original, what is left of it, and the hidden squares as predicted."""
        x = self.encoder.prepare(images)
        fixed = torch.Generator().manual_seed(0)  # the same squares in every report
        order = torch.rand(len(x), self.squares[0], generator=fixed).argsort(1).to(x.device)
        mask = self.mask(order)
        rebuilt, _ = self.predict(x, mask)
        patches, predicted = patchify(x, self.patch), patchify(rebuilt.to(x.dtype), self.patch)
        seen = unpatchify(patches.masked_fill(mask[..., None], 0.0), self.grid, self.patch)
        mixed = unpatchify(torch.where(mask[..., None], predicted, patches), self.grid, self.patch)
        show = self.encoder.preprocessing.show
        rows = zip(show(x), show(seen), show(mixed), strict=True)
        return {"Original, what the encoder saw, rebuilt": [list(row) for row in rows]}
