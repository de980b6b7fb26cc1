"""Hard choices that gradients pass through."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def chosen_rows(logits: Tensor, table: Tensor) -> Tensor:
    """The row of a table (V D) with the highest logit (... V), as if it had been mixed by softmax.

    Forward takes the likeliest alone; backward copies the gradient of that choice to the
    probabilities, so it reaches logits and table (the straight-through estimator).

    >>> chosen_rows(torch.tensor([[0.0, 5.0]]), torch.tensor([[1.0], [7.0]]))
    tensor([[7.]])
    """
    chances = logits.softmax(-1)
    hard = F.one_hot(logits.argmax(-1), logits.shape[-1]).to(chances.dtype)
    return (hard - chances.detach() + chances) @ table


def masked_cross_entropy(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy (B L V) of the masked tokens alone, mean over them; 0 where none is masked."""
    count = mask.sum()
    picked = logits[mask].float() if logits.dtype in (torch.bfloat16, torch.half) else logits[mask]
    total = F.cross_entropy(picked, ids[mask], reduction="sum")
    return total / count.clamp_min(1)
