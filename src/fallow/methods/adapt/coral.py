"""Deep CORAL: features of all places are to have the same means and covariances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

from fallow.losses.domains import coral_of_groups
from fallow.methods.adapt.erm import ERM
from fallow.methods.shared.adapting import Adapter, AdaptSettings, told
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import Batch, Loss, Now

if TYPE_CHECKING:
    from fallow.images import Images, Pack


class CORAL(Adapter):
    """Deep CORAL (Sun and Saenko 2016) over all pairs of places of a batch, as WILDS 2.0 has it."""

    predicts = "the label, from features that are spread alike in every place"
    least_domains = 2

    class Settings(AdaptSettings):
        weight: float = Field(1.0, ge=0, description="of the difference between places; 0.1 to 10")

    presets: ClassVar = {
        "paper": ERM.presets["paper"] | {"weight": 0.1},
        "paper-iwildcam": ERM.presets["paper-iwildcam"] | {"weight": 10.0},
    }

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        super().meet(images, packs)
        each, batch = self.settings.groups_per_batch, self.settings.batch
        if each is not None and batch // each < 2:
            raise SettingProblem(
                f"{each} groups in a batch of {batch} leave one image for each, and one image has "
                "no spread: raise batch, or lower groups_per_batch"
            )
        sizes = torch.cat(list(self.domains.values())).bincount()
        if int(sizes.min()) < 2:
            raise SourceProblem(
                "a group has one image, which has no spread to compare: leave that image out, or "
                "name fewer columns in groups"
            )

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        ours, theirs = self.features(batch)
        known = told(self.layers(ours), batch["source"].labels)
        apart = coral_of_groups(torch.cat([ours, theirs]), self.domains_of(batch))
        parts = {"labels": known.detach(), "apart": apart.detach()}
        return Loss(known + self.settings.weight * apart, parts, embedding=ours)
