"""Losses: pure functions of tensors, one file per idea, usable alone."""

from __future__ import annotations

from fallow.losses.adaptive import (
    adaptive_barlow,
    bounded,
    hardest_contrast,
    omega,
    soft_contrast,
)
from fallow.losses.adversarial import toward
from fallow.losses.contrastive import (
    barlow,
    byol,
    cross_correlation,
    in_batch,
    info_nce,
    negative_cosine,
    nt_xent,
    nt_xent_hardest,
    nt_xent_views,
    supcon,
    symmetric_in_batch,
)
from fallow.losses.distillation import masked_distillation, self_distillation
from fallow.losses.prototypes import sinkhorn, swapped_prediction
from fallow.losses.sorting import group_ordering, soft_sort

__all__ = [
    "adaptive_barlow",
    "barlow",
    "bounded",
    "byol",
    "cross_correlation",
    "group_ordering",
    "hardest_contrast",
    "in_batch",
    "info_nce",
    "masked_distillation",
    "negative_cosine",
    "nt_xent",
    "nt_xent_hardest",
    "nt_xent_views",
    "omega",
    "self_distillation",
    "sinkhorn",
    "soft_contrast",
    "soft_sort",
    "supcon",
    "swapped_prediction",
    "symmetric_in_batch",
    "toward",
]
