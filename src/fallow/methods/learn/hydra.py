"""Hydra: any two classes make a positive pair, in the dimensions a gate opens for that pair."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from fallow.distributed import from_first, gather, gather_with_gradient, rank
from fallow.encoders import Encoder
from fallow.encoders.heads import PairGate, hydra_head
from fallow.images import Images
from fallow.losses.contrastive import nt_xent
from fallow.losses.gated import gated_cosine, pair_contrast
from fallow.parts.clusters import cluster, renamed, vectors
from fallow.problems import Problem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.views import Recipe, moco


class Hydra(Method):
    """Contrast of arbitrary pairs of classes under learnt gates (Wu et al. 2024, "SimLAP").

    The published method is supervised: it needs a class label for every image. `labels=clusters`
    is fallow's own extension for folders without labels; it takes k-means clusters of the
    encoder's vectors for classes and finds them anew as the encoder learns.
    """

    family = "contrastive"
    learns_labels = True
    predicts = "a match of two classes in the dimensions of their gate, from images of both"

    class Settings(BaseSettings):
        labels: Literal["given", "clusters"] = Field(
            "given", description="classes as published, or clusters of the images (our extension)"
        )
        clusters: int = Field(0, ge=0, description="0: one for 64 images, between 10 and 100")
        refresh_epochs: int = Field(5, ge=0, description="between clusterings; 0: only the first")
        pairs: Literal["arbitrary", "identical", "distinct"] = Field(
            "arbitrary", description="an image's partner class: any, its own, or never its own"
        )
        gate: Literal["mean", "product", "none"] = Field(
            "mean", description="of the mean of both embeddings, a product of two gates, or none"
        )
        temperature: float = Field(0.1, gt=0)
        instance_weight: float = Field(
            0.0, ge=0, description="of contrast between two views, beside 1 for pairs of classes"
        )
        hidden: int = Field(512, gt=0, description="width of the projection head")
        projection: int = Field(128, gt=0, description="dimension that gates act on")
        optimiser: Optimiser = Field(
            "adamw", description="gates must learn fast: with plain sgd at these rates they do not"
        )
        learning_rate: float = Field(5e-3, gt=0, description="at batch 256; scales with the batch")

    names: Tensor  # N, each image's cluster; -1 before the first clustering

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "batch": 1024,
            "epochs": 1000,
            "warmup": 0.04,
            "optimiser": "lars-mocov3",
            "learning_rate": 0.05,  # 0.2 at 1024
            "weight_decay": 1e-4,
            "hidden": 2048,
            "projection": 256,
        },
    }

    def recipe(self) -> Recipe:
        published = moco(self.settings.size)
        return replace(
            published, views=tuple(replace(view, area=(0.08, 1.0)) for view in published.views)
        )

    def build(self, encoder: Encoder) -> None:
        s, images = self.settings, self.facts.count
        if s.labels == "given":
            self.classes = self.facts.classes
            if self.classes < 2:
                raise Problem(
                    f"hydra needs labels of at least 2 classes and found {self.classes}: give "
                    "labels, or set labels=clusters to let it make its own"
                )
        else:
            self.classes = min(s.clusters or min(100, max(10, images // 64)), max(2, images // 2))
            self.register_buffer("names", torch.full((images,), -1))
        self.head = hydra_head(encoder.dimension, s.hidden, s.projection)
        if s.gate != "none":
            self.gate = PairGate(self.classes, s.projection)

    def before_epoch(self, now: Now, images: Images) -> None:
        every = self.settings.refresh_epochs
        due = now.epoch % every == 0 if every else now.epoch == 0
        if self.settings.labels == "given" or not due:
            return
        found = cluster(vectors(self, images), self.classes)
        if now.epoch:  # gates belong to names: a cluster keeps its own
            found = renamed(found, self.names[: len(found)].cpu().numpy(), self.classes)
        self.names[: len(found)] = torch.from_numpy(found).to(self.names)

    def loss(self, batch: Batch, now: Now) -> Loss:
        s = self.settings
        labels = batch.labels if s.labels == "given" else self.names[batch.index]
        others = self.partners(labels)
        features = self.encoder(batch.groups[0])  # 2B F
        with torch.autocast(features.device.type, enabled=False):
            one, two = self.head(features.float()).chunk(2)  # B D
            gate = self.gates(labels, others) if s.gate != "none" else torch.ones_like(one)
        keys = gather(labels)
        pair = torch.stack(
            [
                pair_contrast(
                    gated_cosine(query, gather_with_gradient(key), gate) / s.temperature,
                    labels,
                    others,
                    keys,
                )
                for query, key in ((one, two), (two, one))
            ]
        ).mean()
        parts: dict[str, Tensor | float] = {"pair": pair.detach()}
        if s.gate != "none":
            parts |= {"gate": gate.detach().mean(), "gate_entropy": _entropy(gate.detach())}
        if s.instance_weight == 0:
            return Loss(pair, parts, embedding=features)
        instance = nt_xent(one, two, s.temperature)
        parts["instance"] = instance.detach()
        total = (pair + s.instance_weight * instance) / (1 + s.instance_weight)
        return Loss(total, parts, embedding=features)

    def partners(self, labels: Tensor) -> Tensor:
        """The other class of every image's pair (B), drawn over the batches of all ranks."""
        if self.settings.pairs == "identical":
            return labels
        draw = torch.Generator().manual_seed(from_first(int(torch.randint(2**62, ()))))
        everyone = gather(labels)
        if self.settings.pairs == "arbitrary":
            others = everyone[torch.randperm(len(everyone), generator=draw).to(labels.device)]
        else:
            step = torch.randint(1, self.classes, everyone.shape, generator=draw)
            others = (everyone + step.to(labels.device)) % self.classes
            others = torch.where(everyone >= 0, others, everyone)
        first = rank() * len(labels)
        return others[first : first + len(labels)]

    def gates(self, one: Tensor, two: Tensor) -> Tensor:
        """The dimensions two classes share (B, D), between 0 and 1."""
        return (
            self.gate.product(one, two) if self.settings.gate == "product" else self.gate(one, two)
        )

    @torch.no_grad()
    def relations(self) -> Tensor:
        """How much every two classes share: the mean gate of each pair (C, C)."""
        training = self.gate.training
        self.gate.eval()
        every = torch.arange(self.classes, device=next(self.gate.parameters()).device)
        rows = [self.gates(every[k].expand_as(every), every).mean(1) for k in range(self.classes)]
        self.gate.train(training)
        return torch.stack(rows)


def _entropy(gate: Tensor) -> Tensor:
    """Mean entropy of gates seen as coins, in bits: 1 undecided, 0 open or closed."""
    return (torch.special.entr(gate) + torch.special.entr(1 - gate)).mean() / 0.6931471805599453
