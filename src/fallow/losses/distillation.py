"""Losses in which a student learns the answers of its own slowly following teacher.

Scores are those of prototypes. A teacher's answers are made without gradient: centred or balanced,
so that no prototype wins everywhere, and sharpened, so that not all of them draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.distributed import all_reduce_sum, gather_with_gradient, world_size
from fallow.losses.precision import at_least_float32, without_autocast
from fallow.losses.prototypes import sinkhorn, swapped_prediction


@torch.no_grad()
@without_autocast
def centred(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """DINO's teacher: probabilities of the scores (..., K) less their running mean (K).

    >>> centred(torch.ones(1, 2), torch.ones(2), 0.04)
    tensor([[0.5000, 0.5000]])
    """
    return F.softmax((at_least_float32(scores) - centre) / temperature, -1)


@torch.no_grad()
@without_autocast
def balanced(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """MSN's teacher: probabilities of the scores (B, K), then shared out evenly by Sinkhorn.

    Without iterations the prototypes are not balanced.

    >>> scores = torch.tensor([[1.0, 0.0], [1.0, 0.9]])
    >>> balanced(scores, 0.1, 0).argmax(1), balanced(scores, 0.1).argmax(1)
    (tensor([0, 0]), tensor([0, 1]))
    """
    log_shares = F.log_softmax(at_least_float32(scores) / temperature, 1)
    return sinkhorn(log_shares, 1.0, iterations) if iterations else log_shares.exp()


def self_distillation(
    student: Sequence[Tensor], teacher: Sequence[Tensor], temperature: float = 0.1
) -> Tensor:
    """DINO: every teacher view's answer (B, K) is given by the student in all other views.

    The teacher's views are the first of the student's. Mean over pairs of different views.

    >>> answer = torch.tensor([[1.0, 0.0]])
    >>> round(float(self_distillation([answer, answer], [answer, answer], 0.1)), 6)
    4.5e-05
    """
    return swapped_prediction(student, dict(enumerate(teacher)), temperature)


@without_autocast
def cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """-sum(teacher * log softmax(student / temperature)) over prototypes, one value per row.

    >>> round(float(cross_entropy(torch.zeros(1, 8), torch.full((1, 8), 0.125))), 4)  # ln 8
    2.0794
    """
    log_answers = F.log_softmax(at_least_float32(student) / temperature, -1)
    return -(teacher.detach() * log_answers).sum(-1)


def masked_distillation(
    student: Tensor, teacher: Tensor, mask: Tensor, temperature: float = 0.1
) -> Tensor:
    """iBOT: the student gives the teacher's answers for the patches it was not shown.

    `mask` (B, L) marks them; `student` and `teacher` (M, K) are what was said about those M
    patches alone. Mean over each image's own, then over images; an image without any counts 0.

    >>> mask = torch.tensor([[True, True, False], [False, False, False]])
    >>> scores, answers = torch.zeros(2, 8), torch.full((2, 8), 0.125)
    >>> round(float(masked_distillation(scores, answers, mask)), 4)  # half of ln 8
    1.0397
    """
    losses = cross_entropy(student, teacher, temperature)  # M
    shares = (1 / mask.sum(1, keepdim=True).clamp(min=1).to(losses.dtype)).expand(mask.shape)
    return (losses * shares[mask]).sum() / len(mask)


@without_autocast
def neglect(scores: Tensor, temperature: float = 0.1) -> Tensor:
    """MSN: ln K less the entropy of the mean answer of all ranks; 0 if all prototypes are used.

    >>> float(neglect(torch.eye(4)).abs() < 1e-6)
    1.0
    """
    # in logarithms throughout: a prototype that nobody uses must not become 0 * infinity
    log_answers = F.log_softmax(at_least_float32(scores) / temperature, -1)
    log_mean = log_answers.logsumexp(0, keepdim=True) - math.log(len(scores))
    log_mean = gather_with_gradient(log_mean).logsumexp(0) - math.log(world_size())
    return math.log(len(log_mean)) + (log_mean.exp() * log_mean).sum()


@without_autocast
def entropy(answers: Tensor) -> Tensor:
    """Mean entropy of probabilities (..., K); ln K if every prototype draws.

    >>> float(entropy(torch.eye(2))), round(float(entropy(torch.full((1, 8), 0.125))), 4)
    (0.0, 2.0794)
    """
    return torch.special.entr(at_least_float32(answers)).sum(-1).mean()


@torch.no_grad()
def silence(answers: Tensor) -> float:
    """Entropy of the answers (..., K) of all ranks, as a share of ln K: 1 says nothing.

    >>> silence(torch.eye(4)), round(silence(torch.full((2, 4), 0.25)), 4)
    (0.0, 1.0)
    """
    mean = all_reduce_sum(entropy(answers)) / world_size()
    return float(mean) / math.log(answers.shape[-1])
