"""Losses: pure functions of tensors, one file per idea, usable alone."""

from __future__ import annotations

from fallow.losses.contrastive import (
    barlow,
    byol,
    in_batch,
    info_nce,
    negative_cosine,
    nt_xent,
    nt_xent_hardest,
    nt_xent_views,
    supcon,
    symmetric_in_batch,
)
from fallow.losses.prototypes import sinkhorn, swapped_prediction
from fallow.losses.sorting import group_ordering, soft_sort

__all__ = [
    "barlow",
    "byol",
    "group_ordering",
    "in_batch",
    "info_nce",
    "negative_cosine",
    "nt_xent",
    "nt_xent_hardest",
    "nt_xent_views",
    "sinkhorn",
    "soft_sort",
    "supcon",
    "swapped_prediction",
    "symmetric_in_batch",
]
