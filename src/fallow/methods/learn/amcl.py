"""AMCL: several heads, and a learnt temperature for every pair under every head.

A pair's temperature is bounded by `low` and `high` and comes from a scaled dot product of two
descriptors, which a small network phi per head makes from the unit embeddings. (The paper's code
writes a network of both embeddings together; the dot product is symmetric and one matrix product.)
With base barlow the pairs are pairs of dimensions: there each dimension learns its descriptor.

The published loss has no lower bound but that of the temperatures, and collapses on small data;
fallow's default contrasts softly with all negatives instead (`mode`).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.distributed import gather_with_gradient
from fallow.encoders import Encoder
from fallow.encoders.heads import MultiHead, amcl_head, mlp
from fallow.losses.adaptive import adaptive_barlow, bounded, hardest_contrast, soft_contrast
from fallow.losses.contrastive import cross_correlation
from fallow.losses.precision import without_autocast
from fallow.parts.memory import Queue, queue_length
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.batchnorm import in_groups, in_other_company
from fallow.views import Recipe, ladder, simclr


class AMCL(Method):
    """Adaptive multi-head contrast (Wang et al. 2024) on top of SimCLR, MoCo or Barlow Twins."""

    family = "contrastive"
    predicts = "which view shows the same image, from the other view of it, under several heads"

    class Settings(BaseSettings):
        base: Literal["simclr", "moco", "barlow"] = Field(
            "simclr", description="the method whose loss gets heads and temperatures"
        )
        mode: Literal["soft", "paper"] = Field(
            "soft", description="soft: all negatives repel; paper: the hardest ones of each head"
        )
        heads: int = Field(3, ge=1, description="projections with similarities of their own")
        hidden: int = Field(512, gt=0, description="width of each head")
        projection: int = Field(128, gt=0, description="dimension of each head")
        phi: int = Field(128, gt=0, description="width of the network behind the temperatures")
        low: float | None = Field(
            None, gt=0, description="least temperature; none: 0.05, with base barlow 0.75"
        )
        high: float | None = Field(
            None, gt=0, description="largest one; none: 0.5, with base barlow 1.25"
        )
        beta: float = Field(
            1e-3, ge=0, description="weight of the regulariser, which grows with projection"
        )
        hardest: int = Field(1, ge=1, description="negatives a head looks at in mode paper")
        augmentations: int | None = Field(
            None, ge=1, le=5, description="of crop, blur, grey, jitter, flip; none: SimCLR's views"
        )
        queue: int = Field(
            4096, ge=1, description="past keys with base moco; at most half as many as images"
        )
        key_momentum: float = Field(
            0.99, ge=0, lt=1, description="what the key network of base moco keeps in a step"
        )
        splits: int = Field(8, ge=1, description="groups with own batch statistics, base moco")
        off_diagonal: float = Field(5e-3, gt=0, description="weight of redundancy, base barlow")
        learning_rate: float = Field(
            0.03, gt=0, description="at batch 256; scales with the batch; heads add up"
        )
        clip: float | None = Field(5.0, gt=0, description="largest gradient norm")

        @property
        def bounds(self) -> tuple[float, float]:
            low, high = (0.75, 1.25) if self.base == "barlow" else (0.05, 0.5)
            return self.low or low, self.high or high

        @model_validator(mode="after")
        def _ordered(self) -> AMCL.Settings:
            if self.bounds[0] > self.bounds[1]:
                raise ValueError("the least temperature, low, is above the largest, high")
            return self

    presets: ClassVar = {
        # the authors' CIFAR-10 settings; at 1e-5 a single pair can weigh 100 000 times its due,
        # so their missing limit on the gradient is not copied
        "paper": {
            "mode": "paper",
            "size": 32,
            "batch": 512,
            "epochs": 800,
            "learning_rate": 0.03,  # 0.06 at 512
            "warmup": 0.0,
            "low": 1e-5,
            "high": 2.0,
            "beta": 0.1,
        },
    }

    def recipe(self) -> Recipe:
        s = self.settings
        return ladder(s.size, s.augmentations) if s.augmentations else simclr(s.size)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.heads = MultiHead(
            amcl_head(encoder.dimension, s.hidden, s.projection) for _ in range(s.heads)
        )
        if s.base == "barlow":  # C D P: dimensions stay the same, so their descriptors are learnt
            self.descriptors = nn.Parameter(torch.randn(s.heads, s.projection, s.phi) / 4)
            return
        self.phi = nn.ModuleList(mlp([s.projection, s.phi, s.phi]) for _ in range(s.heads))
        if s.base == "moco":
            self.key = twin(nn.Sequential(encoder, self.heads))
            length = queue_length(s.queue, 2 * s.batch, self.facts.count)
            self.queue = Queue(length, s.heads * s.projection)
            self.fresh: list[Tensor] = []  # keys of this step, not yet in the queue

    def loss(self, batch: Batch, now: Now) -> Loss:
        base = {"simclr": self.among_views, "moco": self.against_queue, "barlow": self.dimensions}
        return base[self.settings.base](batch, now)

    def among_views(self, batch: Batch, now: Now) -> Loss:
        """SimCLR: an anchor's negatives are all other images' views in the batch."""
        features = self.encoder(batch.groups[0])  # 2b F
        units = unit_rows(self.heads, features)  # C 2b D
        described = self.describe(units)  # C 2b P
        similarity = product(units, of_all_ranks(units))  # C 2b 2B
        temperature = self.temperature(described, of_all_ranks(described))
        own, total = len(batch), similarity.shape[2] // 2
        here = torch.arange(own, device=units.device) + now.rank * own
        itself = F.one_hot(torch.cat([here, here + total]), 2 * total).bool()  # 2b 2B
        partner = itself.roll(total, 1)
        (s, t), (others, others_t) = (
            [pairs[:, mask].unflatten(1, (2 * own, -1)) for pairs in (similarity, temperature)]
            for mask in (partner, ~(itself | partner))
        )
        loss = self.contrast(s[..., 0], others, t[..., 0], others_t)
        return self.told(loss, features, others, t, others_t)

    def against_queue(self, batch: Batch, now: Now) -> Loss:
        """MoCo: the negatives are past keys; each view asks once, and the two losses are halved."""
        s = self.settings
        groups = min(s.splits, max(1, len(batch) * now.world // 16))
        features = torch.cat([in_groups(self.encoder, view, groups) for view in batch.views])
        keys = [self.keys(view, groups, now) for view in batch.views]  # C B D each
        self.fresh += [key.transpose(0, 1).flatten(1) for key in keys]
        query, key = unit_rows(self.heads, features), torch.cat(keys[::-1], 1)  # C 2B D
        past = self.queue.keys.unflatten(1, (s.heads, -1)).transpose(0, 1)  # C L D
        past = F.normalize(past, dim=2)  # the random rows at the start are no units per head
        asking = self.describe(query)
        own, others = (query * key).sum(2), product(query, past)  # C 2B, C 2B L
        t = self.temperature(asking[:, :, None], self.describe(key)[:, :, None])[..., 0, 0]
        others_t = self.temperature(asking, self.describe(past))
        loss = self.contrast(own, others, t, others_t)
        return self.told(loss, features, others, t, others_t)

    def dimensions(self, batch: Batch, now: Now) -> Loss:
        """Barlow Twins: every entry of the cross-correlation of the two views is a pair."""
        s = self.settings
        features = self.encoder(batch.groups[0])  # 2B F
        halves = [head.chunk(2) for head in self.heads(features)]
        correlation = torch.stack([cross_correlation(*pair) for pair in halves])  # C D D
        temperature = self.temperature(self.descriptors, self.descriptors)
        share = 1.0 if s.mode == "paper" else 1 / max(1, s.projection - 1)
        loss = adaptive_barlow(correlation, temperature, s.off_diagonal, s.beta, share)
        own = torch.eye(s.projection, device=features.device).bool()
        others, t, others_t = correlation[:, ~own], temperature[:, own], temperature[:, ~own]
        return self.told(loss, features, others, t, others_t)

    @without_autocast
    def describe(self, units: Tensor) -> Tensor:
        """phi of every head; its coordinates are near 1, as networks expect."""  # C N D -> C N P
        scale = math.sqrt(self.settings.projection)
        return torch.stack([phi(rows * scale) for phi, rows in zip(self.phi, units, strict=True)])

    @without_autocast
    def temperature(self, one: Tensor, other: Tensor) -> Tensor:
        """One per pair of descriptors, from their scaled dot product."""  # C .. N P, C .. M P
        return bounded(one @ other.mT / math.sqrt(self.settings.phi), *self.settings.bounds)

    def contrast(self, s: Tensor, others: Tensor, t: Tensor, others_t: Tensor) -> Tensor:
        """Mean over anchors of the mode's loss, a plain sum over heads."""
        settings = self.settings
        pairs, costs = (s, others, t, others_t), (settings.beta, settings.projection)
        if settings.mode == "paper":
            return hardest_contrast(*pairs, *costs, settings.hardest).mean()
        return soft_contrast(*pairs, *costs).mean()

    @torch.no_grad()
    def told(
        self, loss: Tensor, features: Tensor, others: Tensor, t: Tensor, others_t: Tensor
    ) -> Loss:
        """The loss with what shows whether temperatures and heads are alive."""
        low, high = self.settings.bounds
        every = torch.cat([t.flatten(), others_t.flatten()])
        edge = 0.01 * (high - low)
        parts: dict[str, Tensor | float] = {
            "temperature_positive": t.mean(),
            "temperature_negative": others_t.mean(),
            "temperatures_at_bounds": ((every < low + edge) | (every > high - edge)).float().mean(),
        }
        heads = len(self.heads)
        if heads > 1:  # near 1: the heads say the same
            same = torch.corrcoef(others.flatten(1)).nan_to_num(1.0)  # C C
            parts["head_agreement"] = (same.sum() - heads) / (heads * (heads - 1))
        return Loss(loss, parts, embedding=features)

    @torch.no_grad()
    def keys(self, images: Tensor, groups: int, now: Now) -> Tensor:
        encoder, heads = self.key
        features = in_other_company(encoder, images, groups, now.step)
        return unit_rows(heads, features)  # C B D

    def begin_step(self, now: Now) -> None:
        if self.settings.base == "moco":
            follow(self.key, nn.ModuleList([self.encoder, self.heads]), self.settings.key_momentum)
            self.fresh = []

    def after_step(self, now: Now) -> None:
        if self.settings.base == "moco":
            self.queue.enqueue(torch.cat(self.fresh))


@without_autocast
def unit_rows(heads: nn.Module, features: Tensor) -> Tensor:
    """Every head's embeddings, in float32."""  # B F -> C B D
    return F.normalize(torch.stack(heads(features.float())), dim=2)


@without_autocast
def product(one: Tensor, other: Tensor) -> Tensor:
    """All pairs of rows, under every head."""  # C N D, C M D -> C N M
    return one @ other.mT


def of_all_ranks(rows: Tensor) -> Tensor:
    """First views of all ranks, then second ones."""  # C 2b D -> C 2B D
    halves = [gather_with_gradient(half.transpose(0, 1)) for half in rows.chunk(2, 1)]
    return torch.cat(halves).transpose(0, 1)
