"""Which slots of a bank an image is contrasted with: never one of the image's own cluster.

Every function takes similarities (B, N) of B images with N slots, the images' labels (B) and the
slots' labels (N), -1 for an empty slot. It returns slots (B, count) without repeats and which of
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
    found = similarity.masked_fill(~allowed, -torch.inf).topk(count, dim=1)
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
    pools = similarity.topk(pool, dim=1).indices  # B P
    allowed = (labels[pools] != own[:, None]) & (labels[pools] >= 0)
    short = (allowed.sum(1) < count).nonzero().flatten()
    if len(short):
        pools[short, :count], allowed[short, :count] = hard(
            similarity[short], own[short], labels, count
        )
        allowed[short, count:] = False
    chance = torch.rand(pools.shape, device=pools.device).masked_fill(~allowed, -1)
    drawn = chance.topk(count, dim=1)
    return pools.gather(1, drawn.indices), drawn.values >= 0


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


def anywhere(similarity: Tensor, own: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`count` slots at random from all other clusters.

    >>> slots, valid = anywhere(torch.zeros(1, 3), torch.tensor([1]), torch.tensor([0, 1, 1]), 2)
    >>> slots[valid].tolist(), valid.sum().item()
    ([0], 1)
    """
    return semi_hard(similarity, own, labels, len(labels), count)
