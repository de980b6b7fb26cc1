"""DSAIF: two networks teach each other, one sees bright clutter flattened and one dark clutter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.segmenter import Segmenter, sibling
from fallow.losses.segmentation import dice_squared, masked_cross_entropy
from fallow.methods.shared.segment import SegmentMethod, SegmentSettings
from fallow.train import Batch, Loss, Now
from fallow.train.schedules import gaussian_ramp
from fallow.views.structure import Tree, structure_view, unit_range


class DSAIF(SegmentMethod):
    """Mutual supervision under dual structure-aware image filterings (Gu et al. 2023)."""

    family = "consistency"
    predicts = "one network's labels of the max-tree view from the min-tree view, and in turn"

    class Settings(SegmentSettings):
        area: int | None = Field(
            None, ge=0, description="pixels below which a region goes; none: 50 of 224 x 224"
        )
        keep: float = Field(0.0, ge=0, le=1, description="chance that an only child stays")
        filtered: float = Field(0.5, ge=0, le=1, description="share of the images to filter")
        turned: float = Field(
            0.0, ge=0, le=1, description="share of those turned for the second network"
        )
        bent: float = Field(0.5, ge=0, le=1, description="share of filtered views with a gamma")
        gamma: tuple[float, float] = Field((0.5, 1.5), description="range of that gamma")
        mutual: float = Field(1.0, ge=0, description="weight of what the networks teach each other")
        ramp: float = Field(
            0.4, gt=0, le=1, description="share of the budget until that weight is reached"
        )

    # the authors' rate is 0.01 for any batch, and falls as (1 - progress)^0.9
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {  # volumes of the pancreas: 60 scans of which 57 have no mask, 15000 steps
            "size": 96,
            "batch": 2,
            "epochs": 526,
            "learning_rate": 1.28,
            "schedule": "power",
            "warmup": 0.0,
            "area": 50,
            "turned": 1.0,
        },
        "paper-2d": {
            "size": 256,
            "batch": 8,
            "learning_rate": 0.32,
            "schedule": "power",
            "warmup": 0.0,
            "area": 50,
        },
    }

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.area = s.area
        if self.area is None:
            self.area = 50 if self.dimensions == 3 else round(s.size**2 / 1000)
        self.first = Segmenter(encoder, s.classes)
        other = int(torch.randint(2**31, ()))  # of this run's seed, and not the encoder's own
        self.second = Segmenter(sibling(encoder, other), s.classes)

    def prepare(self, name: str, batch: Batch, draw: np.random.Generator) -> Batch:
        """One view becomes two: the same picture as either network sees it."""
        (view,) = batch.views
        pair = torch.cat([view, view])
        pixels = pair.numpy()  # the same memory
        for row in np.flatnonzero(draw.random(len(view)) < self.settings.filtered):
            trees: list[Tree] = ["max", "min"]
            if draw.random() < 0.5:
                trees.reverse()
            for side, tree in enumerate(trees):
                here = side * len(view) + row
                pixels[here] = self.simplified(pixels[here], tree, draw)
        return replace(
            batch,
            groups=[pair],
            views=list(pair.split(len(view))),
            geometry=torch.cat([batch.geometry] * 2),
            roles=batch.roles * 2,
            masks=batch.masks * 2,
        )

    def simplified(self, pixels: np.ndarray, tree: Tree, draw: np.random.Generator) -> np.ndarray:
        """A picture or volume (C *S) whose lightness is filtered; colours shift along with it.

        Channels filtered one by one would end in colours that are nowhere in the picture.
        """
        scale = np.ones(1) if self.dimensions == 3 else np.array(self.encoder.std)
        scale = scale.reshape(-1, *[1] * (pixels.ndim - 1))
        light = (pixels * scale).mean(0)
        unit, least, extent = unit_range(light)
        flat = self.view(unit, tree, draw) * extent + least
        return pixels + ((flat - light) / scale).astype(pixels.dtype)

    def view(self, unit: np.ndarray, tree: Tree, draw: np.random.Generator) -> np.ndarray:
        """Lightness (*S) in 0..1 with other contrast, its regions flattened."""
        s = self.settings
        gamma = draw.uniform(*s.gamma) if draw.random() < s.bent else 1.0
        seed = int(draw.integers(2**32)) if s.keep else 0
        return structure_view(unit, tree, area=self.area, gamma=gamma, keep=s.keep, seed=seed)

    def loss(self, batch: dict[str, Batch], now: Now) -> Loss:
        s = self.settings
        labelled, unlabelled = batch["labelled"], batch["unlabelled"]
        one, other = (
            torch.cat(pair) for pair in zip(labelled.views, unlabelled.views, strict=True)
        )
        quarters = self.quarters(one, other)
        split = [len(labelled), len(unlabelled)]
        first = self.first(one).split(split)  # B K *S each
        second = turn(self.second(turn(other, quarters)), -quarters).split(split)
        weight = s.mutual * gaussian_ramp(now.progress, s.ramp)
        known, bare = zip(first, second, strict=True)
        total, parts = mutual(known, bare, labelled.masks[0], weight)
        agreement = (bare[0].argmax(1) == bare[1].argmax(1)).float().mean()
        return Loss(total, parts={**parts, "weight": weight, "agreement": agreement})

    def quarters(self, one: Tensor, other: Tensor) -> Tensor:
        """By how much the second network's pictures are turned: only where they were filtered."""
        size, device = len(one), one.device
        filtered = (one != other).flatten(1).any(1)
        chosen = filtered & (torch.rand(size, device=device) < self.settings.turned)
        return torch.randint(4, (size,), device=device) * chosen

    def predictor(self) -> nn.Module:
        """Either network alone, on pictures as they are."""
        return self.first

    def opinions(self) -> list[nn.Module]:
        return [self.first, self.second]


def mutual(
    labelled: Sequence[Tensor], unlabelled: Sequence[Tensor], target: Tensor, weight: float
) -> tuple[Tensor, dict[str, Tensor | float]]:
    """Both networks' losses from both networks' logits (B K *S), and their parts.

    Labels weigh the mean of cross-entropy and Dice; unlabelled pixels take the other network's
    most likely class, however unlikely that is.
    """
    parts: dict[str, Tensor | float] = {}
    total: Tensor = torch.zeros((), device=target.device)
    taught = [logits.detach().argmax(1) for logits in unlabelled]
    for number, (known, bare, other) in enumerate(
        zip(labelled, unlabelled, reversed(taught), strict=True), 1
    ):
        dice = dice_squared(known.softmax(1), target, epsilon=1e-5)
        entropy = masked_cross_entropy(known, target, over="valid")
        cross = masked_cross_entropy(bare, other, over="valid")
        total = total + (entropy + dice) / 2 + weight * cross
        parts |= {f"dice{number}": dice.detach(), f"cross{number}": cross.detach()}
    return total, parts


def turn(x: Tensor, quarters: Tensor) -> Tensor:
    """Every item of x (B C *S) by its own number of quarter turns in the last two axes.

    >>> turn(torch.tensor([[[[1, 2], [3, 4]]]] * 2), torch.tensor([0, 1]))[1, 0].tolist()
    [[2, 4], [1, 3]]
    """
    if not quarters.any():
        return x
    out = x.clone()
    for quarter in range(1, 4):
        rows = (quarters % 4 == quarter).nonzero().squeeze(1)
        if len(rows):
            out[rows] = torch.rot90(x[rows], quarter, (-2, -1))
    return out
