"""Which slots of a bank an image is contrasted with: never one of the image's own cluster.

The functions take similarities (B, N) of B images with N slots, the images' labels (B) and the
slots' labels (N), -1 for an empty slot. They return slots (B, count) without repeats and which of
them count: where a bank has too few slots of other clusters, the rest of a row is not valid.
"""

from __future__ import annotations

import torch
from torch import Tensor


def hard(similarity: Tensor, own: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` most similar slots of other clusters.

    >>> slots, valid = hard(
    ...     torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([0]), torch.tensor([0, 1, 1]), 1
    ... )
    >>> slots.tolist(), valid.tolist()
    ([[1]], [[True]])
    """
    allowed = (labels != own[:, None]) & (labels >= 0)  # B N
    count = min(count, len(labels))
    found = similarity.masked_fill(~allowed, -torch.inf).topk(count, sorted=False)
    return found.indices, found.values > -torch.inf


def semi_hard(
    similarity: Tensor, own: Tensor, labels: Tensor, pool: int, count: int
) -> tuple[Tensor, Tensor]:
    """`count` slots at random from the `pool` most similar, those of the own cluster left out.

    Where the pool holds fewer than `count` others it grows to the next most similar ones, so a
    pool full of the image's own cluster is no trap.

    >>> slots, valid = semi_hard(
    ...     torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([0]), torch.tensor([0, 1, 1]), 2, 1
    ... )
    >>> slots.tolist(), valid.tolist()
    ([[1]], [[True]])
    """
    pool = min(pool, len(labels))
    count = min(count, pool)
    pools = similarity.topk(pool, sorted=False).indices  # B P
    allowed = (labels[pools] != own[:, None]) & (labels[pools] >= 0)
    short = (allowed.sum(1) < count).nonzero().flatten()
    if len(short):
        pools[short, :count], allowed[short, :count] = hard(
            similarity[short], own[short], labels, count
        )
        allowed[short, count:] = False
    drawn, valid = _some(allowed, count)
    return pools.gather(1, drawn), valid


def semi_easy(
    similarity: Tensor, own: Tensor, labels: Tensor, pool: int, count: int
) -> tuple[Tensor, Tensor]:
    """`semi_hard` among the least similar slots.

    >>> slots, valid = semi_easy(
    ...     torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([1]), torch.tensor([0, 0, 1]), 2, 1
    ... )
    >>> slots.tolist(), valid.tolist()
    ([[1]], [[True]])
    """
    return semi_hard(-similarity, own, labels, pool, count)


def anywhere(own: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`count` slots at random from all other clusters.

    >>> slots, valid = anywhere(torch.tensor([1]), torch.tensor([0, 1, 1]), 2)
    >>> slots[valid].tolist(), valid.sum().item()
    ([0], 1)
    """
    return _some((labels != own[:, None]) & (labels >= 0), min(count, len(labels)))


def _some(allowed: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Random columns (B, count) of the allowed ones, and which columns are."""
    chance = torch.rand(allowed.shape, device=allowed.device).masked_fill(~allowed, -1)
    drawn = chance.topk(count, sorted=False)
    return drawn.indices, drawn.values >= 0
