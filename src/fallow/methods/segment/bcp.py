"""BCP: paste labelled and unlabelled pictures into each other, in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.segmenter import Segmenter
from fallow.losses.precision import at_least_float32
from fallow.losses.segmentation import dice_plain, dice_squared, masked_cross_entropy
from fallow.methods.shared.segment import SegmentMethod, SegmentSettings
from fallow.parts.components import largest_components
from fallow.parts.teacher import follow, follow_all_state, in_mode, twin
from fallow.train import Batch, Loss, Now
from fallow.views.mixing import block_mask, paste

Dice = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# Chosen by `recipes.begun` for encoders that know pictures; random ones learn as published.
KNOWING: dict[str, Any] = {"optimiser": "adamw", "learning_rate": 1e-3 * 256 / 8}
# They learn from few masks in some hundred steps, most of which a teacher that averages over a
# hundred would spend on what its student said in the first.
SHORT: dict[str, Any] = {"pretrain": 0.5, "teacher_memory": 1 / 8}


class BCP(SegmentMethod):
    """Bidirectional copy-paste between labelled and unlabelled images (Bai et al. 2023)."""

    family = "self-training"
    predicts = "masks of pictures half labelled, half unlabelled, from truth and a teacher's labels"

    class Settings(SegmentSettings):
        pretrain: float = Field(
            0.25, gt=0, le=1, description="share of the budget on labelled images only; 1: no more"
        )
        block: float = Field(2 / 3, gt=0, lt=1, description="side of the pasted block, of a view")
        pseudo_weight: float = Field(
            0.5, ge=0, description="weight of the teacher's labels; that of true ones is 1"
        )
        teacher_momentum: float = Field(0.99, ge=0, le=1)
        teacher_memory: float = Field(
            0.0,
            ge=0,
            lt=1,
            description="share of its steps so far that the teacher averages over, as long as that "
            "is less than teacher_momentum does; 0: teacher_momentum from the first, as published",
        )
        teacher_mode: Literal["train", "eval"] = Field(
            "train",
            description="train: the teacher labels with batch statistics and dropout, as published",
        )
        teacher_state: Literal["auto", "all", "parameters"] = Field(
            "auto", description="what is averaged; auto: all for pictures, parameters for volumes"
        )
        components: Literal["largest", "all"] = Field(
            "largest",
            description="keep the largest piece of each class in the teacher's labels, or all: "
            "largest suits one object a picture, all suits many",
        )
        connectivity: int | None = Field(
            None, description="neighbours of a pixel: 4, 8; of a voxel: 6, 18, 26; none: the most"
        )
        pasting: Literal["both", "inward", "outward", "off"] = Field(
            "both",
            description="inward: labelled onto unlabelled; outward: the reverse; off: a plain mean "
            "teacher",
        )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {  # ACDC, slices
            "size": 256,
            "smallest": 1.0,
            "batch": 12,
            "epochs": 390,  # 40,000 steps over 1,244 unlabelled slices
            "pretrain": 10 / 40,
            "learning_rate": 0.01 * 256 / 12,
            "final_rate": 1.0,
            "warmup": 0.0,
        },
        "paper-atrium": {
            "size": 112,
            "depth": 80,
            "batch": 4,
            "epochs": 890,  # 17,000 steps over 76 unlabelled volumes
            "pretrain": 2 / 17,
            "learning_rate": 0.01 * 256 / 4,
            "warmup": 0.0,
        },
        "paper-pancreas": {
            "size": 96,
            "depth": 96,
            "batch": 2,
            "epochs": 260,
            "pretrain": 60 / 260,
            "optimiser": "adamw",
            "learning_rate": 1e-3 * 256 / 2,
            "final_rate": 1.0,
            "warmup": 0.0,
            "connectivity": 18,
        },
    }

    started: Tensor  # whether the teacher has begun to teach

    @classmethod
    def suited(
        cls, given: Mapping[str, Any], masks: Sequence[np.ndarray], encoder: Encoder
    ) -> dict[str, Any]:
        """Without the component filter, too, where masks show many pieces of a class."""
        found: dict[str, Any] = {} if holds_together(masks) else {"components": "all"}
        if not encoder.random and not {"optimiser", "learning_rate"} & set(given):
            found |= KNOWING
        if not encoder.random and not {"pretrain", "teacher_momentum"} & set(given):
            found |= SHORT
        return super().suited(found | dict(given), masks, encoder)

    def build(self, encoder: Encoder) -> None:
        self.student = Segmenter(encoder, self.settings.classes)
        self.teacher = twin(self.student)
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.dice: Dice = dice_squared if self.dimensions == 2 else dice_plain

    def predictor(self) -> nn.Module:
        return self.student

    def opinions(self) -> list[nn.Module]:
        return [self.student, self.teacher]

    def begin_step(self, now: Now) -> None:
        if not self.started and now.progress >= self.settings.pretrain:
            self.teacher.load_state_dict(self.student.state_dict())
            self.started.fill_(True)

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        images, truth = (
            halves(x) for x in (batch["labelled"].views[0], batch["labelled"].masks[0])
        )
        mask = block_mask(self.window, self.settings.block, device=images[0].device)[None]
        if not self.started:
            return self.pretrained(images, truth, mask)
        free = halves(batch["unlabelled"].views[0])
        pseudo = [self.labels(view) for view in free]
        both = self.directions(images, truth, free, pseudo, mask)
        marked = torch.cat(pseudo) > 0
        return Loss(torch.stack(both).sum(), parts={"marked": marked.float().mean()})

    def pretrained(self, images: list[Tensor], truth: list[Tensor], mask: Tensor) -> Loss:
        """Stage 1: labelled pasted onto labelled."""
        if self.settings.pasting == "off":
            each = [
                supervised(self.student(x), y, self.dice)
                for x, y in zip(images, truth, strict=True)
            ]
            return Loss(torch.stack(each).mean())
        logits = self.student(paste(images[1], images[0], mask))
        if self.dimensions == 3:  # judged as a whole there
            return Loss(supervised(logits, paste(truth[1], truth[0], mask), self.dice))
        return Loss(mixed(logits, truth[0], truth[1], mask, (1.0, 1.0), self.dice))

    @torch.no_grad()
    def labels(self, images: Tensor) -> Tensor:
        """The teacher's hard labels, cleaned."""
        s = self.settings
        with in_mode(self.teacher, s.teacher_mode == "train"):
            found = hard_labels(self.teacher(images))
        if s.components == "all":
            return found
        return largest_components(found, connectivity=s.connectivity)

    def directions(
        self,
        images: Sequence[Tensor],
        truth: Sequence[Tensor],
        free: Sequence[Tensor],
        pseudo: Sequence[Tensor],
        mask: Tensor,
    ) -> list[Tensor]:
        """Stage 2: a loss for each mixed picture; the mask is 1 where the background stays."""
        s = self.settings
        less = s.pseudo_weight
        if s.pasting == "off":
            return [
                weight * supervised(self.student(x), y, self.dice)
                for group, labels, weight in ((images, truth, 1.0), (free, pseudo, less))
                for x, y in zip(group, labels, strict=True)
            ]
        found = []
        if s.pasting in ("both", "inward"):  # a labelled block on an unlabelled background
            logits = self.student(paste(images[0], free[0], mask))
            found.append(mixed(logits, pseudo[0], truth[0], mask, (less, 1.0), self.dice))
        if s.pasting in ("both", "outward"):  # an unlabelled block on a labelled background
            logits = self.student(paste(free[1], images[1], mask))
            found.append(mixed(logits, truth[1], pseudo[1], mask, (1.0, less), self.dice))
        return found

    def after_step(self, now: Now) -> None:
        s = self.settings
        if not self.started:
            return
        everything = s.teacher_state == "all" or (
            s.teacher_state == "auto" and self.dimensions == 2
        )
        move = follow_all_state if everything else follow
        move(self.teacher, self.student, self.momentum(now))

    def momentum(self, now: Now) -> float:
        """How slowly the teacher follows: a hundred steps are most of a short run."""
        s = self.settings
        if not s.teacher_memory:
            return float(s.teacher_momentum)
        taught = now.step * (1 - s.pretrain / max(now.progress, s.pretrain))
        return min(s.teacher_momentum, 1 - 1 / (1 + s.teacher_memory * taught))


