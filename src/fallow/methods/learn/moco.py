"""MoCo v2: a query must find its key, made by a slow twin, among the keys of past batches.

Order of a step: the key network follows the query network as it is; keys are made without
gradient; the loss meets the queue as it was; then the keys join the queue.

Batch statistics could tell a query which key is its own. The authors' remedy, batch norm per
device with keys shuffled between devices, is had on one device by encoding the batch in groups
with statistics of their own, the keys in another grouping (`splits`).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.heads import moco_head
from fallow.losses.contrastive import info_nce
from fallow.parts.memory import Queue, queue_length
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.batchnorm import in_groups, in_other_company
from fallow.views import Recipe, moco


class MoCo(Method):
    """Contrast queries with a queue of momentum keys (He et al. 2020, Chen et al. 2020)."""

    family = "contrastive"
    predicts = "which key of a queue is the other view's, from one view of an image"

    class Settings(BaseSettings):
        temperature: float = Field(0.2, gt=0, description="0.1 in the authors' CIFAR demo")
        projection: int = Field(128, gt=0, description="dimension the loss works in")
        queue: int = Field(
            4096, ge=1, description="past keys; at most half as many as there are images"
        )
        key_momentum: float = Field(
            0.99, ge=0, lt=1, description="what the key network keeps of itself in a step"
        )
        symmetric: bool = Field(
            False, description="each view is query and key once; the losses are summed"
        )
        splits: int = Field(
            8, ge=1, description="groups with batch statistics of their own, 16 images or more each"
        )

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "batch": 256,
            "epochs": 200,
            "learning_rate": 0.03,
            "warmup": 0.0,
            "weight_decay": 1e-4,
            "queue": 65536,
            "key_momentum": 0.999,
        },
        # the authors' demo on CIFAR-10; its head is a single linear layer
        "paper-small-images": {
            "size": 32,
            "batch": 512,
            "epochs": 200,
            "learning_rate": 0.03,  # 0.06 at 512
            "warmup": 0.0,
            "weight_decay": 5e-4,
            "temperature": 0.1,
        },
    }

    def recipe(self) -> Recipe:
        return moco(self.settings.size)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.head = moco_head(encoder.dimension, s.projection)
        self.key = twin(nn.Sequential(encoder, self.head))
        keys_a_step = s.batch * (2 if s.symmetric else 1)
        self.queue = Queue(queue_length(s.queue, keys_a_step, self.facts.count), s.projection)
        self.fresh: list[Tensor] = []  # keys of this step, not yet in the queue

    def begin_step(self, now: Now) -> None:
        follow(self.key, nn.ModuleList([self.encoder, self.head]), self.settings.key_momentum)
        self.fresh = []

    def loss(self, batch: Batch, now: Now) -> Loss:
        s = self.settings
        groups = min(s.splits, max(1, len(batch) * now.world // 16))
        first, second = batch.views
        queries, images = ([first, second], [first, second]) if s.symmetric else ([first], [second])
        keys = [self.keys(view, groups, now) for view in images]  # B D each
        self.fresh += keys
        features = [in_groups(self.encoder, view, groups) for view in queries]  # B F each
        losses = [
            info_nce(self.head(rows), key, self.queue.keys, s.temperature)
            for rows, key in zip(features, reversed(keys), strict=True)
        ]
        return Loss(torch.stack(losses).sum(), embedding=features[0])

    @torch.no_grad()
    def keys(self, images: Tensor, groups: int, now: Now) -> Tensor:
        encoder, head = self.key
        return F.normalize(head(in_other_company(encoder, images, groups, now.step)).float())

    def after_step(self, now: Now) -> None:
        self.queue.enqueue(torch.cat(self.fresh))
