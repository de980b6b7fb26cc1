"""Moved decision boundaries: the positive is handicapped, or helped, by a margin."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.distributed import gather, gather_with_gradient
from fallow.losses.precision import at_least_float32, without_autocast


def arc_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(angle + margin), continued by a line where the sum would leave 0 ... pi.

    A negative margin raises the cosine, a positive one lowers it; so do the lines.

    >>> arc_margin(torch.tensor([0.0, 1.0]), -0.5)
    tensor([0.4794, 1.2397])
    """
    sine = (1 - cosine.square()).clamp(1e-12, 1).sqrt()
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    if margin < 0:
        return torch.where(cosine < math.cos(margin), moved, cosine + margin * math.sin(margin))
    return torch.where(cosine > -math.cos(margin), moved, cosine - margin * math.sin(margin))


@without_autocast
def margin_nce(
    query: Tensor,
    positive: Tensor,
    negatives: Tensor,
    temperature: float = 0.2,
    *,
    margin: float = 0.0,
    arc: float = 0.0,
    valid: Tensor | None = None,
) -> Tensor:
    """Each query (B, D) must find its positive (B, D) among negatives; mean over B.

    `negatives` are unit rows, (L, D) for all or (B, M, D) for each; `valid` (B, M) leaves some
    out, and a query without any has loss 0. `margin` is subtracted from the positive cosine,
    `arc` added to its angle: negative values loosen the boundary. Gradient flows to the query.

    >>> q, others = torch.eye(4)[:2], torch.eye(4)[2:]
    >>> round(float(margin_nce(q, q, others, 0.2)), 4)
    0.0134
    >>> bool(margin_nce(q, q, others, margin=-0.5) < margin_nce(q, q, others))
    True
    """
    query = F.normalize(at_least_float32(query), dim=1, eps=1e-12)
    positive = F.normalize(positive.detach().to(query.dtype), dim=1, eps=1e-12)
    negatives = negatives.detach().to(query.dtype)
    own = (query * positive).sum(1)  # B
    own = arc_margin(own, arc) if arc else own
    if negatives.dim() == 2:
        others = query @ negatives.T  # B L
    else:
        others = (negatives @ query[:, :, None]).squeeze(2)  # B M
    if valid is not None:
        others = others.masked_fill(~valid, -torch.inf)
    logits = torch.cat([(own - margin)[:, None], others], 1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


@without_autocast
def cosines(features: Tensor, centres: Tensor) -> Tensor:
    """How near each row (B D) is to the centre of each class (C D), from -1 to 1.  B C"""
    rows, centres = (
        F.normalize(at_least_float32(x), dim=1, eps=1e-12) for x in (features, centres)
    )
    return rows @ centres.T


def own_moved(cosine: Tensor, labels: Tensor, moved: Tensor) -> Tensor:
    """Cosines (B C) where each row's own class has `moved` (B) instead."""
    return cosine.scatter(1, labels[:, None], moved[:, None].to(cosine.dtype))


def additive_margin(cosine: Tensor, labels: Tensor, margin: float) -> Tensor:
    """CosFace: the own class must win by `margin`.

    >>> additive_margin(torch.tensor([[0.9, 0.1]]), torch.tensor([0]), 0.5)
    tensor([[0.4000, 0.1000]])
    """
    return own_moved(cosine, labels, _own(cosine, labels) - margin)


def angular_margin(cosine: Tensor, labels: Tensor, margin: float) -> Tensor:
    """ArcFace as published: the own class must win although `margin` is added to its angle.

    A row nearly opposite to its class (beyond pi - margin) is drawn the wrong way; no trained
    network puts one there.
    """
    angle = _own(cosine, labels).clamp(-1 + 1e-7, 1 - 1e-7).acos()
    return own_moved(cosine, labels, (angle + margin).cos())


def longer_is_harder(
    cosine: Tensor,
    labels: Tensor,
    lengths: Tensor,
    margins: tuple[float, float] = (0.45, 0.8),
    bounds: tuple[float, float] = (10.0, 110.0),
) -> tuple[Tensor, Tensor]:
    """MagFace: the margin grows with the length of a row (B), which comes to say how clear it is.

    The moved cosines, and the mean term that asks for length; rows beyond a right angle from
    their class keep their cosine.
    """
    low, high = bounds
    lengths = lengths.clamp(low, high)
    margin = margins[0] + (margins[1] - margins[0]) * (lengths - low) / (high - low)
    own = _own(cosine, labels)
    moved = (own.clamp(-1 + 1e-7, 1 - 1e-7).acos() + margin).cos()
    asked = (lengths / high**2 + 1 / lengths).mean()
    return own_moved(cosine, labels, torch.where(own > 0, moved, own)), asked


def _own(cosine: Tensor, labels: Tensor) -> Tensor:
    return cosine.gather(1, labels[:, None])[:, 0]


@without_autocast
def pair_similarities(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of all pairs of rows, of one label and of two, over the batches of all ranks.

    Both members of a pair receive gradient; rows with a label below 0 take no part.

    >>> same, other = pair_similarities(torch.eye(3)[[0, 0, 1]], torch.tensor([5, 5, 7]))
    >>> same.tolist(), other.tolist()
    ([1.0], [0.0, 0.0])
    """
    rows = gather_with_gradient(F.normalize(at_least_float32(features), dim=1, eps=1e-12))
    names = gather(labels)
    one, two = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
    similarity = (rows @ rows.T)[one, two]
    known, alike = (names[one] >= 0) & (names[two] >= 0), names[one] == names[two]
    return similarity[known & alike], similarity[known & ~alike]


@without_autocast
def unified(margined: Tensor, labels: Tensor, negatives: Tensor, scale: float) -> Tensor:
    """Cross-entropy where every row's class must beat all others and all negative pairs.

    `margined` (B C) are cosines after the margin, `negatives` the log of the sum of exp(scale ·
    cosine) over the pairs of two classes (see `negative_mass`), which is the same for all rows:
    one softmax over the classes and the pairs. Mean over rows; 0 where there is none.

    >>> margined, labels = torch.tensor([[0.5, 0.1]]), torch.tensor([0])
    >>> pair, none = 10 * torch.tensor(0.1), torch.tensor(-torch.inf)
    >>> [round(float(unified(margined, labels, mass, 10.0)), 4) for mass in (pair, none)]
    [0.036, 0.0181]
    """
    logits = scale * at_least_float32(margined)
    everything = torch.logaddexp(logits.logsumexp(1), negatives.to(logits))
    return (everything - _own(logits, labels)).sum() / max(len(labels), 1)
