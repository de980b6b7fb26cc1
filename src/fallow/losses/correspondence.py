"""Which point of one outline meets which of another, and which rows of a batch are neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.losses.precision import at_least_float32, without_autocast

NOWHERE = -1e9  # score of a point that is only padding
TINY = 1e-9


def padded(source: Tensor, target: Tensor, size: int) -> Tensor:
    """Cells (B n n) of which a row or a column is beyond its outline's length (B, B).

    >>> padded(torch.tensor([1]), torch.tensor([2]), 2).tolist()
    [[[False, False], [True, True]]]
    """
    places = torch.arange(size, device=source.device)
    return (places >= source[:, None])[:, :, None] | (places >= target[:, None])[:, None]


@without_autocast
def dual_softmax(
    source: Tensor, target: Tensor, temperature: float, padding: Tensor | None = None
) -> Tensor:
    """How sure two points are of each other: a softmax over rows times one over columns.

    `source` (B n C) and `target` (B m C) are taken as they are, not scaled to length 1.

    >>> dual_softmax(10 * torch.eye(2)[None], torch.eye(2)[None], 1.0).round(decimals=3)
    tensor([[[1., 0.],
             [0., 1.]]])
    """
    scores = at_least_float32(source) @ at_least_float32(target).mT / temperature  # B n m
    if padding is not None:
        scores = scores.masked_fill(padding, NOWHERE)
    return scores.softmax(1) * scores.softmax(2)


@without_autocast
def focal_correspondence(
    sure: Tensor,
    true: Tensor,
    padding: Tensor | None = None,
    alpha: float = 0.55,
    gamma: float = 8.0,
    scale: float = 400.0,
) -> tuple[Tensor, Tensor]:
    """The loss of certainties (B n m), and the mean of its terms at true pairs alone, unscaled.

    Cells that are right already hardly count. Without any true pair the second is 0.

    >>> loss, right = focal_correspondence(
    ...     torch.full((1, 1, 2), 0.5), torch.tensor([[[True, False]]])
    ... )
    >>> round(float(loss), 4), round(float(right), 6)
    (0.5415, 0.001489)
    """
    apart = ~true if padding is None else ~true & ~padding
    of_true = -alpha * (1 - sure) ** gamma * (sure + TINY).log()
    of_others = -(1 - alpha) * sure**gamma * (1 - sure + TINY).log()
    right = of_true[true]
    whole = torch.cat([right, of_others[apart]])
    mean = right.mean() if len(right) else right.sum()
    return scale * whole.mean(), mean


def neighbours(source: Tensor, target: Tensor) -> Tensor:
    """Which targets of a batch of pairs (names B, B) belong to any occurrence of a row's source.

    >>> neighbours(torch.tensor([0, 0, 1]), torch.tensor([5, 6, 5])).int().tolist()
    [[1, 1, 1], [1, 1, 1], [1, 0, 1]]
    """
    same = source[:, None] == source[None]  # B B
    alike = target[:, None] == target[None]
    return (same.to(torch.float32) @ alike.to(torch.float32)) > 0


@without_autocast
def several_positives(
    query: Tensor, key: Tensor, positive: Tensor, temperature: float = 0.12
) -> Tensor:
    """Each query (B D) must find any of its keys (B D): -log of the share they have together.

    >>> rows = torch.eye(3)
    >>> float(several_positives(rows, rows, torch.ones(3, 3, dtype=torch.bool)).abs() < 1e-6)
    1.0
    """
    query, key = (F.normalize(at_least_float32(x), dim=1, eps=1e-12) for x in (query, key))
    logits = query @ key.T / temperature
    own = logits.masked_fill(~positive, -torch.inf).logsumexp(1)
    return (logits.logsumexp(1) - own).mean()
