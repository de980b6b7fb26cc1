"""Many tokens written at once, the surest first (MaskGIT's decoding)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["cosine", "uniform", "power", "log", "exp"]
LEAST = 1e-6


def left_masked(ratio: float, schedule: Schedule = "cosine", count: int = 256) -> float:
    """Which share of tokens is still masked when a share `ratio` of the steps is done.

    >>> [round(left_masked(ratio), 3) for ratio in (0.0, 0.5, 1.0)]
    [1.0, 0.707, 0.0]
    """
    ways: dict[Schedule, Callable[[], float]] = {
        "cosine": lambda: math.cos(math.pi / 2 * ratio),
        "uniform": lambda: 1 - ratio,
        "power": lambda: 1 - ratio**2.5,
        "log": lambda: -math.log2(ratio) / math.log2(count) if ratio > 0 else 1.0,
        "exp": lambda: 1 - 2 ** (-math.log2(count) * (1 - ratio)),
    }
    return min(1.0, max(LEAST, ways[schedule]()))


def least_sure(confidence: Tensor, count: Tensor) -> Tensor:
    """The `count` (B) entries of each row (B L) with the lowest confidence, and no more.

    >>> least_sure(torch.tensor([[0.5, 0.1, 0.1, 0.9]]), torch.tensor([2]))
    tensor([[False,  True,  True, False]])
    """
    ranks = confidence.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return ranks < count[:, None]


@torch.no_grad()
def written(
    predict: Callable[[Tensor, Tensor], Tensor],
    ids: Tensor,
    unknown: Tensor,
    steps: int,
    *,
    schedule: Schedule = "cosine",
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    seen: Callable[[Tensor], None] = lambda ids: None,
) -> Tensor:
    """Fill in unknown tokens (B L) in some steps; known ones stay.

    `predict` gives logits (B L V) for ids and a mask of what is unknown. In every step all are
    predicted, and all but the surest are forgotten again, as many as the schedule says: of those
    unknown at the start, one at least, and one fewer than before. With a `temperature` tokens are
    drawn, and the choice is loosened by noise that fades; without, the likeliest are taken.
    `seen` gets the ids of every step, before any are forgotten.
    """
    first = unknown.sum(1)
    ids = ids.clone()
    for step in range(1, steps + 1):
        logits = predict(ids, unknown)
        chances = logits.double().softmax(2)
        drawn = logits.argmax(2) if temperature == 0 else _drawn(chances, generator)
        ids = torch.where(unknown, drawn.to(ids.dtype), ids)
        seen(ids)
        if step == steps:
            break
        confidence = chances.gather(2, drawn[..., None])[..., 0].clamp_min(1e-30).log()
        if temperature:
            noise = -(-torch.rand(ids.shape, generator=generator).clamp(1e-9, 1 - 1e-9).log()).log()
            confidence = confidence + temperature * (1 - step / steps) * noise.to(confidence)
        confidence = confidence.masked_fill(~unknown, torch.inf)
        share = left_masked(step / steps, schedule, ids.shape[1])
        count = (first * share).floor().long()
        count = torch.minimum(count, unknown.sum(1) - 1).clamp_min(1)
        unknown = least_sure(confidence, count) & unknown
    return ids


def _drawn(chances: Tensor, generator: torch.Generator | None) -> Tensor:
    flat = torch.multinomial(chances.flatten(0, 1).cpu(), 1, generator=generator)
    return flat.view(chances.shape[:2]).to(chances.device)
