"""MultiAugs: several hard views of a picture, each damaged in its own way, must say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.pointer import STRIDE, Together
from fallow.encoders.segmenter import sibling
from fallow.losses.heatmaps import heat_consistency
from fallow.methods.pose.supervised import Supervised
from fallow.methods.shared.pose import PoseMethod, PoseSettings, turned_alike
from fallow.train import Batch, Loss, Now
from fallow.views.heatmaps import peaks
from fallow.views.mixing import boxes_around, cover, paste

KINDS = {
    "jc": "joint cut: boxes over joints are emptied",
    "jo": "joint cut-occlude: joints are covered by joints of another picture",
    "co": "cutout: boxes anywhere are emptied",
    "cm": "cutmix: boxes anywhere show another picture",
    "mu": "mixup: a little of another picture shines through",
    "a": "nothing but the turn that all hard views share",
}
JOINTS_CUT, JOINTS_COVERED, BOXES_CUT, BOXES_MIXED = 5, 2, 5, 2
JITTER = 10 / 192  # of a box about its joint, as a share of the view


class MultiAugs(PoseMethod):
    """Consistency over several hard views (Huang et al. 2024), by one network or by two."""

    family = "self-training"
    predicts = "its own heat maps of an easy view, from views of which parts are hidden"

    class Settings(PoseSettings):
        hard: tuple[str, ...] = Field(
            ("jo+co", "jc+cm"),
            min_length=1,
            description="a hard view for each, what is done to it joined by +: jc, jo, co, cm, mu, "
            "or a for a turn alone",
        )
        boxes: tuple[float, float] = Field(
            (10 / 192, 19 / 192), description="half sides of boxes, as shares of a view"
        )
        weight: float = Field(1.0, ge=0, description="of each hard view; of truth it is 1")
        pretrain: float = Field(
            0.25, ge=0, lt=1, description="share of the budget on marked pictures alone"
        )
        networks: Literal[1, 2] = Field(
            1, description="2: each learns from what the other says of the easy view"
        )

        @field_validator("hard", mode="before")
        @classmethod
        def _known(cls, hard: Any) -> Any:
            views = [hard] if isinstance(hard, str) else list(hard)
            for name in (name for view in views for name in str(view).split("+")):
                if name not in KINDS:
                    raise ValueError(
                        f"there is no hard view {name!r}: known are {', '.join(KINDS)}"
                    )
            return views

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": Supervised.presets["paper"] | {"epochs": 400, "pretrain": 0.0},
        "paper-few": Supervised.presets["paper"]
        | {"epochs": 30, "pretrain": 0.0, "hard": ("jo+co", "jc+cm", "jc", "jo")},
    }

    def build(self, encoder: Encoder) -> None:
        super().build(encoder)
        self.other = None
        if self.settings.networks == 2:
            self.other = self.pointer(sibling(encoder, seed=1))

    @property
    def networks(self) -> list[nn.Module]:
        return [self.network] if self.other is None else [self.network, self.other]

    def predictor(self) -> nn.Module:
        return self.network if self.other is None else Together(self.network, self.other)

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        networks, images = self.networks, batch["unlabelled"].views[0]
        truth = torch.stack([self.supervised(one, batch["labelled"]) for one in networks]).mean()
        if now.progress < self.settings.pretrain:  # empty maps teach nothing but emptiness
            return Loss(truth, {"truth": truth.detach()})
        with torch.no_grad():  # in training mode: their batch statistics see the easy views, too
            said = [network(images).float() for network in networks]
        own = []
        for number, network in enumerate(networks):
            maps = said[-1 - number]  # of two, what the other one says
            hard, target = turned_alike(self.hard(images, maps), maps)
            weights = maps.new_ones(maps.shape[:2])
            students = network(torch.cat(hard)).chunk(len(hard))
            own.append(heat_consistency(students, target, weights))
        consistent = torch.stack(own).sum()
        peak = torch.stack(said).amax((-2, -1)).mean()  # fading maps are the way this goes wrong
        parts = {"truth": truth.detach(), "own": consistent.detach(), "peak": peak}
        return Loss(truth + self.settings.weight * consistent, parts)

    def hard(self, images: Tensor, maps: Tensor) -> list[Tensor]:
        """A view (B 3 S S) for each combination; the heat maps say where joints are."""
        joints = peaks(maps)[0] * STRIDE + (STRIDE - 1) / 2  # B J 2, in pixels of the view
        views = []
        for combination in self.settings.hard:
            view = images
            for name in combination.split("+"):
                view = self.damaged(name, view, joints)
            views.append(view)
        return views

    def damaged(self, name: str, images: Tensor, joints: Tensor) -> Tensor:
        """One of KINDS done to pictures, with random numbers of its own."""
        size, batch = images.shape[2:], len(images)
        if name == "a":
            return images
        if name == "mu":
            share = torch.distributions.Beta(0.2, 0.2).sample().item()
            return mixed_up(images, torch.randperm(batch), share)[0]
        if name == "jo":
            donors = torch.randint(batch, (batch,))
            halves = self.halves(batch, JOINTS_COVERED, images)
            here, there = (near(at, JOINTS_COVERED, size[0]) for at in (joints, joints[donors]))
            return cover(images, here, images[donors], there, halves)
        if name == "jc":
            centres, count = near(joints, JOINTS_CUT, size[0]), JOINTS_CUT
        else:
            count = BOXES_CUT if name == "co" else BOXES_MIXED
            centres = torch.randint(size[0], (batch, count, 2)).to(images.device)
        inside = boxes_around(centres, self.halves(batch, count, images), size)
        # normalised pictures: 0 is their mean
        other = images[torch.randperm(batch)] if name == "cm" else torch.zeros_like(images)
        return paste(images, other, inside)

    def halves(self, batch: int, count: int, images: Tensor) -> Tensor:
        """Random half sides of boxes: B N 2."""
        low, high = (max(1, round(share * images.shape[-1])) for share in self.settings.boxes)
        return torch.randint(low, max(low, high) + 1, (batch, count, 2)).to(images.device)


def near(joints: Tensor, count: int, size: int) -> Tensor:
    """Whole places near `count` joints, drawn from all of each picture (B J 2) with replacement."""
    batch, known = joints.shape[:2]
    chosen = torch.randint(known, (batch, count)).to(joints.device)
    away = JITTER * size * torch.randn(batch, count, 2).to(joints)
    return (joints.gather(1, chosen[..., None].expand(-1, -1, 2)) + away).long()


def mixed_up(images: Tensor, order: Sequence[int] | Tensor, chance: float) -> tuple[Tensor, float]:
    """Pictures with at most a quarter of others, and the share of their own that is left.

    >>> mixed_up(torch.tensor([0.0, 8.0]), [1, 0], 0.5)
    (tensor([1., 7.]), 0.875)
    """
    share = 1 - chance / 4
    return share * images + (1 - share) * images[order], share
