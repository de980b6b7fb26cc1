"""Learning from labels a model gave itself: which are sure enough, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
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


@torch.no_grad()
def class_thresholds(
    probabilities: Iterable[Tensor], share: float = 0.2, every: int = 10, least: int = 5
) -> Tensor:
    """For each class the probability that a `share` of the places it wins reach.  B K *S each -> K

    Of the places a class wins in one batch every tenth is looked at; a class seen in fewer than
    `least` of them asks for certainty, so that a class hardly ever predicted is not believed.

    >>> maps = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]])[None]
    >>> class_thresholds([maps], share=0.5, every=1, least=4)
    tensor([0.8000, 1.0000])
    """
    seen: list[list[Tensor]] = []
    for batch in probabilities:
        best, winner = at_least_float32(batch).max(1)
        seen = seen or [[] for _ in range(batch.shape[1])]
        for code, held in enumerate(seen):
            held.append(best[winner == code][::every])
    found = []
    for held in seen:
        values = torch.cat(held).sort(descending=True).values
        enough = len(values) >= max(least, 1)
        last = max(1, int(share * len(values))) - 1
        found.append(values[last] if enough else values.new_ones(()))
    return torch.stack(found)


@torch.no_grad()
def relative_labels(probabilities: Tensor, thresholds: Tensor, ignore: int = 255) -> Tensor:
    """The class that exceeds its own threshold most, or `ignore` if none does.  B K *S -> B *S

    It need not be the most probable one.

    >>> maps = torch.tensor([[0.6, 0.5], [0.4, 0.5]])[None]
    >>> relative_labels(maps, torch.tensor([0.9, 0.4]))
    tensor([[1, 1]])
    """
    each = thresholds.to(probabilities).view(-1, *[1] * (probabilities.ndim - 2))
    best, label = (probabilities / each).max(1)
    return torch.where(best < 1, ignore, label)


@without_autocast
def relative_entropy_map(logits: Tensor) -> Tensor:
    """How undecided every place is: 0 if sure, 1 if all classes are alike.  B K *S -> B *S

    >>> relative_entropy_map(torch.zeros(1, 3, 2))
    tensor([[1., 1.]])
    """
    logs = F.log_softmax(at_least_float32(logits), 1)
    return -(logs.exp() * logs).sum(1) / math.log(logits.shape[1])
