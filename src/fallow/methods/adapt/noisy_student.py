"""Noisy Student: a trained teacher labels the target once, a noisier copy of it learns from all."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fallow.encoders import Encoder
from fallow.encoders.classifier import Classifier, load_classifier
from fallow.losses.robust import cross_entropies
from fallow.methods.adapt.erm import ERM
from fallow.methods.shared.adapting import Adapter, SelfTrainingSettings, told
from fallow.problems import SettingProblem
from fallow.train import Batch, Loss, Now
from fallow.views import render
from fallow.views.recipe import Recipe, crop

if TYPE_CHECKING:
    from fallow.images import Images, Pack


class NoisyStudent(Adapter):
    """Noisy Student (Xie et al. 2020), as WILDS 2.0 has it; train again from it for a second round.

    The teacher is the classifier in `start`, and the student begins as its copy.
    """

    predicts = "the label, and on unlabelled images the answer of a trained teacher"

    class Settings(SelfTrainingSettings):
        dropout: float = Field(0.5, ge=0, lt=1, description="of the features of the student")
        soft: bool = Field(False, description="learn the teacher's probabilities, not its answers")

    presets: ClassVar = {
        "paper": ERM.presets["paper"] | {"final_rate": 0.0},
        "paper-iwildcam": ERM.presets["paper-iwildcam"] | {"final_rate": 0.0},
    }

    taught: Tensor  # rows of the target's pack, C: what the teacher says

    def build(self, encoder: Encoder) -> None:
        if self.settings.start is None and self.given is None:
            raise SettingProblem(
                "noisy_student needs a trained teacher: set start to the folder of a classifier, "
                "for example of a run of erm"
            )
        super().build(encoder)

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        super().meet(images, packs)
        s = self.settings
        device = next(self.encoder.parameters()).device
        taught = load_classifier(s.start) if self.given is None else copy.deepcopy(self.given)
        teacher = taught.to(device).eval()
        light: Any = {"mean": self.encoder.mean, "std": self.encoder.std}
        recipe = replace(crop(s.size, s.smallest, s.flip), **light)
        self.taught = answers(teacher, packs["target"], recipe, device)

    def head(self, features: Tensor) -> Tensor:
        return self.layers(F.dropout(features, self.settings.dropout, self.training))

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        ours, theirs = self.features(batch)
        known = told(self.head(ours), batch["source"].labels)
        taught = self.taught[batch["target"].index]
        wanted = taught if self.settings.soft else taught.argmax(1)
        own = cross_entropies(self.head(theirs), wanted).mean()
        parts = {"labels": known.detach(), "own": own.detach()}
        return Loss(known + self.settings.weight * own, parts, embedding=ours)


@torch.no_grad()
def answers(
    teacher: Classifier, pack: Pack, recipe: Recipe, device: torch.device, batch: int = 64
) -> Tensor:
    """The teacher's probabilities (N, C) for a weak view of every entry of a pack."""
    found = []
    for start in range(0, len(pack), batch):
        rows = np.arange(start, min(start + batch, len(pack)))
        view = render(pack, rows, recipe, seed=0, epoch=0).views[0].to(device)
        found.append(teacher(view).float().softmax(1))
    return torch.cat(found)
