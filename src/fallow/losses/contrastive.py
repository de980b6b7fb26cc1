"""Losses that pull two views of an image together and push other images away.

Several ranks: each rank passes its own rows, the rows of the others are gathered inside, and the
loss is the mean over the rank's own rows. The mean of the ranks' losses is then the loss of one
process on the concatenated batch, and parameter gradients averaged over ranks (as DDP does) equal
that process's gradients; every rank must bring the same number of rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.distributed import (
    all_reduce_sum,
    gather,
    gather_with_gradient,
    rank,
    world_size,
)
from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.5, *, normalise: bool = True) -> Tensor:
    """SimCLR: each of the 2B rows must find its partner among all others; mean over rows.

    (Google's own code returns the sum of the two directions, which is twice this.)

    >>> z = torch.eye(4)
    >>> round(float(nt_xent(z, z, 0.1)), 4)
    0.0003
    >>> float(nt_xent(z[:1], z[1:2], 0.1))
    0.0
    """
    z1, z2 = _rows(z1, normalise), _rows(z2, normalise)  # B D
    own = torch.cat([z1, z2])  # 2b D
    everyone = torch.cat([gather_with_gradient(z1), gather_with_gradient(z2)])  # 2B D
    here = torch.arange(len(z1), device=z1.device) + rank() * len(z1)
    there = here + len(everyone) // 2
    logits = own @ everyone.T / temperature  # 2b 2B
    itself = F.one_hot(torch.cat([here, there]), len(everyone)).bool()
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), torch.cat([there, here]))


@without_autocast
def nt_xent_views(views: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent for V views (V, B, D): each ordered pair of views of an image is one term.

    A term's denominator holds its pair and all views of all other images; mean over terms.

    >>> z = torch.eye(4)
    >>> bool(nt_xent_views(torch.stack([z, z]), 1.0).isclose(nt_xent(z, z, 1.0)))
    True
    """
    views = F.normalize(at_least_float32(views), dim=2, eps=1e-12)
    count, batch = views.shape[:2]
    own = views.flatten(0, 1)  # Vb D
    everyone = torch.cat([gather_with_gradient(view) for view in views])  # VB D
    logits = own @ everyone.T / temperature  # Vb VB
    here = (torch.arange(batch, device=views.device) + rank() * batch).repeat(count)
    names = torch.arange(len(everyone) // count, device=views.device).repeat(count)
    related = here[:, None] == names[None]  # V per row: itself and the image's other views
    others = logits.masked_fill(related, -torch.inf).logsumexp(1, keepdim=True)  # Vb 1
    itself = torch.eye(count, device=views.device).bool().repeat_interleave(batch, 0)  # Vb V
    same_image = logits[related].view(-1, count)[~itself].view(-1, count - 1)
    return F.softplus(others - same_image).mean()  # -log of e^pair / (e^pair + e^others)


@without_autocast
def nt_xent_hardest(views: Tensor, temperature: float = 0.5, negatives: int = 10) -> Tensor:
    """NT-Xent of views (V, B, D) against the `negatives` nearest views of other images only.

    The side that is compared with receives no gradient. GroCo's baseline: its groups and its
    gradients, with a softmax in place of the sorting.

    >>> z = torch.eye(4)
    >>> full = nt_xent(z, z, 0.5)  # six negatives: none is left out
    >>> bool(nt_xent_hardest(torch.stack([z, z]), 0.5, negatives=6).isclose(full))
    True
    """
    views = F.normalize(at_least_float32(views), dim=2, eps=1e-12)
    count, batch = views.shape[:2]
    fixed = views.detach()
    everyone = gather(fixed.transpose(0, 1).contiguous()).flatten(0, 1)  # image after image
    first = (torch.arange(batch, device=views.device) + rank() * batch) * count
    related = first[:, None] + torch.arange(count, device=views.device)  # B V
    terms = []
    for anchor, view in enumerate(views):
        cosines = (view @ everyone.T).scatter(1, related, -torch.inf)  # B VB
        hardest = cosines.topk(negatives, 1).values
        for other in range(count):
            if other != anchor:
                own = (view * fixed[other]).sum(1, keepdim=True)
                logits = torch.cat([own, hardest], 1) / temperature
                target = torch.zeros(batch, dtype=torch.long, device=views.device)
                terms.append(F.cross_entropy(logits, target))
    return torch.stack(terms).mean()


@without_autocast
def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.2) -> Tensor:
    """MoCo: the query must find its own key among the queue's; mean over B.

    `queue` (L, D) holds unit rows and, like `key`, receives no gradient.

    >>> q = torch.eye(4)[:2]
    >>> round(float(info_nce(q, q, torch.eye(4)[2:], 0.2)), 4)
    0.0134
    """
    logits = queue_logits(query, key, queue, temperature)
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


@without_autocast
def queue_logits(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.2) -> Tensor:
    """Cosines over the temperature: of each query and its own key, then of it and the queue's.

    >>> q = torch.eye(2)
    >>> queue_logits(q, q, q, 1.0).tolist()
    [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    query, key = _rows(query), _rows(key).detach()  # B D
    own = (query * key).sum(1, keepdim=True)  # B 1
    others = query @ at_least_float32(queue).detach().to(query.dtype).T  # B L
    return torch.cat([own, others], 1) / temperature


@without_autocast
def in_batch(query: Tensor, key: Tensor, temperature: float = 0.2) -> Tensor:
    """MoCo v3, one direction: own key against the batch's keys, times twice the temperature.

    >>> round(float(in_batch(torch.eye(4), torch.eye(4), 1.0)), 4)
    1.4873
    """
    query, key = _rows(query), gather(_rows(key))
    target = torch.arange(len(query), device=query.device) + rank() * len(query)
    return 2 * temperature * F.cross_entropy(query @ key.T / temperature, target)


def symmetric_in_batch(
    query1: Tensor, query2: Tensor, key1: Tensor, key2: Tensor, temperature: float = 0.2
) -> Tensor:
    """MoCo v3: each view's query against the other view's keys; the two directions are summed.

    >>> round(float(symmetric_in_batch(*[torch.eye(4)] * 4, temperature=1.0)), 4)
    2.9747
    """
    return in_batch(query1, key2, temperature) + in_batch(query2, key1, temperature)


@without_autocast
def supcon(
    z: Tensor, labels: Tensor, temperature: float = 0.1, used: Tensor | None = None
) -> Tensor:
    """Supervised contrast: every row must find all rows of its label; mean over anchors.

    `z` (N, D) holds all views of all images, `labels` (N,) one label per row. Rows that are
    alone with their label are nobody's anchor; without any pair the loss is 0. Rows that are not
    `used` (N,) do not count at all, not even as something to be pushed away.

    >>> z, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
    >>> bool(supcon(z, labels, 0.5).isclose(nt_xent(z[:2], z[2:], 0.5)))
    True
    """
    z = _rows(z)
    everyone, names = gather_with_gradient(z), gather(labels)  # N D, N
    here = torch.arange(len(z), device=z.device) + rank() * len(z)
    apart = ~F.one_hot(here, len(everyone)).bool()  # n N
    positive = (labels[:, None] == names[None]) & apart
    if used is not None:
        apart = apart & gather(used)[None]
        positive = positive & apart & used[:, None]
    # not minus infinity: a row may have nothing left, and must still have a gradient
    logits = (z @ everyone.T / temperature).masked_fill(~apart, -1e30)
    surprise = logits.logsumexp(1, keepdim=True) - logits.masked_fill(~apart, 0)
    pairs = positive.sum(1)
    per_anchor = surprise.masked_fill(~positive, 0).sum(1) / pairs.clamp(min=1)
    anchors = all_reduce_sum((pairs > 0).sum()).clamp(min=1)
    return per_anchor.sum() * world_size() / anchors


@without_autocast
def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """SimSiam: minus the mean cosine; the target receives no gradient.

    >>> float(negative_cosine(torch.eye(2), 2 * torch.eye(2)))
    -1.0
    """
    return -(_rows(prediction) * _rows(target).detach()).sum(1).mean()


def byol(prediction: Tensor, target: Tensor) -> Tensor:
    """BYOL: mean squared distance of unit rows, 2 - 2 cos; the target receives no gradient.

    >>> float(byol(torch.eye(2), torch.eye(2).flip(0)))
    2.0
    """
    return 2 + 2 * negative_cosine(prediction, target)


@without_autocast
def barlow(z1: Tensor, z2: Tensor, off_diagonal: float = 0.0051) -> Tensor:
    """Barlow Twins: the cross-correlation of two views should be the identity.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> float(barlow(z, z)) < 1e-6
    True
    """
    correlation = cross_correlation(z1, z2)
    diagonal = correlation.diagonal()
    rest = correlation.square().sum() - diagonal.square().sum()
    return (diagonal - 1).square().sum() + off_diagonal * rest


@without_autocast
def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """Correlation (D, D) of every dimension of one view with every one of the other.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> (cross_correlation(z, -z).round() + 0.0).tolist()
    [[-1.0, 0.0], [0.0, -1.0]]
    """
    z1, z2 = (_standardised(gather_with_gradient(at_least_float32(z))) for z in (z1, z2))  # B D
    return z1.T @ z2 / len(z1)


def _rows(z: Tensor, normalise: bool = True) -> Tensor:
    z = at_least_float32(z)
    return F.normalize(z, dim=1, eps=1e-12) if normalise else z


def _standardised(z: Tensor) -> Tensor:
    return (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()
