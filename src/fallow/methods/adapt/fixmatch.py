"""FixMatch: sure answers to weak views are what strong views of the same images must give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field

from fallow.losses.pseudo import guessed_cross_entropy, sure_classes
from fallow.methods.adapt.erm import ERM
from fallow.methods.shared.adapting import (
    Adapter,
    SelfTrainingSettings,
    told,
    weak_and_strong,
)
from fallow.train import Batch, Loss, Now
from fallow.views import Recipe


class FixMatch(Adapter):
    """FixMatch (Sohn et al. 2020), as WILDS 2.0 has it."""

    predicts = "the label, and on strong views the sure answer to a weak view"

    class Settings(SelfTrainingSettings):
        threshold: float = Field(0.7, ge=0, le=1, description="probability of a sure answer")

    presets: ClassVar = {
        "paper": ERM.presets["paper"] | {"final_rate": 0.0},
        "paper-iwildcam": ERM.presets["paper-iwildcam"] | {"final_rate": 0.0},
    }

    def recipe(self) -> Mapping[str, Recipe]:
        s = self.settings
        return {"source": self.seen(), "target": weak_and_strong(s.size, s.smallest, s.flip)}

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        with torch.no_grad():  # in training mode, as published: statistics of norms see weak views
            guess = sure_classes(
                self.layers(self.encoder(batch["target"].views[0])), self.settings.threshold
            )
        ours, theirs = self.features(batch, view=1)
        known = told(self.layers(ours), batch["source"].labels)
        own = guessed_cross_entropy(self.layers(theirs), guess)
        parts = {"labels": known.detach(), "own": own.detach(), "kept": guess.share}
        return Loss(known + self.settings.weight * own, parts, embedding=ours)
