"""Supervised: name the label of one view; what every mechanism without labels is measured by."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch import nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.heads import mlp
from fallow.problems import Problem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.views import Recipe, crop


class Supervised(Method):
    """Cross-entropy on labels behind a hidden layer that is thrown away (Wang et al. 2022).

    The hidden layer takes up what only these classes need, so the encoder below it serves other
    images better. Images without a label teach nothing and are passed over.
    """

    family = "labels"
    predicts = "the label of an image, from one view of it"

    class Settings(BaseSettings):
        hidden: int = Field(1024, gt=0, description="width of the layer before the classes")
        smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label given to all")
        smallest: float = Field(0.25, gt=0, le=1, description="least share of the image in a crop")
        learning_rate: float = Field(0.1, gt=0, description="at batch 256; scales with the batch")

    presets: ClassVar = {
        # what ResNets on ImageNet are usually given
        "paper": {
            "size": 224,
            "epochs": 100,
            "smallest": 0.08,
            "weight_decay": 1e-4,
            "hidden": 2048,
        },
    }

    def recipe(self) -> Recipe:
        published = crop(self.settings.size, self.settings.smallest)
        mild = replace(published.views[0], jitter=(0.2, 0.2, 0.2, 0.05), gray=0.1)
        return replace(published, views=(mild,))

    def build(self, encoder: Encoder) -> None:
        classes = self.facts.classes
        if classes < 2:
            raise Problem(
                f"supervised learns from labels of at least two classes and these images have "
                f"{classes or 'none'}: give them with labels, or choose simclr"
            )
        hidden = self.settings.hidden
        self.projector = nn.Sequential(
            mlp([encoder.dimension, hidden], last_norm="batch", bias=False), nn.ReLU(inplace=True)
        )
        self.classes = nn.Linear(hidden, classes)

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.groups[0])  # B D
        scores = self.classes(self.projector(features)).float()  # B C
        known = batch.labels >= 0
        terms = F.cross_entropy(
            scores,
            batch.labels.clamp(min=0),
            reduction="none",
            label_smoothing=self.settings.smoothing,
        )
        count = known.sum().clamp(min=1)
        right = ((scores.argmax(1) == batch.labels) & known).sum() / count
        return Loss((terms * known).sum() / count, {"accuracy": right}, embedding=features)
