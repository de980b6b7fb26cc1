"""MAE: rebuild the pixels of hidden patches from the quarter of the image that is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fallow.encoders import Encoder
from fallow.encoders.predictor import PatchPredictor
from fallow.encoders.vit import patchify, read_mean_patch, transformer_of, unpatchify
from fallow.losses.masked import masked_square, patch_statistics, standardise
from fallow.parts.masking import Split, as_mask, kept, split_by, take
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.views import Recipe, crop


class MAE(Method):
    """Encode a few patches and rebuild all others with a small decoder (He et al. 2022)."""

    family = "generative"
    predicts = "the pixels of hidden patches, from the few visible patches"
    needs_transformer = True

    class Settings(BaseSettings):
        masked: float = Field(0.75, gt=0, lt=1, description="share of the patches that is hidden")
        standardise: bool = Field(
            True, description="predict pixels with their patch's own mean and deviation removed"
        )
        smallest_crop: float = Field(0.2, gt=0, le=1, description="share of the image in a view")
        decoder_width: int = Field(64, gt=0, description="a multiple of 4; 512 in the paper")
        decoder_depth: int = Field(2, ge=0, description="blocks of the decoder; 8 in the paper")
        decoder_heads: int = Field(4, gt=0, description="16 in the paper")
        optimiser: Optimiser = "adamw"
        learning_rate: float = Field(1e-3, gt=0, description="at batch 256; 1.5e-4 in the paper")
        second_momentum: float = 0.95
        weight_decay: float = 0.05

    presets: ClassVar = {
        # ViT-L/16 on ImageNet
        "paper": {
            "size": 224,
            "batch": 4096,
            "epochs": 800,
            "warmup": 40 / 800,
            "learning_rate": 1.5e-4,
            "decoder_width": 512,
            "decoder_depth": 8,
            "decoder_heads": 16,
        },
    }

    def recipe(self) -> Recipe:
        return crop(self.settings.size, self.settings.smallest_crop)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        network = read_mean_patch(encoder)
        self.patch, self.grid = network.patch, network.grid(s.size, s.size)
        self.decoder = PatchPredictor(
            encoder.dimension,
            3 * self.patch**2,
            self.grid,
            width=s.decoder_width,
            depth=s.decoder_depth,
            heads=s.decoder_heads,
        )

    def loss(self, batch: Batch, now: Now) -> Loss:
        images = batch.views[0]
        noise = torch.rand(len(images), self.grid[0] * self.grid[1], device=images.device)
        prediction, tokens, split = self.predict(images, noise)
        target = take(patchify(images, self.patch), split.hide)  # B M P
        if self.settings.standardise:
            target = standardise(target)
        everywhere = torch.ones_like(split.hide)
        return Loss(
            masked_square(prediction, target, everywhere),
            embedding=tokens[:, -split.keep.shape[1] :].mean(1),
            trivial=float(target.square().mean()),  # what saying 0 everywhere costs
        )

    def predict(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Split]:
        """What the decoder says of hidden patches, the tokens it had, and which were hidden."""
        split = split_by(noise, kept(noise.shape[1], self.settings.masked))
        tokens = transformer_of(self.encoder).forward_tokens(images, keep=split.keep)
        return self.decoder(tokens, split.keep, split.hide), tokens, split

    @torch.no_grad()
    def pictures(self, images: Sequence[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
        """Original, visible patches, and the hidden ones as predicted."""
        x = self.encoder.prepare(images)
        fixed = torch.Generator().manual_seed(0)  # the same patches in every report
        noise = torch.rand(len(x), self.grid[0] * self.grid[1], generator=fixed).to(x.device)
        prediction, _, split = self.predict(x, noise)
        patches = patchify(x, self.patch)  # B L P
        if self.settings.standardise:  # back with the patch's own statistics, else it is noise
            mean, deviation = patch_statistics(take(patches, split.hide))
            prediction = prediction * deviation + mean
        hidden = as_mask(split.hide, patches.shape[1])[..., None]
        index = split.hide[..., None].expand_as(prediction)
        rebuilt = patches.scatter(1, index, prediction.to(patches.dtype))
        show = self.encoder.preprocessing.show
        seen, rebuilt = (
            unpatchify(made, self.grid, self.patch)
            for made in (patches.masked_fill(hidden, 0.0), rebuilt)
        )
        rows = zip(show(x), show(seen), show(rebuilt), strict=True)
        return {"Original, what the encoder saw, rebuilt": [list(row) for row in rows]}
