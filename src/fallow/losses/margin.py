"""Contrast with a moved decision boundary: the positive is handicapped, or helped, by a margin."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

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