def mixed(
    logits: Tensor,
    back: Tensor,
    fore: Tensor,
    mask: Tensor,
    weights: tuple[float, float],
    dice: Dice = dice_squared,
) -> Tensor:
    """Half of Dice plus cross-entropy of a mixed picture, each of both regions by its weight.

    The mask (B *S or 1 *S) is 1 where the background lies, whose target is `back`.

    >>> sure = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]])
    >>> target, mask = torch.tensor([[[0, 1]]]), torch.tensor([[[1, 0]]])
    >>> mixed(sure, target, target, mask, (1.0, 0.5)).item() < 0.5  # an absent class costs
    True
    """
    return sum(mixed_parts(logits, back, fore, mask, weights, dice)) / 2  # type: ignore[return-value]


def mixed_parts(
    logits: Tensor,
    back: Tensor,
    fore: Tensor,
    mask: Tensor,
    weights: tuple[float, float],
    dice: Dice = dice_squared,
) -> tuple[Tensor, Tensor]:
    """The Dice and the cross-entropy `mixed` is made of."""
    logits = at_least_float32(logits)
    probabilities = logits.softmax(1)
    outside = mask.expand(back.shape).to(logits.dtype)
    overlap = entropy = logits.new_zeros(())
    for target, region, weight in ((back, outside, weights[0]), (fore, 1 - outside, weights[1])):
        overlap = overlap + weight * dice(probabilities, target, region)
        entropy = entropy + weight * masked_cross_entropy(
            logits, target, region, over="weight", epsilon=1e-16
        )
    return overlap, entropy


