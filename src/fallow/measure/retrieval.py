"""Does the nearest picture show the same thing?

Without a gallery every row is looked for among all the others, never finding itself. Queries
labelled -1, or with no partner to find, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fallow.problems import Problem
from fallow.vectors.arrays import codes, similarity_blocks, unit_rows


def recall_at_k(
    features: Any,
    labels: Any,
    ks: Sequence[int] = (1, 5, 10),
    *,
    gallery: Any = None,
    gallery_labels: Any = None,
) -> dict[int, float]:
    """Share of queries with at least one partner among their k nearest, by cosine.

    >>> recall_at_k([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.9, 0.2]], [0, 0, 1, 1], ks=(1, 3))
    {1: 0.75, 3: 1.0}
    """
    found = np.zeros((len(labels), len(ks)), dtype=bool)
    able = np.zeros(len(labels), dtype=bool)
    for part, similarity, partner in _blocks(features, labels, gallery, gallery_labels):
        nearest = similarity.topk(min(max(ks), similarity.shape[1]), dim=1).indices
        hit = partner.gather(1, nearest)
        for column, k in enumerate(ks):
            found[part, column] = hit[:, :k].any(1).cpu().numpy()
        able[part] = partner.any(1).cpu().numpy()
    shares = found[_some(able)].mean(0)
    return {k: float(share) for k, share in zip(ks, shares, strict=True)}


def mean_average_precision(
    features: Any,
    labels: Any,
    *,
    gallery: Any = None,
    gallery_labels: Any = None,
    first: int | None = None,
) -> float:
    """Mean over queries of the average precision of the whole ranking, by cosine.

    With `first`, of so many places only: of the partners found there, 0 where there are none.

    >>> features = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.9, 0.2]]
    >>> round(mean_average_precision(features, [0, 0, 1, 1]), 4)
    0.8333
    """
    precisions = np.zeros(len(labels))
    able = np.zeros(len(labels), dtype=bool)
    for part, similarity, partner in _blocks(features, labels, gallery, gallery_labels):
        order = similarity.argsort(dim=1, descending=True, stable=True)
        hit = partner.gather(1, order[:, :first]).double()
        places = torch.arange(1, hit.shape[1] + 1, device=hit.device)
        precision = (hit.cumsum(1) / places * hit).sum(1) / hit.sum(1).clamp(min=1)
        precisions[part] = precision.cpu().numpy()
        able[part] = partner.any(1).cpu().numpy()
    return float(precisions[_some(able)].mean())


def _blocks(
    features: Any, labels: Any, gallery: Any, gallery_labels: Any
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Runs of queries, their similarities (q, N), and which of the rows are partners."""
    queries = unit_rows(features)
    names = codes(labels, len(queries)).to(queries.device)
    bank = queries if gallery is None else unit_rows(gallery).to(queries.device)
    bank_names = names if gallery is None else codes(gallery_labels, len(bank)).to(bank.device)
    for part, similarity in similarity_blocks(queries, bank):
        partner = (names[part, None] == bank_names[None]) & (names[part, None] >= 0)
        if gallery is None:
            itself = torch.arange(part.start, part.stop, device=queries.device)[:, None]
            similarity.scatter_(1, itself, -torch.inf)
            partner.scatter_(1, itself, False)
        yield part, similarity, partner


def _some(able: np.ndarray) -> np.ndarray:
    if not able.any():
        raise Problem("retrieval needs at least two rows with the same label.")
    return able
