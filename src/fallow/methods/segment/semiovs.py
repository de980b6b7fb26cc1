"""SemiOVS: pictures from elsewhere, labelled once by somebody else, help to learn from few masks.

The base is UniMatch: what the student says of a weak view is what it must say of two strong views
and of its own features with channels dropped. Foreign pictures join as a third stream. Their
labels are made before training and are trusted whole, for the student's own labels of things it
was never shown are poor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fallow import distributed
from fallow.encoders import Encoder
from fallow.encoders.segmenter import Segmenter
from fallow.images import Images
from fallow.images.masks import IGNORE
from fallow.losses.confident import (
    confident_pixels,
    hard_pixels,
    mean_confidence,
    share_confident,
)
from fallow.losses.precision import at_least_float32
from fallow.losses.segmentation import masked_cross_entropy
from fallow.methods.shared.segment import SegmentMethod, SegmentSettings
from fallow.parts.copies import Copies
from fallow.parts.teacher import in_mode
from fallow.problems import SettingProblem
from fallow.train import Batch, Loss, Now
from fallow.train.schedules import there_and_back
from fallow.views import Recipe, inside, paired
from fallow.views.mixing import cutmix_boxes, paste

SHARES = (0.25, 0.25, 0.5)  # of the two strong views and of the dropped features
COUNTED: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "pixels": confident_pixels,
    "share": share_confident,
    "mean": mean_confidence,
}


@dataclass(frozen=True)
class Guess:
    """What pixels are thought to be, how surely, and which of them are no padding.  B H W each"""

    label: Tensor
    confidence: Tensor
    valid: Tensor

    def pasted(self, other: Guess, box: Tensor) -> Guess:
        """The other's inside the boxes, this one's outside."""
        return Guess(
            torch.where(box, other.label, self.label),
            torch.where(box, other.confidence, self.confidence),
            torch.where(box, other.valid, self.valid),
        )


def guess(logits: Tensor, valid: Tensor) -> Guess:
    """The most probable classes; nothing is learnt through them."""
    confidence, label = at_least_float32(logits.detach()).softmax(1).max(1)
    return Guess(label, confidence, valid)


def certain(labels: Tensor) -> Guess:
    """Given labels, trusted whole; padding and unknown pixels are left out."""
    valid = labels != IGNORE
    return Guess(torch.where(valid, labels, 0), torch.ones_like(labels, dtype=torch.float32), valid)


def pasted_views(
    foreign: Sequence[Tensor] | None,
    strong: Sequence[Tensor],
    mix: Sequence[Tensor],
    boxes: Sequence[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """Foreign and own strong views with boxes pasted in; both use the own images' boxes.

    Foreign views get the own ones as they were before these get the mix.
    """
    foreigners = [
        paste(one, own, box) for one, own, box in zip(foreign or (), strong, boxes, strict=False)
    ]
    return foreigners, [paste(*each) for each in zip(strong, mix, boxes, strict=True)]


def targets(base: Guess, other: Guess, boxes: Sequence[Tensor]) -> list[Guess]:
    """For the two strong views, with the other in their boxes, and for the dropped features."""
    return [base.pasted(other, boxes[0]), base.pasted(other, boxes[1]), base]


def judged(
    logits: Sequence[Tensor],
    wanted: Sequence[Guess],
    threshold: float,
    counted: Callable[[Tensor, Tensor, float], Tensor] = confident_pixels,
) -> list[Tensor]:
    """The three losses of a stream: strong, strong, dropped features."""
    return [
        masked_cross_entropy(
            one,
            torch.where(goal.valid, goal.label, IGNORE),
            counted(goal.confidence, goal.valid, threshold),
            over="valid",
        )
        for one, goal in zip(logits, wanted, strict=True)
    ]


def together(losses: Sequence[Tensor]) -> Tensor:
    """A stream's loss: a quarter for each strong view, half for the dropped features."""
    return sum((share * loss for share, loss in zip(SHARES, losses, strict=True)), 0 * losses[0])


