"""Pseudo-Label: the classifier's own sure answers on the target, trusted more and more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from fallow.losses.pseudo import guessed_cross_entropy, sure_classes
from fallow.methods.adapt.erm import ERM
from fallow.methods.shared.adapting import Adapter, SelfTrainingSettings, risen, told
from fallow.train import Batch, Loss, Now


class PseudoLabel(Adapter):
    """Pseudo-Label (Lee 2013), as WILDS 2.0 has it: labels of strong views, from themselves."""

    predicts = "the label, and on unlabelled images the classifier's own sure answer"

    class Settings(SelfTrainingSettings):
        threshold: float = Field(0.7, ge=0, le=1, description="probability of a sure answer")
        full: float = Field(
            0.4, gt=0, le=1, description="share of the budget after which `weight` is reached"
        )

    presets: ClassVar = {
        "paper": ERM.presets["paper"] | {"final_rate": 0.0},
        "paper-iwildcam": ERM.presets["paper-iwildcam"] | {"final_rate": 0.0},
    }

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        s = self.settings
        ours, theirs = self.features(batch)
        known = told(self.layers(ours), batch["source"].labels)
        logits = self.layers(theirs)
        guess = sure_classes(logits, s.threshold)
        own = guessed_cross_entropy(logits, guess)
        weight = s.weight * risen(now.progress, 0.0, s.full)
        parts = {"labels": known.detach(), "own": own.detach(), "kept": guess.share}
        return Loss(known + weight * own, parts, embedding=ours)
