"""SimGCD: a classifier for known and new classes that teaches itself from two views."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fallow.distributed import from_first
from fallow.encoders import Encoder
from fallow.encoders.heads import mlp, prototypes
from fallow.inventory.discovered import Discovery, discovered
from fallow.inventory.semi import semi_kmeans
from fallow.losses.contrastive import nt_xent, supcon
from fallow.losses.distillation import neglect, self_distillation
from fallow.methods.discover import Discoverer
from fallow.methods.discover import Settings as BaseSettings
from fallow.parts.clusters import vectors
from fallow.parts.teacher import Centre
from fallow.problems import SettingProblem
from fallow.train import Batch, Loss, Now
from fallow.vectors.space import unit

if TYPE_CHECKING:
    from fallow.images import Images


class SimGCD(Discoverer):
    """Parametric classification for category discovery (Wen et al. 2023); the count is given."""

    predicts = "one view's class from the other view's, and the label where there is one"

    class Settings(BaseSettings):
        start: Literal["centres", "random"] = Field(
            "centres",
            description="prototypes at first; random (paper) finds nothing new in minutes",
        )
        even: float = Field(1.0, ge=0, description="weight of using all classes alike")
        sharpness: float = Field(0.1, gt=0, description="temperature of the classifier")
        first_teacher: float = Field(0.07, gt=0, description="the teacher's temperature at first")
        last_teacher: float = Field(0.04, gt=0, description="and after `sharpen` epochs")
        sharpen: int = Field(30, ge=1, description="epochs in which the teacher sharpens")

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "batch": 128,
            "epochs": 200,
            "warmup": 0.0,
            "learning_rate": 0.2,  # 0.1 at 128
            "final_rate": 1e-3,
            "weight_decay": 5e-5,
            "hidden": 2048,
            "start": "random",
            "last": 1,
        },
    }

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if s.classes is None or s.classes < max(2, self.facts.classes):
            raise SettingProblem(
                f"simgcd must be told how many classes there are, at least the "
                f"{self.facts.classes} labelled ones: set classes, or let gpc count them"
            )
        super().build(encoder)
        self.head = mlp([encoder.dimension, s.hidden, s.hidden, 256], activation="gelu")
        self.classifier = prototypes(encoder.dimension, s.classes)
        self.centre = Centre(encoder.dimension)

    def before_epoch(self, now: Now, images: Images) -> None:
        super().before_epoch(now, images)
        if now.step == 0 and self.settings.start == "centres":
            self.begin_at(*from_first(self.clustered(images)))

    def clustered(self, images: Images) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean of the images as they are seen now, centres (K F) around it, known classes."""
        seen = vectors(self, images)
        middle = seen.mean(0)
        count = int(self.classifier.out_features)  # type: ignore[arg-type]
        found = semi_kmeans(unit(seen - middle), self.known(images), count)
        return middle, found.centres, found.classes

    @torch.no_grad()
    def begin_at(self, middle: np.ndarray, centres: np.ndarray, classes: np.ndarray) -> None:
        """Known classes' prototypes at their centres, the others at those of new clusters."""
        self.centre.value.copy_(torch.from_numpy(middle))
        others = np.setdiff1d(np.arange(len(centres)), classes)
        rows = torch.from_numpy(unit(centres)[np.argsort(np.r_[classes, others])])
        directions = self.classifier.parametrizations.weight.original1  # type: ignore[union-attr, operator, index]
        directions.copy_(rows)  # type: ignore[operator]

    def scores(self, features: Tensor, middle: Tensor) -> Tensor:
        """Cosines with the classes' prototypes, seen from the middle."""  # B F -> B K
        return self.classifier(F.normalize(features - middle, dim=1))

    def loss(self, batch: Batch, now: Now) -> Loss:
        s = self.settings
        features = self.encoder(batch.groups[0])  # 2B F
        z, scores = self.head(features), self.scores(features, self.centre.value)
        if s.start == "centres":
            self.centre.see(features)
        names, known = batch.labels.repeat(2), (batch.labels >= 0).repeat(2)
        heat = teacher_temperature(now.epoch, s.first_teacher, s.last_teacher, s.sharpen)
        own = taught_by_itself(scores, heat, s.sharpness)
        spread = neglect(scores, s.sharpness)
        one, two = z.chunk(2)
        alone = nt_xent(one, two, s.temperature)
        together = supcon(z, names, s.class_temperature, used=known)
        told = F.cross_entropy(
            scores.float() / s.sharpness, names, ignore_index=-1, reduction="sum"
        )
        told = told / known.sum().clamp(min=1)
        free, taught = own + s.even * spread + alone, told + together
        return Loss(
            (1 - s.balance) * free + s.balance * taught,
            parts={
                "distillation": own.detach(),
                "uneven": spread.detach(),
                "views": alone.detach(),
                "labels": taught.detach(),
            },
            embedding=features[: len(batch)],
        )

    def after_step(self, now: Now) -> None:
        if self.settings.start == "centres":
            self.centre.move()

    def discover(self, seen: np.ndarray, known: np.ndarray, seed: int = 0) -> Discovery:
        """Sort images by the trained encoder's vectors (N F)."""
        device = next(self.classifier.parameters()).device
        with torch.no_grad():
            features = torch.from_numpy(seen).to(device)
            # the encoder's norms work otherwise than in training: the middle is where it is now
            moved = features.mean(0) if self.settings.start == "centres" else self.centre.value
            scores = self.scores(features, moved)
            chances = (scores / self.settings.sharpness).softmax(1).double().cpu().numpy()
        member = np.where(known >= 0, known, chances.argmax(1))
        used = len(np.unique(np.r_[np.arange(int(known.max()) + 1), member]))
        return discovered(unit(seen), member, int(known.max()) + 1, chances, [used])


def taught_by_itself(scores: Tensor, temperature: float, sharpness: float = 0.1) -> Tensor:
    """Each view's scores (2B, K) must give the other view's sharpened answer.

    >>> answer = torch.tensor([[1.0, 0.0]])
    >>> float(taught_by_itself(answer.repeat(2, 1), 0.04)) < 1e-4
    True
    """
    views = scores.float().chunk(2)
    answers = [(view.detach() / temperature).softmax(1) for view in views]
    return self_distillation(views, answers, sharpness)


def teacher_temperature(epoch: int, first: float, last: float, epochs: int) -> float:
    """Falls evenly over the first `epochs` epochs.

    >>> [round(teacher_temperature(epoch, 0.07, 0.04, 4), 3) for epoch in (0, 1, 3, 9)]
    [0.07, 0.06, 0.04, 0.04]
    """
    if epoch >= epochs - 1:
        return last
    return first + (last - first) * epoch / (epochs - 1)
