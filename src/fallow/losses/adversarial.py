"""Losses that pull a picture's features to where its content does not belong."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


@without_autocast
def toward(features: Tensor, target: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """KL of the features' softmax (B, D) from that of a target (D or B, D); a mean over pictures.

    The target is a constant. Nothing is scaled to length 1: raw features, as a network gives them.

    >>> import torch
    >>> float(toward(torch.ones(2, 3), torch.zeros(3)))
    0.0
    """
    features, target = at_least_float32(features), at_least_float32(target.detach())
    wanted = F.log_softmax(target / temperature, -1).expand_as(features)
    found = F.log_softmax(features / temperature, -1)
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True)
