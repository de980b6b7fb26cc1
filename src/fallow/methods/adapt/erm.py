"""ERM: learn from the labelled images alone, in strong views: what the others must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fallow.methods.shared.adapting import Adapter, AdaptSettings, told
from fallow.train import Batch, Loss, Now
from fallow.views import Recipe


class ERM(Adapter):
    """Empirical risk minimisation, as WILDS 2.0 (Sagawa et al. 2022) has it."""

    predicts = "the label, from a strong view of the image"

    Settings = AdaptSettings

    presets: ClassVar = {
        "paper": {  # Camelyon17
            "size": 96,
            "batch": 32,
            "epochs": 10,
            "learning_rate": 1e-3 * 256 / 32,
            "final_rate": 1.0,
            "weight_decay": 0.01,
            "groups": ("center",),
            "groups_per_batch": 2,
        },
        "paper-iwildcam": {
            "size": 448,
            "batch": 16,
            "epochs": 12,
            "optimiser": "adam",
            "learning_rate": 3e-5 * 256 / 16,
            "final_rate": 1.0,
            "weight_decay": 0.0,
        },
    }

    def recipe(self) -> Mapping[str, Recipe]:
        return {"source": self.seen()}

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.views[0])
        return Loss(told(self.layers(features), batch.labels), embedding=features)