def weighted(terms: Sequence[tuple[Tensor, float]]) -> Tensor:
    """The weighted mean of a step's terms."""
    total = sum((weight * term for term, weight in terms), 0 * terms[0][0])
    return total / sum(weight for _, weight in terms)


def agreement(logits: Sequence[Tensor], goals: Sequence[Guess]) -> Tensor:
    """Share of the valid pixels that a stream's predictions call as they are to be called."""
    right = [
        ((one.detach().argmax(1) == goal.label) & goal.valid).sum() / goal.valid.sum().clamp(min=1)
        for one, goal in zip(logits, goals, strict=True)
    ]
    return torch.stack(right).mean()


def drop_channels(features: Sequence[Tensor], share: float) -> list[Tensor]:
    """Features with some whole channels of the finest and of the deepest map set to 0."""
    last = len(features) - 1
    return [
        F.dropout2d(each, share) if place in (0, last) else each
        for place, each in enumerate(features)
    ]


def inside_of(batch: Batch) -> Tensor:
    """Which pixels of a batch's views show an image and not what lies beyond it.  B S S"""
    side = batch.views[0].shape[-1]
    return inside(batch.geometry[0], batch.sizes, side)


class Dropped(nn.Module):
    """A segmenter some of whose feature channels are missing, always the same ones."""

    def __init__(self, segmenter: Segmenter, share: float, seed: int = 0) -> None:
        super().__init__()
        self.segmenter, self.share, self.seed = segmenter, share, seed

    def forward(self, x: Tensor) -> Tensor:
        features = self.segmenter.features(x)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            kept = [
                F.dropout2d(torch.ones(1, features[at].shape[1], 1, 1), self.share)
                for at in (0, -1)
            ]
        for at, mask in zip((0, -1), kept, strict=True):
            features[at] = features[at] * mask.to(features[at])
        return self.segmenter.decode(features, x.shape[2:])