def supervised(logits: Tensor, target: Tensor, dice: Dice = dice_squared) -> Tensor:
    """Half of Dice plus cross-entropy of a whole picture.

    >>> loss = supervised(torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [1, 0]]]))
    >>> round(loss.item(), 3)
    0.513
    """
    logits = at_least_float32(logits)
    entropy = masked_cross_entropy(logits, target, over="weight")
    return (dice(logits.softmax(1), target, None) + entropy) / 2


def hard_labels(logits: Tensor) -> Tensor:
    """The most probable class; of two, the second from a half on.

    >>> hard_labels(torch.zeros(1, 2, 1, 1)).item(), hard_labels(torch.zeros(1, 3, 1, 1)).item()
    (1, 0)
    """
    if logits.shape[1] == 2:
        return (logits.softmax(1)[:, 1] >= 0.5).long()
    return logits.argmax(1)


def halves(values: Tensor) -> list[Tensor]:
    """The two groups of a batch; of an odd one the middle is in neither, a single one in both.

    >>> [part.tolist() for part in halves(torch.arange(4))]
    [[0, 1], [2, 3]]
    """
    half = max(1, len(values) // 2)
    return [values[:half], values[-half:]]


def holds_together(masks: Sequence[np.ndarray], share: float = 0.9) -> bool:
    """Whether the largest piece of a class holds most of it, over some masks of class codes.

    >>> one = np.zeros((6, 6), np.uint8)
    >>> one[0:2, 1:3] = 1
    >>> holds_together([one]), holds_together([one + one[::-1]])
    (True, False)
    """
    kept = total = 0
    for mask in masks:
        known = np.where(mask == 255, 0, mask).astype(np.uint8)
        kept += int((largest_components(known[None])[0] > 0).sum())
        total += int((known > 0).sum())
    return kept >= share * total
