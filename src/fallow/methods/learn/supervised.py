"""Supervised: labels teach an encoder and a head, as a baseline and for verbs that need both."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from torch import nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.classifier import Classifier, class_layers, save_classifier
from fallow.problems import Problem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.views import Recipe
from fallow.views.recipe import crop


class Supervised(Method):
    """Cross-entropy on labels; the run keeps a classifier, not only its encoder."""

    family = "supervised"
    learns_labels = True
    predicts = "the label, from a crop of the image"

    class Settings(BaseSettings):
        smallest: float = Field(0.5, gt=0, le=1, description="share of the image a crop keeps")
        flip: float = Field(0.5, ge=0, le=1, description="chance of a mirror image; 0 for text")
        smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label given to all")
        width: int | None = Field(
            None, gt=0, description="of the embedding; none: 256, or the encoder's if smaller"
        )

    def recipe(self) -> Recipe:
        return crop(self.settings.size, self.settings.smallest, self.settings.flip)

    def build(self, encoder: Encoder) -> None:
        names = self.facts.names
        if len(names) < 2:
            raise Problem(
                f"supervised learns from labels of at least two classes and these images have "
                f"{len(names) or 'none'}: give them with labels"
            )
        self.layers: nn.Sequential = class_layers(
            encoder.dimension, len(names), self.settings.width
        )

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.views[0])
        scores = self.layers(features).float()
        known = batch.labels >= 0
        count = known.sum().clamp(min=1)
        total = F.cross_entropy(
            scores,
            batch.labels,
            ignore_index=-1,
            label_smoothing=self.settings.smoothing,
            reduction="sum",
        )
        right = ((scores.argmax(1) == batch.labels) & known).sum()
        return Loss(total / count, parts={"right": right / count}, embedding=features)

    @property
    def classifier(self) -> Classifier:
        """The encoder and the head, in use together."""
        return Classifier(self.encoder, self.layers, self.facts.names)

    def save(self, folder: Path) -> None:
        save_classifier(self.classifier, folder)
