"""A thing must be nearer to what it belongs to than to something else, by a margin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.2) -> Tensor:
    """Mean of max(0, margin + distance to the positive - distance to the negative) of rows (B D).

    >>> rows = torch.eye(2)
    >>> round(float(triplet(rows, rows, rows.flip(0), margin=2.0)), 4)
    0.5858
    """
    return terms(anchor, positive, negative, margin).mean()


def terms(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.2) -> Tensor:
    """The same, row by row.  B"""
    anchor, positive, negative = (at_least_float32(x) for x in (anchor, positive, negative))
    near, far = F.pairwise_distance(anchor, positive), F.pairwise_distance(anchor, negative)
    return (margin + near - far).clamp(min=0)


@without_autocast
def triplet_among(
    anchor: Tensor,
    positive: Tensor,
    margin: float,
    own: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    """The same against all of a batch that is not one's own, a mean over those that come too near.

    Rows of equal `own` (B) belong together: none is pushed from another.

    >>> rows = torch.eye(3)
    >>> round(float(triplet_among(rows, rows.roll(1, 0), 0.2, torch.arange(3))), 3)
    0.907
    >>> float(triplet_among(rows, rows, 0.2, torch.arange(3)))
    0.0
    """
    anchor, positive = at_least_float32(anchor), at_least_float32(positive)
    far = distances(anchor, positive)
    found = (margin + far.diagonal()[:, None] - far).clamp(min=0)
    found = found * (own[:, None] != own[None])
    near = (found.detach() > 0).sum().clamp(min=1)
    return (found if weight is None else weight.detach()[:, None] * found).sum() / near


@without_autocast
def like_teacher(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """Half the squared distance of both sides' rows from a teacher's; a mean over rows.

    >>> rows = torch.eye(2)
    >>> float(like_teacher((rows, rows), (rows, rows.flip(0))))
    1.0
    """
    pairs = zip(student, teacher, strict=True)
    return sum(
        ((ours - theirs.detach()).square().sum(1).mean() / 2 for ours, theirs in pairs),
        student[0].new_zeros(()),
    )


@without_autocast
def distances_like_teacher(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]
) -> Tensor:
    """Squared difference of the distance of each pair and that a teacher has; a mean over pairs.

    >>> rows = torch.eye(2)
    >>> float(distances_like_teacher((rows, rows), (rows, rows)))
    0.0
    """
    ours, theirs = (
        F.pairwise_distance(at_least_float32(one), at_least_float32(other))
        for one, other in (student, teacher)
    )
    return (ours - theirs.detach()).square().mean()


def distances(one: Tensor, other: Tensor) -> Tensor:
    """Distances of all rows (N D) from all others (M D), as `triplet` takes them.  N M

    >>> distances(torch.eye(2), torch.eye(2)).round(decimals=3).tolist()
    [[0.0, 1.4140000343322754], [1.4140000343322754, 0.0]]
    """
    return torch.cdist(one + 1e-6, other, compute_mode="donot_use_mm_for_euclid_dist")
