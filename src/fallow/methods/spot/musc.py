"""MuSc: unlabelled images score each other's patches (Li et al., ICLR 2024). Nothing is trained.

A patch of a sound part finds a look-alike in most other images, a defect in few of them. Each
patch is described together with its surroundings (LNAMD: `standardised`, `neighbourhoods`), scored
by how far its nearest patch is in the images nearest to it (MSM: `mutual_scores`), and image
scores may be averaged over images that look alike (RsCIN: `over_lookalikes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from fallow.methods.shared.oddness import (
    Bank,
    Found,
    Judge,
    Ordinary,
    Verdict,
    robust_threshold,
)
from fallow.problems import Problem, SettingProblem

LOWEST = (0.0, 0.3)  # the share of other images, nearest first, that a patch is judged by
BLOCK = 8  # images whose distances are merged at once
ENTRIES = 1 << 20  # distances held at once: what stays in a processor's cache


class Settings(BaseModel):
    """What MuSc can be told; defaults are for a folder of a few hundred pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    degrees: tuple[int, ...] = Field(
        (1, 3, 5), min_length=1, description="sides of the neighbourhoods, odd; their mean counts"
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
        400, ge=2, description="score this many images at a time, drawn at random; none: all"
    )
    keep: int = Field(100, ge=0, description="images saved with the run, to score others against")
    strictness: float = Field(
        3.0, gt=0, description="the threshold lies this many spreads above ordinary scores"
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
    "paper": {"lookalikes": (1, 2, 3), "subset": None},
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
    near = _near(length, window, grid)
    points = _points(features, features.mean((0, 1)), bf16)
    nearest = features.new_full((count, length, stop), -torch.inf, dtype=torch.float32)
    blocks = [slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    for number, rows in enumerate(blocks):
        for columns in blocks[number:]:
            mirrored = _mirrored(points[columns])
            ours = nearest.new_full((len(nearest[rows]), length, len(mirrored)), -torch.inf)
            theirs = ours if columns == rows else ours.transpose(0, 2).clone()
            for place, one in enumerate(points[rows]):
                first = place + 1 if columns == rows else 0  # each pair once, none with itself
                for part, there, back in near(one, mirrored, first):
                    ours[place, :, part] = there.T
                    theirs[part, :, place] = back.to(theirs.dtype)
            _keep(nearest, rows, ours)
            if columns != rows:
                _keep(nearest, columns, theirs)
    return _mean_distance(nearest, start)


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
    near = _near(features.shape[1], window, grid)
    centre = bank.mean((0, 1))
    nearest = features.new_full((*features.shape[:2], stop), -torch.inf, dtype=torch.float32)
    points = _points(features, centre, bf16)
    for first in range(0, len(bank), BLOCK):
        mirrored = _mirrored(_points(bank[first : first + BLOCK], centre, bf16))
        for place, one in enumerate(points):
            found = torch.cat([there for _, there, _ in near(one, mirrored, 0)])
            _keep(nearest, slice(place, place + 1), found.T[None].float())
    return _mean_distance(nearest, start)


def counts(interval: tuple[float, float], others: int) -> tuple[int, int]:
    """The bounds of an interval as numbers of images; never an empty one.

    >>> counts((0, 0.3), 99), counts((2, 6), 8), counts((0, 0.3), 2)
    ((0, 29), (2, 6), (0, 1))
    """
    low, high = (int(bound * others) if bound < 1 else int(bound) for bound in interval)
    if low < 0 or not interval[0] < interval[1]:
        raise SettingProblem(f"an interval rises from 0 or more, such as (0, 0.3), not {interval}.")
    stop = min(max(high, 1), others)
    return min(low, stop - 1), stop


def _points(features: Tensor, centre: Tensor, bf16: bool) -> Tensor:
    """Patches written so that one product gives minus half the squared distance.  N L C+2k

    With x' = [x, 1, -|x|²/2] and y" = [y, -|y|²/2, 1], x'·y" = -|x - y|²/2, and no step remains
    between the product and its maximum. The common centre is taken away first and the norms are
    those of the rounded vectors, split into parts that bfloat16 can hold: so its rounding is
    relative to the distance, not to the length of the vectors.
    """
    kind = torch.bfloat16 if bf16 else features.dtype
    parts = 3 if bf16 else 1
    width = features.shape[2]
    points = features.new_ones((*features.shape[:2], width + 2 * parts), dtype=kind)
    for image, point in zip(features, points, strict=True):
        point[:, :width] = image - centre
        rest = -point[:, :width].to(features.dtype).square().sum(1) / 2
        for part in range(width + parts, width + 2 * parts):
            point[:, part] = rest
            rest = rest - point[:, part].to(features.dtype)
    return points


def _mirrored(points: Tensor) -> Tensor:
    """x' as y": ones and norms change places."""
    parts = 3 if points.dtype == torch.bfloat16 else 1
    body, ones, norms = points.tensor_split([-2 * parts, -parts], dim=2)
    return torch.cat([body, norms, ones], 2)


Near = Callable[[Tensor, Tensor, int], Iterator[tuple[slice, Tensor, Tensor]]]


def _near(length: int, window: int | None, grid: tuple[int, int] | None) -> Near:
    """What finds nearest patches between one image and some: anywhere, or within a window."""
    if window is None:
        both, entries = _anywhere, length**2
    else:
        if window < 0:
            raise SettingProblem(f"a window of {window} patches is not possible: use 0 or more.")
        if grid is None or grid[0] * grid[1] != length:
            raise SettingProblem(f"a window needs the grid its {length} patches lie on.")
        both, entries = partial(_within, grid=grid, window=window), length * grid[1]
    step = max(1, ENTRIES // entries)

    def near(one: Tensor, others: Tensor, first: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for start in range(first, len(others), step):
            part = slice(start, min(start + step, len(others)))
            yield part, *both(one, others[part])

    return near


def _anywhere(one: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima for the patches of one image, and for those of each other image: n L, n L."""
    close = (one @ others.flatten(0, 1).T).unflatten(1, others.shape[:2])  # L n L
    return close.amax(2).T, close.amax(0)


def _within(
    one: Tensor, others: Tensor, grid: tuple[int, int], window: int
) -> tuple[Tensor, Tensor]:
    """The same among patches at most `window` rows and columns apart."""
    height, width = grid
    one, others = one.unflatten(0, grid), others.unflatten(1, grid)  # h w C, n h w C
    there = one.new_full((len(others), height, width), -torch.inf)
    back = there.clone()
    place = torch.arange(width, device=one.device)
    far = (place[:, None] - place).abs() > window
    for shift in range(-min(window, height - 1), min(window, height - 1) + 1):
        ours = slice(max(0, -shift), height - max(0, shift))
        theirs = slice(max(0, shift), height - max(0, -shift))
        close = one[ours] @ others[:, theirs].transpose(2, 3)  # n h w w
        close.masked_fill_(far, -torch.inf)
        there[:, ours] = torch.maximum(there[:, ours], close.amax(3))
        back[:, theirs] = torch.maximum(back[:, theirs], close.amax(2))
    return there.flatten(1), back.flatten(1)


def _keep(nearest: Tensor, rows: slice, found: Tensor) -> None:
    """Only the nearest so far stay."""
    candidates = torch.cat([nearest[rows], found], 2)
    nearest[rows] = candidates.topk(nearest.shape[2], dim=2, sorted=False).values


def _mean_distance(nearest: Tensor, start: int) -> Tensor:
    """From maxima of minus half the squared distance to the mean distance, from `start` on."""
    ordered = nearest.sort(dim=2, descending=True).values[:, :, start:]
    return (-2 * ordered).clamp(min=0).sqrt().mean(2)


# --- maps and image scores ---


def upsampled(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Patch scores (N, h, w) as maps of `size`, the corner patches on the corner pixels.

    >>> upsampled(torch.tensor([[[0.0, 1.0]]]), (1, 3))
    tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    return F.interpolate(scores[:, None], size, mode="bilinear", align_corners=True)[:, 0]


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

    def maps(self, patches: np.ndarray, size: Sequence[int]) -> np.ndarray:
        height, width = size
        return upsampled(torch.from_numpy(patches), (int(height), int(width))).numpy()

    def verdict(self, found: Found, known: Ordinary | None) -> Verdict:
        verdict = super().verdict(found, known)
        if not self.settings.lookalikes:
            return verdict
        alone = torch.from_numpy(verdict.alone)
        scores = over_lookalikes(alone, found.vectors, self.settings.lookalikes).numpy()
        threshold = robust_threshold(scores, self.settings.strictness)
        return verdict._replace(scores=scores, threshold=threshold)
