"""Losses: pure functions of tensors, one file per idea, usable alone."""

from __future__ import annotations

from fallow.losses.contrastive import (
    barlow,
    byol,
    in_batch,
    info_nce,
    negative_cosine,
    nt_xent,
    nt_xent_views,
    supcon,
    symmetric_in_batch,
)
from fallow.losses.distillation import masked_distillation, self_distillation
from fallow.losses.prototypes import sinkhorn, swapped_prediction

__all__ = [
    "barlow",
    "byol",
    "in_batch",
    "info_nce",
    "masked_distillation",
    "negative_cosine",
    "nt_xent",
    "nt_xent_views",
    "self_distillation",
    "sinkhorn",
    "supcon",
    "swapped_prediction",
    "symmetric_in_batch",
]
