"""MuSc: unlabelled images score each other's patches (Li et al., ICLR 2024). Nothing is trained.

A patch of a sound part finds a look-alike in most other images, a defect in few of them. Each
patch is described together with its surroundings (LNAMD: `standardised`, `neighbourhoods`), scored
by how far its nearest patch is in the images nearest to it (MSM: `mutual_scores`), and image
scores may be averaged over images that look alike (RsCIN: `over_lookalikes`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from fallow.encoders import Encoder
from fallow.encoders.maps import Sight
from fallow.methods.shared.crowd import WIDTH, Crowd
from fallow.methods.shared.expected import expected
from fallow.methods.shared.nearness import (
    BLOCK,
    counts,
    keep,
    mean_distance,
    mirrored,
    points_of,
    searching,
)
from fallow.methods.shared.oddness import (
    Bank,
    Found,
    Judge,
    Ordinary,
    Verdict,
)
from fallow.methods.shared.oddness import (
    upsampled as upsampled,
)
from fallow.problems import Problem, SettingProblem

LOWEST = (0.0, 0.3)  # the share of other images, nearest first, that a patch is judged by


class Settings(BaseModel):
    """What MuSc can be told; defaults are for a folder of a few hundred pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scoring: Literal["quick", "published"] = Field(
        "quick", description="quick: one space, a fixed number of references; or as published"
    )
    references: int | None = Field(
        48, ge=2, description="quick: pictures that all are judged by, drawn at random; none: all"
    )
    top: float = Field(
        0.02,
        gt=0,
        le=1,
        description="quick: share of a picture's patches, oddest first, it is scored by",
    )
    width: int = Field(WIDTH, ge=1, description="quick: directions patches are compared in")
    degrees: tuple[int, ...] = Field(
        (3,), min_length=1, description="sides of the neighbourhoods, odd; their mean counts"
    )
    interval: tuple[float, float] = Field(
        LOWEST, description="which other images count, nearest first: shares, or counts from 1 up"
    )
    layers: tuple[int, ...] | None = Field(
        None, description="blocks or stages of the encoder, 0 the first; chosen if left out"
    )
    norm: bool | None = Field(
        None, description="a transformer's final norm on every layer; all but CLIP and SigLIP"
    )
    size: int | None = Field(None, description="side of the encoder's input in pixels")
    side: int | None = Field(None, ge=2, description="patches along a side of one input")
    tiles: tuple[int, int] | Literal["auto"] = Field(
        (1, 1), description="inputs a picture is cut into: 2, 2x3 (rows x columns) or auto"
    )
    window: int | None = Field(
        None, ge=0, description="compare only patches this near, in patches: for aligned parts"
    )
    lookalikes: tuple[int, ...] = Field(
        (), description="average image scores over this many look-alikes (RsCIN), e.g. 1, 2, 3"
    )
    subset: int | None = Field(
        400, ge=2, description="published: score this many images at a time, at random; none: all"
    )
    keep: int = Field(100, ge=0, description="images saved with the run, to score others against")
    strictness: float = Field(
        3.0,
        gt=0,
        description="with good images: the threshold is this many spreads above them",
    )
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="auto: bf16 where the processor multiplies it"
    )

    @field_validator("tiles", mode="before")
    @classmethod
    def _tiles(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            rows, cross, columns = value.partition("x")
            if not (rows.isdigit() and (columns.isdigit() or not cross)):
                raise ValueError(f"tiles are 2, 2x3 or auto, not {value}")
            value = (int(rows), int(columns or rows))
        if isinstance(value, int):
            value = (value, value)
        if value != "auto" and min(value) < 1:
            raise ValueError("tiles are counted from 1")
        return value

    @field_validator("degrees")
    @classmethod
    def _odd(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(degree < 1 or degree % 2 == 0 for degree in value):
            raise ValueError(f"degrees are odd numbers such as 1, 3, 5, not {value}")
        return value

    @field_validator("interval")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1]:
            raise ValueError(f"an interval rises from 0 or more, such as 0, 0.3, not {value}")
        return value


PRESETS: dict[str, dict[str, Any]] = {
    # MVTec AD and BTAD; for VisA the authors average over 1, 8 and 9 look-alikes
    "paper": {
        "scoring": "published",
        "degrees": (1, 3, 5),
        "lookalikes": (1, 2, 3),
        "subset": None,
    },
}


# --- LNAMD ---


def standardised(maps: Tensor) -> Tensor:
    """Each image's map with mean 0 and variance 1 over all its places and channels.

    >>> float(standardised(torch.rand(2, 4, 4, 3)).mean().abs()) < 1e-6
    True
    """
    return F.layer_norm(maps, maps.shape[1:])  # B h w C


def surroundings(maps: Tensor, degree: int) -> Tensor:
    """Every place averaged with the places around it, `degree` x `degree` in all.

    Beyond the border lie zeros, which count.

    >>> surroundings(torch.ones(1, 3, 3, 1), 3)[0, :, :, 0] * 9
    tensor([[4., 6., 4.],
            [6., 9., 6.],
            [4., 6., 4.]])
    """
    if degree < 1 or degree % 2 == 0:
        raise SettingProblem(f"a neighbourhood of {degree} patches has no middle: use 1, 3, 5, ...")
    if degree == 1:
        return maps
    mean = F.avg_pool2d(maps.permute(0, 3, 1, 2), degree, 1, (degree - 1) // 2)
    return mean.permute(0, 2, 3, 1)  # B h w C


def neighbourhoods(maps: Tensor, degree: int) -> Tensor:
    """Unit vectors of all places of standardised maps, row by row.

    >>> neighbourhoods(torch.rand(2, 4, 5, 3), 3).shape
    torch.Size([2, 20, 3])
    """
    return F.normalize(surroundings(maps, degree).flatten(1, 2), dim=2)  # B L C


# --- MSM ---


def mutual_scores(
    features: Tensor,
    interval: tuple[float, float] = LOWEST,
    *,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
    bf16: bool = False,
) -> Tensor:
    """How far the patches of each image are from those of the others.  N L C -> N L

    A patch's distance to an image is that to the image's nearest patch; its score is the mean of
    the distances in `interval`, nearest first. Below 1 the bounds are shares of the other images,
    from 1 up they are counts; at least one image always counts. With `window`, only patches at
    most that many places away on the `grid` are compared. `bf16` takes half the time where the
    processor multiplies bfloat16, at a relative error near 0.001.

    >>> same, odd = torch.zeros(3, 2, 4), torch.tensor([[[1.0, 0, 0, 0], [0, 0, 0, 0]]])
    >>> mutual_scores(torch.cat([same, odd]))[:, 0]
    tensor([0., 0., 0., 1.])
    """
    count, length, _ = features.shape
    if count < 2:
        raise Problem("one image has nothing to be compared with: two are needed, ten make sense.")
    start, stop = counts(interval, count - 1)
    near = searching(length, window, grid)
    points = points_of(features, features.mean((0, 1)), bf16)
    nearest = features.new_full((count, length, stop), -torch.inf, dtype=torch.float32)
    blocks = [slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    for number, rows in enumerate(blocks):
        for columns in blocks[number:]:
            facing = mirrored(points[columns])
            ours = nearest.new_full((len(nearest[rows]), length, len(facing)), -torch.inf)
            theirs = ours if columns == rows else ours.transpose(0, 2).clone()
            for place, one in enumerate(points[rows]):
                first = place + 1 if columns == rows else 0  # each pair once, none with itself
                for part, there, back in near(one, facing, first):
                    ours[place, :, part] = there.T
                    theirs[part, :, place] = back.to(theirs.dtype)
            keep(nearest, rows, ours)
            if columns != rows:
                keep(nearest, columns, theirs)
    return mean_distance(nearest, start)


def scores_against(
    features: Tensor,
    bank: Tensor,
    interval: tuple[float, float] = LOWEST,
    *,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
    bf16: bool = False,
) -> Tensor:
    """The same from new images (N, L, C) to known ones (M, L, C), in one direction.  -> N L

    >>> scores_against(torch.ones(1, 2, 3), torch.zeros(5, 2, 3)) ** 2
    tensor([[3., 3.]])
    """
    start, stop = counts(interval, len(bank))
    near = searching(features.shape[1], window, grid)
    centre = bank.mean((0, 1))
    nearest = features.new_full((*features.shape[:2], stop), -torch.inf, dtype=torch.float32)
    points = points_of(features, centre, bf16)
    for first in range(0, len(bank), BLOCK):
        facing = mirrored(points_of(bank[first : first + BLOCK], centre, bf16))
        for place, one in enumerate(points):
            found = torch.cat([there for _, there, _ in near(one, facing, 0)])
            keep(nearest, slice(place, place + 1), found.T[None].float())
    return mean_distance(nearest, start)


# --- RsCIN ---


def over_lookalikes(scores: Tensor, vectors: Tensor, windows: Sequence[int] = (1, 2, 3)) -> Tensor:
    """Image scores, brought to 0…1, averaged over the images most like each one.  N, N D -> N

    For each number in `windows` the mean goes over that many nearest images, the image itself
    among them, weighted by similarity; the result is the mean of these means. It helps when the
    image vectors group images in the same state, and harms when they do not.

    >>> over_lookalikes(torch.tensor([0.0, 2.0, 1.0]), torch.eye(3))
    tensor([0.0000, 1.0000, 0.5000])
    """
    low, high = scores.min(), scores.max()
    if low == high:
        return torch.zeros_like(scores)
    share = (scores - low) / (high - low)
    likeness = (vectors @ vectors.T).to(share.dtype)  # N N
    means = []
    for window in windows:
        if window < 1:
            raise SettingProblem(f"averaging over {window} images is not possible: use 1 or more.")
        weights, nearest = likeness.topk(min(window, len(scores)), dim=1)
        means.append((weights * share[nearest]).sum(1) / weights.sum(1))
    return torch.stack(means).mean(0)


# --- the whole ---


class MuSc(Judge):
    """Patches described with their surroundings and judged by those of other images.

    The mean over all layers and degrees counts; an image's score is the maximum of its map.
    """

    settings: Settings

    def kept(self, maps: Tensor) -> Tensor:
        return standardised(maps)

    def scores(self, seen: Bank, known: Bank | None) -> Tensor:
        s, device = self.settings, self.encoder.device
        options: dict[str, Any] = {"window": s.window, "grid": self.how.grid, "bf16": self.bf16}
        total = torch.zeros(len(seen), math.prod(self.how.grid))
        for layer, maps in enumerate(seen.maps):
            for degree in s.degrees:
                features = neighbourhoods(maps.to(device).float(), degree)
                if known is None:
                    scores = mutual_scores(features, s.interval, **options)
                else:
                    others = neighbourhoods(known.maps[layer].to(device).float(), degree)
                    scores = scores_against(features, others, s.interval, **options)
                total += scores.cpu()
        mean = total / (len(seen.maps) * len(s.degrees))
        return mean.unflatten(1, self.how.grid)

    def verdict(self, found: Found, known: Ordinary | None) -> Verdict:
        verdict = super().verdict(found, known)
        if not self.settings.lookalikes:
            return verdict
        alone = torch.from_numpy(verdict.alone)
        scores = over_lookalikes(alone, found.vectors, self.settings.lookalikes).numpy()
        said = expected(scores)
        threshold = said.threshold if np.isfinite(said.threshold) else float(scores.max())
        return verdict._replace(scores=scores, threshold=threshold, expected=said)


def judge(encoder: Encoder, how: Sight, settings: Settings) -> Judge:
    """What judges as the settings say: quickly, or as published."""
    kinds: dict[str, type[Judge]] = {"quick": Crowd, "published": MuSc}
    return kinds[settings.scoring](encoder, how, settings)
