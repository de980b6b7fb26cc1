"""DANN: features from which nobody can tell where an image is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from fallow.losses.adversarial import reversed_gradient
from fallow.methods.adapt.erm import ERM
from fallow.methods.shared.adapting import Adapter, AdaptSettings, told
from fallow.train import Batch, Loss, Now

if TYPE_CHECKING:
    from fallow.images import Images, Pack


class DANN(Adapter):
    """Domain-adversarial training (Ganin et al. 2016) over all places there are."""

    predicts = "the label, from features that hide the place from a second classifier"
    least_domains = 2

    class Settings(AdaptSettings):
        weight: float = Field(0.1, ge=0, description="of telling places apart")
        reversal: float = Field(1.0, ge=0, description="how strongly features unlearn the place")
        hidden: int = Field(1024, gt=0, description="width of the classifier of places")
        encoder_rate: float = Field(
            0.1, gt=0, le=1, description="the encoder's learning rate, of that of the heads"
        )

    presets: ClassVar = {
        "paper": ERM.presets["paper"] | {"weight": 0.1},
        "paper-iwildcam": ERM.presets["paper-iwildcam"],
    }

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        super().meet(images, packs)
        wide = self.settings.hidden
        layers: list[nn.Module] = []
        for inputs in (self.encoder.dimension, wide):
            layers += [nn.Linear(inputs, wide), nn.BatchNorm1d(wide), nn.ReLU()]
        layers.append(nn.Linear(wide, len(self.domain_names())))
        device = next(self.encoder.parameters()).device
        self.places = nn.Sequential(*layers).to(device)

    def rate_scales(self) -> Mapping[str, float]:
        return {"encoder": self.settings.encoder_rate}

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        ours, theirs = self.features(batch)
        known = told(self.layers(ours), batch["source"].labels)
        hidden = reversed_gradient(torch.cat([ours, theirs]), self.settings.reversal)
        domains = self.domains_of(batch)
        guesses = self.places(hidden).float()
        place = F.cross_entropy(guesses, domains)
        seen = (guesses.argmax(1) == domains).float().mean()
        parts = {"labels": known.detach(), "place": place.detach(), "place_right": seen}
        return Loss(known + self.settings.weight * place, parts, embedding=ours)