class SemiOVS(SegmentMethod):
    """Foreign pictures with labels from elsewhere, beside UniMatch (Shin et al. 2025)."""

    family = "consistency"
    predicts = "a weak view's labels from strong views and from features with dropped channels"

    copies: Copies | None
    agreed: Tensor
    best: Tensor
    validation: Tensor

    class Settings(SegmentSettings):
        turns: float = Field(0.0, ge=0, le=1, description="chance of a quarter turn of a view")
        threshold: float = Field(
            0.95, ge=0, le=1, description="confidence from which a pixel's own label counts"
        )
        counted: Literal["pixels", "share", "mean"] = Field(
            "pixels",
            description="confident pixels count; or all, by their image's share of confident "
            "ones, or by its mean confidence",
        )
        drop: float = Field(0.5, ge=0, lt=1, description="share of feature channels dropped")
        box: float = Field(0.5, ge=0, le=1, description="chance of a pasted box in a strong view")
        foreign_weight: float = Field(1.0, ge=0, description="of the foreign stream")
        foreign_labels: Literal["stored", "student"] = Field(
            "stored", description="student: the foreign images are labelled as it learns"
        )
        hard_pixels: int | None = Field(
            None, ge=1, description="masks teach only their hardest pixels, at least this many"
        )
        zoom: tuple[float, float] | None = Field(
            None, description="crops of the packed pixels scaled by this range; none: by area"
        )
        copies: int = Field(0, ge=0, description="earlier selves that also label (PrevMatch: 8)")
        speaking: int = Field(3, ge=1, description="of them speak in a step, at most")
        copies_threshold: float = Field(0.9, ge=0, le=1, description="confidence for their labels")
        copy_when: Literal["agreement", "validation", "always"] = Field(
            "agreement",
            description="a copy is kept after an epoch in which weak and strong views agreed "
            "better than ever, or the validation score was better than ever, or after each",
        )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "size": 321,
            "batch": 8,
            "epochs": 80,
            "zoom": (0.5, 2.0),
            "optimiser": "sgd",
            "learning_rate": 0.032,  # 0.001 at 8
            "schedule": "power",
            "weight_decay": 1e-4,
            "warmup": 0.0,
        },
    }
    # the authors keep copies by their validation score; nobody needs masks for agreement
    presets["paper-prevmatch"] = presets["paper"] | {"copies": 8, "copy_when": "validation"}

    def recipe(self) -> Mapping[str, Recipe]:
        s = self.settings
        pair = paired(s.size, 2, s.smallest, s.turns)
        if s.zoom is not None:
            pair = replace(pair, views=tuple(replace(view, zoom=s.zoom) for view in pair.views))
        alone = replace(pair, views=pair.views[:1])
        streams = {"unlabelled": pair, "labelled": alone, "mix": pair}
        return streams | ({"foreign": pair} if self.has_foreign else {})

    @property
    def has_foreign(self) -> bool:
        return "foreign" in self.facts.streams

    @classmethod
    def streams(
        cls,
        named: Mapping[str, Images],
        *,
        more: Any = None,
        labeller: Any = None,
        concepts: Any = None,
        classes: Any = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> dict[str, Images]:
        """The unlabelled images twice, and the foreign ones with their labels."""
        from fallow.methods.shared.foreign import foreign_images

        found = dict(named) | {"mix": named["unlabelled"]}
        if more is None and (labeller is not None or concepts is not None):
            raise SettingProblem(
                "a labeller and concepts are for foreign pictures: name their folder with more"
            )
        if more is not None:
            found["foreign"] = foreign_images(
                more, labeller=labeller, concepts=concepts, classes=classes, tell=tell
            )
        return found

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if self.dimensions != 2:
            raise SettingProblem("semiovs works on pictures, not on volumes: choose bcp or dsaif")
        self.student = Segmenter(encoder, s.classes)
        self.copies = Copies(self.student, s.copies) if s.copies else None
        # which epochs were worth a copy: agreement so far (sum, steps), best and last score
        self.register_buffer("agreed", torch.zeros(2))
        self.register_buffer("best", torch.tensor(-torch.inf))
        self.register_buffer("validation", torch.tensor(-torch.inf))
        self._of_step: list[Tensor] = []

    def predictor(self) -> nn.Module:
        return self.student

    def opinions(self) -> list[nn.Module]:
        return [self.student, Dropped(self.student, self.settings.drop)]

    def loss(self, batch: dict[str, Batch], now: Now) -> Loss:
        s, student = self.settings, self.student
        labelled, own, mix = (batch[name] for name in ("labelled", "unlabelled", "mix"))
        foreign = batch.get("foreign")
        weak, *strong = own.views
        mix_weak, *mix_strong = mix.views
        boxes = [
            cutmix_boxes(len(weak), weak.shape[2:], probability=s.box).to(weak.device)
            for _ in strong
        ]
        seen_own, seen_mix = inside_of(own), inside_of(mix)
        with torch.no_grad(), in_mode(student, False):
            mixed = guess(student(mix_weak), seen_mix)
        earlier = self._earlier(weak, mix_weak, seen_own, seen_mix)

        # forward: weak views with and without all their channels, then the pasted strong views
        plain, dropped = self._both(
            [labelled.views[0], weak, *([foreign.views[0]] if foreign else [])]
        )
        foreign_strong, strong = pasted_views(
            foreign.views[1:] if foreign else None, strong, mix_strong, boxes
        )
        seen = student(torch.cat([*strong, *foreign_strong])).split(len(weak))
        own_logits, foreign_logits = [*seen[:2], dropped[1]], [*seen[2:], *dropped[2:]]

        terms = [(self._supervised(plain[0], labelled.masks[0]), 1.0)]
        named = {"supervised": terms[0][0]}
        sure = guess(plain[1], seen_own)
        goals = targets(sure, mixed, boxes)
        counted = COUNTED[s.counted]
        terms.append((together(judged(own_logits, goals, s.threshold, counted)), 1.0))
        named["unlabelled"] = terms[-1][0]
        if earlier is not None and (weight := there_and_back(now.progress, 1.0)) > 0:
            theirs = targets(earlier[0], earlier[1], boxes)
            losses = judged(own_logits, theirs, s.copies_threshold, counted)
            terms.append((together(losses), weight))
            named["copies"] = terms[-1][0]
        if foreign is not None:
            known = self._foreign(foreign, plain[2])
            wanted = targets(known, sure, boxes)
            terms.append(
                (together(judged(foreign_logits, wanted, s.threshold, counted)), s.foreign_weight)
            )
            named["foreign"] = terms[-1][0]
        agreed = agreement(own_logits, goals)
        self._of_step.append(agreed)
        confident = confident_pixels(sure.confidence, sure.valid, s.threshold)
        return Loss(
            weighted(terms),
            parts={
                **{name: loss.detach() for name, loss in named.items()},
                "confident": confident.sum() / sure.valid.sum().clamp(min=1),
                "agreement": agreed,
            },
        )

    def _both(self, parts: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Logits of each part, from all channels and from what is left of them, decoded at once."""
        sizes = [len(part) for part in parts]
        x = torch.cat(list(parts))
        features = self.student.features(x)
        fewer = drop_channels(features, self.settings.drop)
        pairs = [torch.cat(pair) for pair in zip(features, fewer, strict=True)]
        plain, dropped = self.student.decode(pairs, x.shape[2:]).split(len(x))
        return plain.split(sizes), dropped.split(sizes)

    def _supervised(self, logits: Tensor, masks: Tensor) -> Tensor:
        if self.settings.hard_pixels is not None:
            return hard_pixels(logits, masks, least=self.settings.hard_pixels)
        return masked_cross_entropy(logits, masks, over="valid")

    def _foreign(self, foreign: Batch, logits: Tensor) -> Guess:
        """What the foreign images are to be: as stored, or (to compare) as the student says."""
        if self.settings.foreign_labels == "student":
            return guess(logits, inside_of(foreign))
        if not foreign.masks:
            raise SettingProblem(
                "the foreign images have no masks: label them first, or set foreign_labels to "
                "student"
            )
        return certain(foreign.masks[0])

    @torch.no_grad()
    def _earlier(
        self, weak: Tensor, mix_weak: Tensor, seen: Tensor, seen_mix: Tensor
    ) -> tuple[Guess, Guess] | None:
        """What some earlier selves say of the two weak batches."""
        if self.copies is None or not len(self.copies):
            return None
        which, weights = self.copies.draw(self.settings.speaking)
        with in_mode(self.copies, False):
            logits = self.copies.logits(torch.cat([weak, mix_weak]), which, weights)
        one, other = logits.split(len(weak))
        return guess(one, seen), guess(other, seen_mix)

    def told(self, score: float) -> None:
        """The validation score of the epoch that ends, for `copy_when: validation`."""
        self.validation.fill_(score)

    def begin_step(self, now: Now) -> None:
        self._of_step = []

    def after_step(self, now: Now) -> None:
        agreed = torch.stack(self._of_step).mean()
        self.agreed += torch.stack([agreed, torch.ones_like(agreed)])

    def before_epoch(self, now: Now, images: Images) -> None:
        if self.copies is None or now.epoch == 0:
            return
        if self.settings.copy_when == "validation":
            score = float(self.validation)
            if score == -math.inf:
                raise SettingProblem(
                    "copies are to be kept by the validation score, but nobody measured one: "
                    "set copy_when to agreement, which needs no masks"
                )
        else:
            score = distributed.mean(float(self.agreed[0] / self.agreed[1]))
        if self.settings.copy_when == "always" or score > float(self.best):
            self.copies.add(self.student)
            self.best.fill_(score)
        self.agreed.zero_()
