"""UNPG: a margin softmax in which all negative pairs of the batch take part (Jung et al. 2022)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.losses.margin import (
    additive_margin,
    angular_margin,
    cosines,
    longer_is_harder,
    unified,
)
from fallow.losses.negative_pairs import negative_mass
from fallow.problems import Problem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.views import Recipe
from fallow.views.recipe import crop


class UNPG(Method):
    """Tell identities apart, also those never seen, where hardly any mistake is allowed.

    Every image must be nearer to its class than any two images of different classes of the batch
    are to each other. Pairs that are much more, or less, alike than most are left out: the
    former are often one identity under two names.
    """

    family = "supervised"
    learns_labels = True
    predicts = (
        "the label from an image, against all others and all pairs of images that differ in it"
    )

    class Settings(BaseSettings):
        margin: Literal["arcface", "cosface", "magface"] = Field(
            "arcface", description="added to the angle, taken from the cosine, or by length"
        )
        width: float = Field(0.5, ge=0, description="of the margin; magface has its own")
        scale: float = Field(32.0, gt=0, description="of the cosines; 64 in the paper")
        pairs: Literal["filtered", "all", "none"] = Field(
            "filtered", description="negative pairs that take part; none: the margin softmax alone"
        )
        whiskers: float = Field(
            1.5, ge=0, description="interquartile ranges beyond which a pair is left out"
        )
        length: float = Field(35.0, ge=0, description="weight of magface's term on lengths")
        projection: int = Field(512, gt=0, description="dimension identities are told apart in")
        smallest: float = Field(1.0, gt=0, le=1, description="share of the image a crop keeps")
        flip: float = Field(0.5, ge=0, le=1, description="chance of a mirror image; 0 for text")

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # MS1MV2: 85,000 identities, ResNet-100 at 112 pixels
        "paper": {
            "size": 112,
            "batch": 512,
            "epochs": 20,
            "learning_rate": 0.05,  # 0.1 at 512
            "warmup": 0.15,
            "scale": 64.0,
        },
    }

    def recipe(self) -> Recipe:
        return crop(self.settings.size, self.settings.smallest, self.settings.flip)

    def build(self, encoder: Encoder) -> None:
        if self.facts.classes < 2:
            raise Problem(
                f"unpg learns from labels of at least two classes and these images have "
                f"{self.facts.classes or 'none'}: give them with labels, or choose simclr"
            )
        # without the last scaling of a norm, lengths are free to say how clear an image is
        self.head = nn.Sequential(
            nn.Linear(encoder.dimension, self.settings.projection, bias=False),
            nn.BatchNorm1d(self.settings.projection),
        )
        centres = torch.empty(self.facts.classes, self.settings.projection)
        self.centres = nn.Parameter(nn.init.xavier_normal_(centres))

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.views[0])
        embedded, known = self.head(features), batch.labels >= 0
        own, labels = embedded[known], batch.labels[known]
        cosine = cosines(own, self.centres)
        margined, asked = self.margined(cosine, own, labels)
        negatives, kept = self.negatives(embedded, batch.labels)
        total = unified(margined, labels, negatives, self.settings.scale) + asked
        right = (cosine.argmax(1) == labels).float().mean().nan_to_num()
        return Loss(total, parts={"right": right, "kept pairs": kept}, embedding=features)

    def margined(self, cosine: Tensor, own: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines to the centres of classes after the margin (B C), and what lengths add."""
        s = self.settings
        if s.margin == "magface":
            moved, asked = longer_is_harder(cosine, labels, own.float().norm(dim=1))
            return moved, s.length * asked.nan_to_num()  # no image of this batch has a label
        move = angular_margin if s.margin == "arcface" else additive_margin
        return move(cosine, labels, s.width), cosine.new_zeros(())

    def negatives(self, embedded: Tensor, labels: Tensor) -> tuple[Tensor, float]:
        """What the negative pairs that take part weigh together, and their share of all."""
        s = self.settings
        if s.pairs == "none":
            return embedded.new_tensor(-torch.inf), 0.0
        reach = s.whiskers if s.pairs == "filtered" else None
        return negative_mass(embedded, labels, s.scale, reach)
