"""What the next word should be."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast

IGNORED = -100


@without_autocast
def next_words(
    logits: Tensor,
    labels: Tensor,
    smoothing: float = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Cross-entropy of words (... V) with `smoothing` shared by all words but the right one.

    The right one keeps 1 - smoothing, each other gets smoothing / V; what is labelled -100 does
    not count. (PyTorch's own smoothing gives the right one its share, too.)

    >>> import torch
    >>> float(next_words(torch.zeros(1, 4), torch.tensor([2]))) == float(torch.tensor(4.0).log())
    True
    """
    scores = F.log_softmax(at_least_float32(logits).flatten(0, -2), 1)  # N V
    wanted = labels.flatten()
    known = wanted != IGNORED
    scores, wanted = scores[known], wanted[known]
    own = scores.gather(1, wanted[:, None])[:, 0]
    others = scores.sum(1) - own
    loss = -((1 - smoothing) * own + smoothing / scores.shape[1] * others).sum()
    return loss if reduction == "sum" else loss / max(len(wanted), 1)
