"""A segmenter that learns masks somebody drew and masks something found, alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from fallow.encoders import Encoder
from fallow.encoders.segmenter import Segmenter
from fallow.losses.segmentation import masked_cross_entropy
from fallow.methods.shared.segment import SegmentMethod, SegmentSettings
from fallow.train.method import Batch, Loss, Now


class SelfTraining(SegmentMethod):
    """Cross-entropy on both streams; both have masks, those of `unlabelled` were found."""

    class Settings(SegmentSettings):
        """What the training can be told."""

        found: float = Field(1.0, ge=0, description="weight of masks found beside masks drawn")

    def build(self, encoder: Encoder) -> None:
        self.student = Segmenter(encoder, self.settings.classes)

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        drawn, found = batch["labelled"], batch["unlabelled"]
        logits = self.student(torch.cat([drawn.views[0], found.views[0]]))
        ours, theirs = logits.split([len(drawn.views[0]), len(found.views[0])])
        given = masked_cross_entropy(ours, drawn.masks[0], over="valid")
        own = masked_cross_entropy(theirs, found.masks[0], over="valid")
        total = given + self.settings.found * own
        return Loss(total, {"drawn": given.detach(), "found": own.detach()})

    def predictor(self) -> nn.Module:
        return self.student

    def opinions(self) -> list[nn.Module]:
        return [self.student]
