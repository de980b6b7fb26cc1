"""WSCL: which pictures were tampered with, and where, learnt from yes or no (Zhai et al. 2023)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.residues import Prediction, Steganalysis
from fallow.losses.consistency import agreed_mask, agreed_shares, inter_patch, multi_source
from fallow.losses.precision import without_autocast
from fallow.parts.pooling import upper_mean
from fallow.problems import Problem, SettingProblem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.views import Recipe
from fallow.views.forgery import KINDS, forged, saved_once
from fallow.views.recipe import View

if TYPE_CHECKING:
    from fallow.images import Images

STREAMS = ("colour", "steganalysis", "prediction")
WEIGHTS = {"colour": 0.2, "steganalysis": 0.4, "prediction": 0.4}  # noise says more than colour
TAMPERED, AUTHENTIC = "tampered", "authentic"


class Pairs(nn.Module):
    """How likely every pair of places is of two origins.  B C h w -> B h w h w"""

    def __init__(self, channels: int, hidden: int, width: int, shared: bool = False) -> None:
        super().__init__()
        self.one = self._head(channels, hidden, width)
        self.two = self.one if shared else self._head(channels, hidden, width)

    @staticmethod
    def _head(channels: int, hidden: int, width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.LeakyReLU(), nn.Conv2d(hidden, width, 1)
        )

    @without_autocast
    def forward(self, features: Tensor) -> Tensor:
        features = features.float() if features.dtype in (torch.bfloat16, torch.half) else features
        one, two = self.one(features).flatten(2), self.two(features).flatten(2)  # B D hw
        alike = torch.einsum("bdi,bdj->bij", one, two) / math.sqrt(one.shape[1])
        grid = features.shape[2:]
        return (1 - torch.sigmoid(alike)).reshape(len(features), *grid, *grid)


class Stream(nn.Module):
    """One way to look at a picture: a filter, a network of its own, a map and pairs of places."""

    def __init__(self, filter: nn.Module, encoder: Encoder, size: int, hidden: int, grid: int):
        super().__init__()
        self.filter, self.encoder, self.grid = filter, encoder, grid
        with torch.no_grad():
            fine, middle, coarse = encoder.patches(torch.zeros(2, 3, size, size), [-3, -2, -1])
        inputs = middle.shape[3] + coarse.shape[3]
        self.head = nn.Sequential(
            nn.Conv2d(inputs, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, 1, 1),
        )
        self.pairs = Pairs(fine.shape[3], fine.shape[3], max(8, fine.shape[3] // 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map (B 1 h w) and the features of places (B C g g) that pairs are made of."""
        maps = self.encoder.patches(self.filter(x), [-3, -2, -1])
        fine, middle, coarse = (one.permute(0, 3, 1, 2) for one in maps)
        coarse = F.interpolate(coarse, middle.shape[2:], mode="bilinear", align_corners=False)
        found = torch.sigmoid(self.head(torch.cat([middle, coarse], 1)).float())
        if max(fine.shape[2:]) > self.grid:  # the pairs grow with the fourth power of the side
            height, width = (min(side, self.grid) for side in fine.shape[2:])
            fine = F.adaptive_avg_pool2d(fine, (height, width))
        return found, fine


