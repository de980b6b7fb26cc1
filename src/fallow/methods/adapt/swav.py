"""SwAV, then ERM: the encoder first learns the target without labels, then the source with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fallow.methods.adapt.erm import ERM
from fallow.methods.learn import swav as learning
from fallow.methods.shared.adapting import AdaptSettings
from fallow.problems import SettingProblem
from fallow.train import fit, make_settings

if TYPE_CHECKING:
    from fallow.images import Images, Pack


class SwAVFirst(ERM):
    """Pre-training with SwAV as WILDS 2.0 has it, on the unlabelled pictures of the target."""

    predicts = "cluster codes of the target's views first, then the label of the source's"

    class Settings(AdaptSettings):
        first: float = Field(
            0.5, gt=0, lt=1, description="share of the minutes that goes to the target"
        )
        first_epochs: float | None = Field(
            None, gt=0, description="passes over the target, where the budget is in epochs"
        )
        first_batch: int = Field(64, ge=2, description="pictures of the target a step")
        first_rate: float = Field(0.4, gt=0, description="its learning rate, at batch 256")
        prototypes: int | None = Field(
            None, gt=1, description="codes; none: ten for each class, as in the paper"
        )

    presets: ClassVar = {
        name: values | {"first_epochs": 400} for name, values in ERM.presets.items()
    }

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        super().meet({"source": images["source"]}, {"source": packs["source"]})
        if "target" not in images:
            raise SettingProblem("swav learns from unlabelled pictures first: give a target")
        self.target = images["target"]

    def before_training(self, pack: Pack, seed: int) -> None:
        """The first stage; its weights are in the checkpoint of the second."""
        s = self.settings
        budget: dict[str, float] = {"epochs": s.first_epochs or s.epochs or 100}
        if s.minutes is not None and s.first_epochs is None:
            budget = {"minutes": s.first * s.minutes}
        asked = {
            "size": s.size,
            "batch": min(s.first_batch, len(self.target)),
            "learning_rate": s.first_rate,
            "prototypes": s.prototypes or 10 * len(self.facts.names),
            "epsilon": 0.03,
            "precision": s.precision,
            **budget,
        }
        kind = learning.SwAV
        fit(
            kind, self.target, encoder=self.encoder, settings=make_settings(kind.Settings, asked),
            seed=seed,
        )  # fmt: skip
        self.train()
