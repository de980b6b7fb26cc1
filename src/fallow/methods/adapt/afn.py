"""AFN: features grow longer, step by step, in both places alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from fallow.losses.domains import longer
from fallow.methods.adapt.erm import ERM
from fallow.methods.shared.adapting import Adapter, AdaptSettings, told
from fallow.train import Batch, Loss, Now


class AFN(Adapter):
    """Stepwise adaptive feature norm (Xu et al. 2019), as WILDS 2.0 has it.

    Its weight does not carry over from one encoder to another: long features grow without end.
    """

    predicts = "the label, from features whose length grows in both places"

    class Settings(AdaptSettings):
        weight: float = Field(0.01, ge=0, description="of the growth, in each place")
        growth: float = Field(1.0, gt=0, description="by which a step wants features longer")

    presets: ClassVar = {
        "paper": ERM.presets["paper"] | {"weight": 0.01},
        "paper-iwildcam": ERM.presets["paper-iwildcam"] | {"weight": 0.01},
    }

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        s = self.settings
        ours, theirs = self.features(batch)
        known = told(self.layers(ours), batch["source"].labels)
        growth = longer(ours, s.growth) + longer(theirs, s.growth)
        # the growth's value is always the same: what it does shows in the lengths
        parts = {"labels": known.detach(), "length": theirs.detach().norm(dim=1).mean()}
        return Loss(known + s.weight * growth, parts, embedding=ours)