class WSCL(Method):
    """Noise and colour streams teach each other where, as labels only say whether."""

    family = "supervised"
    learns_labels = True
    wants_masks = True  # read only where `labels` is crop
    predicts = "whether a picture was tampered with, from its colours and two kinds of residue"

    class Settings(BaseSettings):
        size: int = Field(96, ge=32, description="side of the crops, at the pixels' own size")
        side: int = Field(1024, ge=64, description="short side above which photos are reduced")
        batch: int = Field(32, ge=2, description="pictures a step")
        labels: Literal["picture", "crop"] = Field(
            "picture",
            description="crop: a crop without a tampered pixel counts as authentic, as published; "
            "that reads the masks",
        )
        multi_source: float = Field(0.1, ge=0, description="weight of what the streams agree on")
        inter_patch: float = Field(0.1, ge=0, description="weight of pairs of places")
        target: Literal["mask", "shares"] = Field("mask", description="what the streams agree on")
        portion: float = Field(1.0, gt=0, le=1, description="of the upper values, those that count")
        split: Literal["hill", "global"] = Field("hill", description="how upper values are found")
        hidden: int = Field(64, gt=0, description="channels before the map; 512 in the paper")
        grid: int = Field(28, ge=2, description="places a side that pairs are made of, at most")
        jpeg: float = Field(0.5, ge=0, le=1, description="chance that a crop is stored once more")
        optimiser: Optimiser = "adamw"
        learning_rate: float = Field(2e-3, gt=0, description="at batch 256")
        warmup: float = Field(0.08, ge=0, lt=1)
        final_rate: float = Field(0.02, ge=0)

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # CASIA v2, ResNet-50 from ImageNet
        "paper": {
            "size": 224,
            "batch": 36,
            "epochs": 60,
            "hidden": 512,
            "learning_rate": 1e-4 * 256 / 36,
            "labels": "crop",
        },
    }

    def recipe(self) -> Recipe:
        crop = View(self.settings.size, zoom=(1.0, 1.0))  # no pixel is resampled
        return Recipe((crop,), side=self.settings.side)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if set(self.facts.names) != {TAMPERED, AUTHENTIC}:
            raise Problem(
                f"wscl learns from the labels {TAMPERED} and {AUTHENTIC}, and these pictures have "
                f"{', '.join(self.facts.names) or 'none'}: name them so, or let it make its own"
            )
        if self.facts.side < s.size:
            raise SettingProblem(
                f"crops of {s.size} need photos of that side, and these have about "
                f"{self.facts.side}: use size {self.facts.side // 8 * 8} or less"
            )
        filters = (nn.Identity(), Steganalysis(), Prediction())
        # the encoder given sees the colours; residues go to copies that start from its weights
        eyes = (encoder, copy.deepcopy(encoder), copy.deepcopy(encoder))
        self.streams = nn.ModuleDict(
            {
                name: Stream(filter, eye, s.size, s.hidden, s.grid)
                for name, filter, eye in zip(STREAMS, filters, eyes, strict=True)
            }
        )

    @property
    def tampered(self) -> int:
        """The code of the label."""
        return self.facts.names.index(TAMPERED)

    def prepare(self, name: str, batch: Batch, draw: np.random.Generator) -> Batch:
        """Store some crops once more, tampered or not, so that storing tells nothing."""
        mean, std = (np.array(v, np.float32) for v in (self.encoder.mean, self.encoder.std))
        view = batch.views[0].clone()
        for row in np.flatnonzero(draw.random(len(batch)) < self.settings.jpeg):
            pixels = view[row].permute(1, 2, 0).numpy() * std + mean
            whole = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
            stored = saved_once(whole, int(draw.integers(70, 100))).astype(np.float32) / 255
            view[row] = torch.from_numpy((stored - mean) / std).permute(2, 0, 1)
        return replace(batch, groups=[view], views=[view])

    def loss(self, batch: Batch, now: Now) -> Loss:
        known = batch.labels >= 0
        labels = (batch.labels == self.tampered) & known
        if self.settings.labels == "crop" and batch.masks:
            inside = ((batch.masks[0] > 0) & (batch.masks[0] < 255)).flatten(1).any(1)
            labels = labels & inside
        seen = {name: self.streams[name](batch.views[0]) for name in STREAMS}
        maps = {name: found for name, (found, _) in seen.items()}
        volumes = {name: self.pairs(name, fine) for name, (_, fine) in seen.items()}
        scores = {name: self.score(found) for name, found in maps.items()}
        return objective(maps, scores, volumes, labels.float(), now.progress, self.settings, known)

    def pairs(self, name: str, fine: Tensor) -> Tensor:
        """How likely every pair of places is of two origins, says one stream."""
        stream: Any = self.streams[name]
        volume: Tensor = stream.pairs(fine)
        return volume

    def score(self, found: Tensor) -> Tensor:
        """One number for each map: the mean of the upper of its two kinds of values."""
        s = self.settings
        return upper_mean(found.flatten(1), s.portion, s.split == "hill")

    @torch.inference_mode()
    def maps(self, x: Tensor) -> Tensor:
        """The streams' joint map of normalised pictures (B 3 H W), at their own size.  B 1 H W"""
        found = together({name: self.streams[name](x)[0] for name in STREAMS})
        return F.interpolate(found, x.shape[2:], mode="bilinear", align_corners=False)


def together(values: dict[str, Tensor]) -> Tensor:
    """What the streams say together, noise with twice the weight of colour."""
    return torch.stack([WEIGHTS[name] * value for name, value in values.items()]).sum(0)


def pair_map(volume: Tensor, size: tuple[int, int]) -> Tensor:
    """How unlike all others each place is (B h w h w -> B 1 H W), of the pairs alone."""
    found = volume.mean((3, 4))[:, None]
    return F.interpolate(found, size, mode="bilinear", align_corners=False)


def ramp(progress: float) -> float:
    """How much maps teach one another: little until labels have taught them something.

    >>> round(ramp(0.0), 4), ramp(1.0)
    (0.0067, 1.0)
    """
    return math.exp(-5 * (1 - progress) ** 2)


