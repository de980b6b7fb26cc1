"""Learning from labels a model gave itself: which are sure enough, and what they cost."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


class Guess(NamedTuple):
    """Labels of a model's own, which entries are kept, and the share of those."""

    labels: Tensor  # B, or B T with NaN where a task is not sure
    kept: Tensor  # B
    share: Tensor


@torch.no_grad()
def sure_classes(logits: Tensor, threshold: float) -> Guess:
    """The most probable class (B, C), kept where it has at least `threshold` probability.

    >>> sure_classes(torch.tensor([[3.0, 0.0], [0.1, 0.0]]), 0.7)[:2]
    (tensor([0, 0]), tensor([ True, False]))
    """
    confidence, labels = at_least_float32(logits).softmax(1).max(1)
    kept = confidence >= threshold
    return Guess(labels, kept, kept.to(confidence.dtype).mean())


@torch.no_grad()
def sure_answers(logits: Tensor, threshold: float) -> Guess:
    """Yes or no to each of several questions (B, T), NaN where it is not sure.

    An entry is kept if one of its answers is; the share is that of answers.

    >>> sure_answers(torch.tensor([[3.0, 0.1], [0.1, 0.0]]), 0.7)[:2]
    (tensor([[1., nan],
            [nan, nan]]), tensor([ True, False]))
    """
    chance = at_least_float32(logits).sigmoid()
    sure = torch.maximum(chance, 1 - chance) >= threshold
    labels = (chance > 0.5).to(chance.dtype).masked_fill(~sure, torch.nan)
    return Guess(labels, sure.any(1), sure.to(chance.dtype).mean())


@without_autocast
def guessed_cross_entropy(logits: Tensor, guess: Guess) -> Tensor:
    """Cross-entropy (B, C) of what is kept, over the size of the batch: nothing kept costs 0.

    >>> logits = torch.zeros(2, 2)
    >>> guess = Guess(torch.tensor([0, 1]), torch.tensor([True, False]), torch.tensor(0.5))
    >>> round(float(guessed_cross_entropy(logits, guess)), 4)
    0.3466
    """
    each = F.cross_entropy(at_least_float32(logits), guess.labels, reduction="none")
    return torch.where(guess.kept, each, 0.0).sum() / max(1, len(each))
