"""iBOT: DINO on the class token, and the same on the patches that the student is not shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fallow.distributed import all_reduce_sum, world_size
from fallow.encoders import Encoder
from fallow.encoders.attention import attention_pictures
from fallow.encoders.heads import dino_head
from fallow.encoders.vit import transformer_of
from fallow.losses.distillation import centred, masked_distillation, self_distillation, silence
from fallow.methods.shared.selfdistilled import ADVICE, CentredSettings, hold_prototypes
from fallow.parts.masking import blocks, numpy_generator
from fallow.parts.teacher import Centre, follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train.schedules import cosine_momentum, ramp
from fallow.views import Recipe, dino


class IBOT(Method):
    """Self-distillation of images and of masked patches (Zhou et al. 2022)."""

    family = "hybrid"
    predicts = (
        "the teacher's answer to one view from the others, and to each patch from its surroundings"
    )
    needs_transformer = True

    class Settings(CentredSettings):
        mask_probability: float = Field(0.5, ge=0, le=1, description="views with hidden patches")
        mask_share: float = Field(0.3, ge=0, lt=1, description="their mean share of hidden patches")
        mask_spread: float = Field(0.2, ge=0, lt=1, description="how far from it the share varies")
        patch_weight: float = Field(1.0, ge=0, description="of the patches' loss beside the views'")
        patch_temperature: float = Field(
            0.04, gt=0, description="the teacher's for patches, from first_temperature too"
        )

    presets: ClassVar = {
        "paper": {  # ViT-S/16
            "size": 224,
            "batch": 1024,
            "epochs": 800,
            "warmup": 10 / 800,
            "learning_rate": 5e-4,
            "final_rate": 5e-4,  # 1e-6 of 2e-3
            "prototypes": 8192,
            "hidden": 2048,
            "bottleneck": 256,
            "gain": True,
            "teacher_temperature": 0.07,
            "patch_temperature": 0.07,
            "temperature_warmup": 30 / 800,
            "teacher_momentum": 0.996,
            "crops": 10,
        },
    }

    def recipe(self) -> Recipe:
        s = self.settings
        return dino(s.size, s.crops, s.boundary, transformer_of(self.encoder).patch)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        network = transformer_of(encoder)
        self.mask_token = nn.Parameter(torch.zeros(network.dimension))
        # one head for views and patches
        self.head = dino_head(encoder.dimension, s.prototypes, s.hidden, s.bottleneck, gain=s.gain)
        self.teacher, self.teacher_head = twin(network), twin(self.head)
        self.centre = Centre(s.prototypes, s.centre_momentum)
        self.patch_centre = Centre(s.prototypes, s.centre_momentum)

    def loss(self, batch: Batch, now: Now) -> Loss:
        s, size = self.settings, len(batch)
        network = transformer_of(self.encoder)
        large = batch.groups[0][: 2 * size]
        mask = self.masks(len(large), network.grid(*large.shape[2:])).to(large.device)  # 2B L
        tokens = network.forward_tokens(large, mask=mask, mask_token=self.mask_token)
        local = [network.forward_tokens(view)[:, 0] for view in batch.views[2:]]
        features = torch.cat([tokens[:, 0], *local])  # V*B D
        patches = tokens[:, network.prefix :]
        hidden = self.head(patches[mask])  # M K
        with torch.no_grad():  # the teacher sees all patches, and no local views
            whole = self.teacher.forward_tokens(large)
            scores = self.teacher_head(whole[:, 0])  # 2B K
            patch_scores = self.teacher_head(whole[:, network.prefix :])  # 2B L K
        softness = [
            ramp(now.progress, s.first_temperature, last, s.temperature_warmup)
            for last in (s.teacher_temperature, s.patch_temperature)
        ]
        answers = centred(scores, self.centre.value, softness[0])
        patch_answers = centred(patch_scores[mask], self.patch_centre.value, softness[1])
        self.centre.see(scores)
        self.patch_centre.see(patch_scores)
        views = self_distillation(
            self.head(features).split(size), answers.split(size), s.temperature
        )
        inside = masked_distillation(hidden, patch_answers, mask, s.temperature)
        uniform, silent = math.log(s.prototypes), silence(answers)
        # views without hidden patches add nothing, neither to the loss nor to its trivial value
        masked = float(all_reduce_sum(mask.any(1).float().mean()) / world_size())
        return Loss(
            views + s.patch_weight * inside,
            parts={
                "views": views.detach(),
                "patches": inside.detach(),
                "teacher_entropy": silent,
                "centre": self.centre.value.norm(),
            },
            embedding=features[:size],
            trivial=uniform * (1 + s.patch_weight * masked),
            advice=ADVICE if silent > 0.95 and now.progress > 0.25 else None,
        )

    def masks(self, count: int, grid: tuple[int, int]) -> Tensor:
        """Which patches of which view are hidden; none of about half the views."""  # count L
        s, random = self.settings, numpy_generator()
        masks = np.zeros((count, *grid), bool)
        for mask in masks:
            if random.random() < s.mask_probability:
                share = s.mask_share + s.mask_spread * random.uniform(-1, 1)
                smallest = (min(grid) // 3) ** 2
                mask[:] = blocks(grid, int(share * mask.size), random, smallest=smallest)
        return torch.from_numpy(masks).flatten(1)

    def before_step(self, now: Now) -> None:
        hold_prototypes(self, self.head[-1], self.settings, now)

    def after_step(self, now: Now) -> None:
        self.centre.move()
        self.patch_centre.move()
        momentum = cosine_momentum(now.progress, 1.0, self.settings.teacher_momentum)
        follow(self.teacher, transformer_of(self.encoder), momentum)
        follow(self.teacher_head, self.head, momentum)

    def pictures(self, images: Sequence[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
        return attention_pictures(self.encoder, images)
