"""Marked pictures alone: what the others are measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fallow.methods.shared.pose import PoseMethod, PoseSettings
from fallow.train import Batch, Loss, Now


class Supervised(PoseMethod):
    """Heat maps learnt from marked pictures alone (Xiao et al. 2018)."""

    family = "supervised"
    predicts = "heat maps of key points, from pictures that are marked"
    streams: ClassVar[tuple[str, ...]] = ("labelled",)

    class Settings(PoseSettings):
        pass

    presets: ClassVar = {
        "paper": {
            "size": 256,
            "sigma": 2.0,
            "width": 256,
            "skips": False,
            "batch": 32,
            "learning_rate": 1e-3 * 256 / 32,
        }
    }

    def loss(self, batch: Batch | Mapping[str, Batch], now: Now) -> Loss:
        own = batch if isinstance(batch, Batch) else batch["labelled"]
        return Loss(self.supervised(self.network, own))