@without_autocast
def objective(
    maps: dict[str, Tensor],
    scores: dict[str, Tensor],
    volumes: dict[str, Tensor],
    labels: Tensor,
    progress: float,
    settings: Any,
    known: Tensor | None = None,
) -> Loss:
    """Labels for the scores of every stream, the streams' joint map for their maps and volumes."""
    rows = torch.ones_like(labels, dtype=torch.bool) if known is None else known
    told = [
        F.binary_cross_entropy(score[rows], labels[rows], reduction="sum") / max(int(rows.sum()), 1)
        for score in scores.values()
    ]
    joint = together(maps).detach()
    marked = agreed_mask(joint, labels)
    agreed = marked if settings.target == "mask" else agreed_shares(joint)
    sources = multi_source(list(maps.values()), agreed)
    pairs = torch.stack([inter_patch(volume, marked) for volume in volumes.values()]).sum()
    label_loss = torch.stack(told).sum()
    rise = ramp(progress)
    total = label_loss + rise * (settings.multi_source * sources + settings.inter_patch * pairs)
    right = ((together(scores).detach() > 0.5) == (labels > 0.5))[rows].float().mean()
    parts = {"labels": label_loss, "sources": sources, "pairs": pairs, "right": right.nan_to_num()}
    return Loss(total, parts={name: part.detach() for name, part in parts.items()})


# --- judging pictures of any size ---

Look = Callable[[Tensor], Tensor]  # B 3 H W, normalised -> B 1 H W


@dataclass(frozen=True)
class Judgement:
    """A picture's map (H W) and the number that ranks it: the map's highest value."""

    map: np.ndarray
    score: float


def tiled(look: Look, picture: Tensor, tile: int = 1024, overlap: float = 0.1) -> Tensor:
    """The map of one picture (1 3 H W) of any size, from tiles that overlap; means where they do.

    The last tiles of a row are moved inside; a picture smaller than a tile is seen with nothing
    around it.
    """
    height, width = picture.shape[2:]
    total, count = (picture.new_zeros(1, 1, height, width) for _ in range(2))
    for top in _starts(height, tile, overlap):
        for left in _starts(width, tile, overlap):
            part = picture[:, :, top : top + tile, left : left + tile]
            rows, columns = part.shape[2:]
            part = F.pad(part, (0, tile - columns, 0, tile - rows))
            found = look(part)[:, :, :rows, :columns]
            total[:, :, top : top + rows, left : left + columns] += found
            count[:, :, top : top + rows, left : left + columns] += 1
    return total / count


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin: a step less than a tile apart, the last one ending with the picture."""
    if length <= tile:
        return [0]
    step = max(1, tile - int(tile * overlap))
    return [*range(0, length - tile, step), length - tile]


def judged(method: WSCL, images: Images, tile: int = 1024) -> Iterator[tuple[int, Judgement | Any]]:
    """Every picture's map and score, at its own size; a `FileProblem` where it cannot be read."""
    method.eval()
    encoder = method.encoder

    def whole(pixels: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]

    for row, pixels in images.map(whole):
        if not isinstance(pixels, Tensor):
            yield row, pixels
            continue
        x = encoder.preprocessing.normalise(pixels.to(encoder.device))
        smallest = min(tile, max(x.shape[2:]))
        found = tiled(method.maps, x, max(smallest, method.settings.size))[0, 0].cpu().numpy()
        yield row, Judgement(found, float(found.max()))


# --- a training set from pictures one trusts ---


def made(images: Images, count: int, seed: int = 0) -> Iterator[tuple[np.ndarray, str, np.ndarray]]:
    """`count` pictures of trusted ones, half of them tampered with: pixels, label and mask.

    All are stored in the same way at the end, so that only tampering tells them apart.
    """
    readable = [row for row, pixels in images.map(lambda pixels: True) if pixels is True]
    if len(readable) < 2:
        raise Problem(f"{images.name}: two readable pictures are needed to make tampered ones of")
    draw = np.random.default_rng([seed, 61])
    order = [readable[k % len(readable)] for k in draw.permutation(max(count, len(readable)))]
    for number, row in enumerate(order[:count]):
        pixels = images[row]
        mask = np.zeros(pixels.shape[:2], bool)
        if number % 2:
            donor = readable[int(draw.integers(len(readable) - 1))]
            donor = readable[-1] if donor == row else donor
            kind = KINDS[int(draw.integers(len(KINDS)))]
            pixels, mask, _ = forged(pixels, images[donor], kind, draw)
        quality = int(draw.integers(75, 98))
        label = TAMPERED if number % 2 else AUTHENTIC
        yield saved_once(pixels, quality), label, mask


def at_best(scores: Sequence[float], truth: Sequence[bool]) -> float:
    """The threshold with most right answers on pictures kept aside; never chosen on those judged.

    >>> at_best([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    0.5
    """
    values, right = np.asarray(scores, np.float64), np.asarray(truth, bool)
    order = np.unique(values)
    bars = np.concatenate([[order[0] - 1e-6], (order[1:] + order[:-1]) / 2, [order[-1] + 1e-6]])
    hits = [float(((values > bar) == right).mean()) for bar in bars]
    return float(bars[int(np.argmax(hits))])
