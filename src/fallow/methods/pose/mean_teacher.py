"""A mean teacher: what a slow copy says of an easy view, a harder turned one must say too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from fallow.encoders import Encoder
from fallow.encoders.pointer import Pointer
from fallow.losses.heatmaps import heat_consistency
from fallow.methods.pose.supervised import Supervised
from fallow.methods.shared.pose import PoseMethod, PoseSettings, turned_alike
from fallow.parts.teacher import follow_all_state, in_mode, twin
from fallow.train import Batch, Loss, Now


class MeanTeacher(PoseMethod):
    """Consistency of heat maps with a mean teacher (Tarvainen and Valpola 2017)."""

    family = "self-training"
    predicts = "the heat maps of a slow copy of itself, from the same picture turned further"

    class Settings(PoseSettings):
        weight: float = Field(1.0, ge=0, description="of what the teacher says; of truth it is 1")
        teacher_momentum: float = Field(0.99, ge=0, le=1)

    presets: ClassVar[dict[str, dict[str, Any]]] = Supervised.presets

    def build(self, encoder: Encoder) -> None:
        super().build(encoder)
        self.teacher = twin(self.network)

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        truth = self.supervised(self.network, batch["labelled"])
        images = batch["unlabelled"].views[0]
        with torch.no_grad(), in_mode(self.teacher, training=True):
            maps = self.teacher(images).float()
        (hard,), target = turned_alike([images], maps)
        weights = maps.new_ones(maps.shape[:2])
        own = heat_consistency([self.network(hard)], target, weights)
        parts = {"truth": truth.detach(), "own": own.detach(), "peak": maps.amax((2, 3)).mean()}
        return Loss(truth + self.settings.weight * own, parts)

    def after_step(self, now: Now) -> None:
        follow_all_state(self.teacher, self.network, self.settings.teacher_momentum)

    def predictor(self) -> nn.Module:
        return self.teacher

    def written(self) -> Pointer:
        return self.teacher
