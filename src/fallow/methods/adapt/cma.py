"""CMA: no source pictures needed; what a place looks like in good weather is what it must look
like in bad weather to the encoder, and the network's own surest labels keep the decoder valid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.headed import seen
from fallow.losses.cells import cell_contrast, cells
from fallow.losses.pseudo import relative_entropy_map
from fallow.losses.segmentation import masked_cross_entropy
from fallow.methods.shared.carrying import (
    Carrier,
    CarrySettings,
    crowded,
    own_labels,
    through,
)
from fallow.parts.correspondence import Match, at_size, certainty, matched
from fallow.parts.memory import Queue, queue_length
from fallow.parts.teacher import follow_with_buffers, twin
from fallow.problems import MissingPackage
from fallow.train import Batch, Loss, Now
from fallow.train.schedules import early_mean
from fallow.views.flow import dense_flow, has_flow
from fallow.views.geometry import warped
from fallow.views.render import render

if TYPE_CHECKING:
    from fallow.images import Images, Pack

FINEST = 4  # pixels of the picture a place of the embedding shows, at least
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


class CMA(Carrier):
    """Contrastive model adaptation (Brüggemann et al. 2023), for segmenters without their data."""

    predicts = "its own surest labels, and the reference's features at the same places"

    class Settings(CarrySettings):
        optimiser: Literal["sgd", "adam", "adamw", "lars", "lars-mocov3", "larc"] = "adamw"
        learning_rate: float = Field(
            0.0256, gt=0, description="at batch 256: 2e-4 at batch 2; scales with the batch"
        )
        schedule: Literal["cosine", "power", "inverse", "linear"] = "linear"
        start_rate: float = Field(1e-6, ge=0, description="share of the rate to warm up from")
        warmup: float = Field(0.15, ge=0, lt=1, description="share of the budget it rises in")
        weight_decay: float = Field(0.01, ge=0)
        projector_rate: float = Field(10.0, gt=0, description="factor of the new head's rate")
        scales: tuple[float, ...] = Field(
            (0.75, 1.0, 1.25), description="sizes a picture is looked at for its own labels"
        )
        surest: float = Field(0.2, gt=0, le=1, description="share of a class that is believed")
        most: float = Field(
            0.75, gt=0, le=1, description="largest share of one class in a crop's labels"
        )
        retries: int = Field(10, ge=0, description="crops that are tried for that")
        entropy_weight: float = Field(0.01, ge=0, description="of undecided pixels")
        contrast_weight: float = Field(1.0, ge=0, description="of the contrast of places; 0: none")
        alone: float = Field(
            0.25, ge=0, lt=1, description="share of the budget the contrast leaves the encoder be"
        )
        matcher: Literal["flow", "features", "still"] = Field(
            "flow",
            description="how references are brought to a picture's viewpoint: flow of pixels "
            "(OpenCV), correlation of the given network's features, or not at all",
        )
        weighted: bool = Field(True, description="places weigh as much as their match is certain")
        radius: float = Field(1.0, gt=0, description="places a certain match is off by, at most")
        dimension: int = Field(128, ge=2, description="numbers a place is compared by")
        temperature: float = Field(0.3, gt=0, description="of the contrast")
        grid: int = Field(7, ge=1, description="cells a side that are compared")
        least: float = Field(0.2, ge=0, le=1, description="certainty of a cell that counts")
        queue: int = Field(65536, ge=1, description="cells of earlier pictures, at most")
        queue_of: Literal["target", "reference"] = Field(
            "target", description="whose cells are pushed away; the paper's are the target's"
        )
        momentum: float = Field(0.9999, ge=0, le=1, description="of the slow copy, at most")

    presets: ClassVar = {
        "paper": {  # SegFormer-B5 on ACDC
            "size": 1080,
            "batch": 1,
            "epochs": 6.25,  # 10,000 steps over 1,600 pictures
            "learning_rate": 1e-5 * 256,
            "scales": SCALES,
        },
        "paper-deeplab": {
            "size": 1080,
            "batch": 2,
            "epochs": 12.5,
            "learning_rate": 2e-8 * 128,
            "scales": SCALES,
            "entropy_weight": 1.0,
        },
    }

    def build(self, encoder: Encoder) -> None:
        super().build(encoder)
        s = self.settings
        if s.matcher == "flow" and s.contrast_weight and not has_flow():
            raise MissingPackage("opencv-python-headless", "flow")
        self.model.decoder.requires_grad_(False)
        with torch.no_grad():
            place = next(self.model.parameters()).device
            features, _ = seen(self.model, torch.zeros(1, 3, s.size, s.size, device=place))
        width = sum(maps.shape[1] for maps in features)
        self.projector = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, s.dimension, 1)
        )
        # one module, so that both follow together
        self.slow = twin(nn.ModuleDict({"model": self.model, "projector": self.projector}))
        self.fixed = twin(self.model) if s.matcher == "features" else None
        each = s.batch * s.grid**2
        self.queue = Queue(queue_length(s.queue, each, self.facts.count * s.grid**2), s.dimension)
        self.fresh: list[Tensor] = []

    def train(self, mode: bool = True) -> CMA:
        """The decoder stays as it was given, its norms and dropout, too; so do the copies."""
        super().train(mode)
        self.model.decoder.eval()
        self.slow.eval()
        if self.fixed is not None:
            self.fixed.eval()
        return self

    def rate_scales(self) -> Mapping[str, float]:
        return {"projector": self.settings.projector_rate}

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        s = self.settings
        self.pack = packs["target"]
        device = next(self.model.parameters()).device
        # of the weights that were given: those of a run that goes on are not there yet
        self.labels = own_labels(self.model, self.pack, self.as_seen(), s.scales, s.surest, device)

    def prepare(self, name: str, batch: Batch, draw: np.random.Generator) -> Batch:
        """Other crops where one class has nearly all labels; and how the pair fits together."""
        s = self.settings
        labels = through(self.labels, batch)
        for _ in range(s.retries):
            again = crowded(labels, s.most)
            if not again.any():
                break
            rows, seed = batch.index[again].numpy(), int(draw.integers(2**31))
            other = render(self.pack, rows, self.as_seen(), seed=seed)
            batch.views[0][again] = other.views[0]
            batch.geometry[:, again] = other.geometry
            batch.beside["reference"][again] = self.references(rows, seed, 0)
            labels = through(self.labels, batch)
        found = {"labels": labels}
        if s.matcher == "flow" and s.contrast_weight:
            show = self.encoder.preprocessing.show
            pairs = zip(show(batch.views[0]), show(batch.beside["reference"]), strict=True)
            flows, doubts = zip(*(dense_flow(*pair) for pair in pairs), strict=True)
            found |= {
                "flow": torch.from_numpy(np.stack(flows)),
                "doubt": torch.from_numpy(np.stack(doubts)),
            }
        return replace(batch, beside={**batch.beside, **found})

    def begin_step(self, now: Now) -> None:
        self.fresh = []
        both = nn.ModuleDict({"model": self.model, "projector": self.projector})
        follow_with_buffers(self.slow, both, early_mean(now.step, self.settings.momentum))

    def loss(self, batch: Batch, now: Now) -> Loss:
        s = self.settings
        features, logits = seen(self.model, batch.views[0])
        labels = batch.beside["labels"]
        told = masked_cross_entropy(logits, labels, over="valid")
        undecided = relative_entropy_map(logits).mean()
        total = told + s.entropy_weight * undecided
        parts = {
            "labels": told.detach(),
            "undecided": undecided.detach(),
            "labelled": (labels != 255).float().mean(),
        }
        if s.contrast_weight:
            contrast, compared = self.contrast(features, batch, now)
            total = total + s.contrast_weight * contrast
            share = compared / (len(batch) * s.grid**2)
            parts |= {"contrast": contrast.detach(), "compared": torch.tensor(share)}
        pooled = features[-1].mean((2, 3))
        return Loss(total, parts, embedding=pooled)

    def contrast(self, features: list[Tensor], batch: Batch, now: Now) -> tuple[Tensor, int]:
        """Places of the pictures against the same in their references, and how many were sure."""
        s = self.settings
        if now.progress < s.alone:
            features = [maps.detach() for maps in features]
        anchor = self.projector(joined(features, s.size))
        with torch.no_grad():
            pair = torch.cat([batch.views[0], batch.beside["reference"]])
            theirs, _ = seen(self.slow["model"], pair)  # type: ignore[arg-type]
            negative, positive = self.slow["projector"](joined(theirs, s.size)).chunk(2)
            found = self.match(batch, anchor)
            moved, inside = warped(positive.float(), found.flow)
            sure = inside.float()
            if s.weighted:
                sure = sure * certainty(found.log_variance, s.radius)
            own = negative if s.queue_of == "target" else positive
            self.fresh.append(F.normalize(cells(own.float(), s.grid), dim=1))
        return cell_contrast(
            anchor, moved, sure[:, None], self.queue.keys,
            grid=s.grid, temperature=s.temperature, least=s.least,
        )  # fmt: skip

    def match(self, batch: Batch, anchor: Tensor) -> Match:
        """Where in the reference every place of the picture is, in places of the embedding."""
        size, matcher = anchor.shape[2:], self.settings.matcher
        if matcher == "flow":
            return reduced(Match(batch.beside["flow"], batch.beside["doubt"]), size)
        if matcher == "features":
            pair = torch.cat([batch.views[0], batch.beside["reference"]])
            assert self.fixed is not None
            maps = joined(seen(self.fixed, pair)[0], self.settings.size)
            ours, theirs = F.instance_norm(maps.float()).chunk(2)
            return matched(ours, theirs)
        still = anchor.new_zeros(len(anchor), 2, *size)
        return Match(still, torch.full_like(still[:, 0], -20.0))

    def after_step(self, now: Now) -> None:
        for some in self.fresh:
            self.queue.enqueue(some)
        self.fresh = []


def joined(features: list[Tensor], side: int) -> Tensor:
    """All maps together at the size of the finest, or a quarter of the side if that is less.

    >>> joined([torch.zeros(1, 2, 32, 32), torch.zeros(1, 5, 2, 2)], 32).shape
    torch.Size([1, 7, 8, 8])
    """
    finest = max(maps.shape[2] for maps in features)
    most = min(finest, math.ceil(side / FINEST))
    size = (most, most)
    return torch.cat(
        [
            F.adaptive_avg_pool2d(maps, size) if maps.shape[2] > most else at_size(maps, size)
            for maps in features
        ],
        1,
    )


def reduced(found: Match, size: Sequence[int]) -> Match:
    """A match of pixels as one of the larger places of an embedding.

    >>> whole = Match(torch.full((1, 2, 8, 8), 4.0), torch.zeros(1, 8, 8))
    >>> small = reduced(whole, (2, 2))
    >>> small.flow[0, :, 0, 0].tolist(), round(float(small.log_variance[0, 0, 0].exp()), 4)
    ([1.0, 1.0], 0.0625)
    """
    tall, wide = (side / there for side, there in zip(found.flow.shape[2:], size, strict=True))
    height, width = size
    flow = F.adaptive_avg_pool2d(found.flow, (height, width))
    doubt = F.adaptive_avg_pool2d(found.log_variance[:, None], (height, width))[:, 0]
    scale = flow.new_tensor([wide, tall]).view(1, 2, 1, 1)
    return Match(flow / scale, doubt - 2 * math.log(math.sqrt(tall * wide)))
