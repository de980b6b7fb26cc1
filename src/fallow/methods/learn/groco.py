"""GroCo: sort an image's similarities so that its own views come out above the nearest others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field

from fallow.encoders import Encoder
from fallow.encoders.heads import groco_head
from fallow.losses.sorting import ordering, similarity_groups
from fallow.train import Batch, ContrastiveSettings, Loss, Method, Now
from fallow.views import Recipe, groco


class GroCo(Method):
    """Learn by sorting with group ordering constraints (Shvetsova et al. 2023)."""

    family = "contrastive"
    predicts = "the order of similarities, own views above neighbours, from the views of a batch"

    class Settings(ContrastiveSettings):
        negatives: int = Field(
            10, ge=1, description="nearest other images to sort; at most the batch less one"
        )
        steepness: float = Field(1.0, gt=0, description="of the sorter; steeper is less soft")
        stop_gradient: bool = Field(
            True, description="an image's side of a comparison learns, the other side does not"
        )
        views: int = Field(2, ge=2, description="global views of an image; positives of each other")
        crops: int = Field(0, ge=0, description="small local views beside them; never positives")
        hidden: int = Field(512, gt=0, description="width of the projection head")
        projection: int = Field(256, gt=0, description="dimension the loss works in")
        # the slope of the sorter is gentle: a hundred times the rate of a softmax loss
        learning_rate: float = Field(6.0, gt=0, description="at batch 256; scales with the batch")
        weight_decay: float = Field(1e-5, ge=0, description="pull of all weights towards zero")

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "size": 224,
            "batch": 1024,
            "epochs": 100,
            "warmup": 1 / 100,
            "learning_rate": 6.0,  # 24 at 1024
            "weight_decay": 1e-6,
            "hidden": 2048,
            "projection": 2048,
        },
        "paper-multi-crop": {
            "size": 224,
            "batch": 1024,
            "epochs": 100,
            "warmup": 10 / 100,
            "learning_rate": 6.0,
            "weight_decay": 1e-6,
            "hidden": 2048,
            "projection": 2048,
            "crops": 6,
        },
    }

    def recipe(self) -> Recipe:
        s, published = self.settings, groco(self.settings.size)
        pair = published.views  # the first of the pair blurs, the second solarises, in turn
        seen = [pair[number % 2] for number in range(s.views)]
        if s.crops:
            small = s.size < 64
            area, side = ((0.05, 0.25), s.size // 2) if small else ((0.05, 0.14), s.size * 3 // 7)
            blur = 0.0 if small else 0.5
            local = replace(pair[0], size=side, area=area, blur=blur, role="local", count=s.crops)
            seen.append(local)
        return replace(published, views=tuple(seen))

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.head = groco_head(encoder.dimension, hidden=s.hidden, output=s.projection)
        self.negatives = max(1, min(s.negatives, s.batch // s.accumulate - 1))

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = torch.cat([self.encoder(group) for group in batch.groups])  # V*B F
        views = self.head(features).unflatten(0, (-1, len(batch)))  # V B D
        s = self.settings
        groups = [
            similarity_groups(views, anchor, self.negatives, s.views, stop_gradient=s.stop_gradient)
            for anchor in range(len(views))
        ]
        total = torch.stack([ordering(*pair, s.steepness) for pair in groups]).mean()
        negatives, positives = (values.detach() for values in groups[0])
        margin = positives[:, 0] - negatives[:, -1]  # weakest positive over strongest negative
        return Loss(
            total,
            # the loss hardly moves between collapse and perfection: the margin says how it goes
            parts={"margin": margin.mean(), "in_order": (margin > 0).float().mean()},
            embedding=features[: len(batch)],
        )
