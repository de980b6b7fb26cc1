"""InterCLR: an image attracts its other view and images of its cluster, found while learning."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.heads import moco_head
from fallow.images import Images
from fallow.losses.contrastive import info_nce
from fallow.losses.margin import margin_nce
from fallow.parts.clusters import cluster, vectors
from fallow.parts.memory import Clusters, Queue, whole_batches
from fallow.parts.negatives import anywhere, hard, semi_easy, semi_hard
from fallow.parts.teacher import follow, twin
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.batchnorm import in_other_company
from fallow.views import Recipe, moco

Sampling = Literal["semi-hard", "hard", "semi-easy", "random"]


class InterCLR(Method):
    """MoCo v2 beside contrast between the images of live clusters (Xie et al. 2022).

    After training `memory.labels` holds the cluster of every image.
    """

    family = "contrastive"
    predicts = "the own view and images of the own cluster, from one view among past images"

    class Settings(BaseSettings):
        temperature: float = Field(0.2, gt=0, description="of both losses")
        inter_weight: float = Field(0.25, ge=0, le=1, description="share of the loss on clusters")
        inter_from_epoch: float = Field(0.0, ge=0, description="only other views before this epoch")
        margin: float = Field(
            -0.5, description="taken from the cosine of a cluster's images; negative: looser"
        )
        arc_margin: float = Field(0.0, description="added to their angle, beside the margin")
        clusters: int = Field(0, ge=0, description="0: one for 64 images, at least 10")
        smallest: int = Field(
            0, ge=0, description="smaller clusters dissolve; 0: a sixth of the mean, at most 20"
        )
        labels: Literal["online", "offline"] = Field(
            "online", description="clusters follow every batch, or are found anew now and then"
        )
        refresh_epochs: int = Field(5, gt=0, description="between offline clusterings")
        recentre_steps: int = Field(10, gt=0, description="between updates of online centroids")
        sampling: Sampling = Field("semi-hard", description="which images of other clusters repel")
        negatives: int = Field(0, ge=0, description="how many; 0: an eighth of the pool")
        pool: int = Field(
            0, ge=0, description="most similar ones they are drawn from; 0: a tenth of the images"
        )
        queue: int = Field(4096, ge=0, description="past keys, at most a quarter of the images")
        key_momentum: float = Field(0.99, ge=0, le=1, description="of the key encoder")
        key_parts: int = Field(4, gt=0, description="parts a batch of keys is normalised in")
        bank_momentum: float = Field(
            0.2, gt=0, le=1, description="weight of an image's new key; 1 keeps nothing of the old"
        )
        projection: int = Field(128, gt=0, description="dimension the losses work in")
        weight_decay: float = Field(5e-4, ge=0)

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "batch": 256,
            "epochs": 200,
            "warmup": 0.0,
            "learning_rate": 0.03,
            "weight_decay": 1e-4,
            "clusters": 10000,
            "smallest": 20,
            "negatives": 16384,
            "pool": 128000,
            "queue": 65536,
            "key_momentum": 0.999,
            "key_parts": 8,
            "bank_momentum": 1.0,
        },
    }

    def recipe(self) -> Recipe:
        return moco(self.settings.size)

    def build(self, encoder: Encoder) -> None:
        s, images = self.settings, self.facts.count
        self.head = moco_head(encoder.dimension, s.projection)
        self.key_encoder, self.key_head = twin(encoder), twin(self.head)
        length = whole_batches(min(s.queue, images // 4), s.batch)
        self.queue = Queue(max(length, s.batch), s.projection)
        count = min(s.clusters or max(10, images // 64), max(1, images // 2))
        smallest = s.smallest or max(1, min(20, images // (6 * count)))
        self.memory = Clusters(images, s.projection, count, smallest, s.bank_momentum)
        self.pool = s.pool or max(64, images // 10)
        self.negatives = s.negatives or max(16, self.pool // 8)

    def before_epoch(self, now: Now, images: Images) -> None:
        s = self.settings
        if now.step == 0:
            self.begin(images)
        elif s.labels == "offline" and now.epoch % s.refresh_epochs == 0:
            full = self.memory.labels >= 0
            self.group(self.memory.features[full])

    @torch.no_grad()
    def begin(self, images: Images) -> None:
        """Fill the memory with what the encoder says of every image before it has learnt."""
        features = torch.from_numpy(vectors(self, images)).to(self.queue.keys.device)
        self.group(torch.cat([self.head(part) for part in features.split(1024)]))

    def group(self, features: Tensor) -> None:
        """Cluster all images afresh."""
        labels = cluster(features.cpu().numpy(), len(self.memory.centroids))
        self.memory.start(features, torch.from_numpy(labels))
        self.memory.repair()

    def loss(self, batch: Batch, now: Now) -> Loss:
        s = self.settings
        features = self.encoder(batch.views[0])
        query = self.head(features).float()  # B D
        groups = max(1, min(s.key_parts, len(batch) // 8))
        key = in_other_company(self.keys, batch.views[1], groups, now.step).float()
        past = self.queue.keys.clone()  # backward needs it as it was
        intra = info_nce(query, key, past, s.temperature)
        inter = self.inter(query, batch.index)
        share = s.inter_weight if now.epoch >= s.inter_from_epoch else 0.0
        self.queue.enqueue(F.normalize(key))
        parts: dict[str, Tensor | float] = {"intra": intra.detach(), "inter": inter.detach()}
        if s.labels == "online":
            parts["changed"] = self.memory.update(batch.index, key)
        else:
            self.memory.write(batch.index, key)
        return Loss((1 - share) * intra + share * inter, parts, embedding=features)

    def keys(self, images: Tensor) -> Tensor:
        return self.key_head(self.key_encoder(images))

    def inter(self, query: Tensor, index: Tensor) -> Tensor:
        """Find an image of the own cluster among images of others, both as last seen."""
        s, memory = self.settings, self.memory
        slots, valid = self.sample(query.detach(), index)
        return margin_nce(
            query,
            memory.features[memory.mates(index)],
            memory.features[slots],
            s.temperature,
            margin=s.margin,
            arc=s.arc_margin,
            valid=valid,
        )

    def sample(self, query: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The slots (B, negatives) that repel each query, and which of them count."""
        labels = self.memory.labels
        own = labels[index]
        if self.settings.sampling == "random":
            return anywhere(own, labels, self.negatives)
        with torch.autocast(query.device.type, enabled=False):
            similarity = F.normalize(query) @ self.memory.features.T  # B N
        if self.settings.sampling == "hard":
            return hard(similarity, own, labels, self.negatives)
        draw = semi_hard if self.settings.sampling == "semi-hard" else semi_easy
        return draw(similarity, own, labels, self.pool, self.negatives)

    def after_step(self, now: Now) -> None:
        # the key network that the next step uses
        follow(self.key_encoder, self.encoder, self.settings.key_momentum)
        follow(self.key_head, self.head, self.settings.key_momentum)
        if self.settings.labels == "online":
            if (now.step + 1) % self.settings.recentre_steps == 0:
                self.memory.recentre()
            self.memory.repair()
