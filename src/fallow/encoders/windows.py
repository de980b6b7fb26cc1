"""Looking at large pictures and volumes through overlapping windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def places(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin so that they cover a length; the last ends exactly at its end.

    >>> places(10, 4, 3), places(9, 4, 3), places(3, 4, 3)
    ([0, 3, 6], [0, 3, 5], [0])
    """
    if length <= window:
        return [0]
    count = math.ceil((length - window) / stride) + 1
    return [min(step * stride, length - window) for step in range(count)]


def squares(height: int, width: int) -> tuple[int, tuple[int, int]]:
    """Side and strides of the square windows that cover a picture: two, or three of a long one.

    >>> squares(512, 1024), squares(90, 100), squares(64, 64)
    ((512, (1, 256)), (90, (1, 10)), (64, (1, 1)))
    """
    short, long = sorted((height, width))
    if long > 2 * short:
        # longer ones are cut into more, half a window apart
        stride = short // 2
    else:
        stride = (long - short) // 2 if 2 * long > 3 * short else long - short
    tall = max(1, stride) if height > width else 1
    wide = max(1, stride) if width > height else 1
    return short, (tall, wide)


def sliding(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    window: Sequence[int],
    stride: Sequence[int] | None = None,
    *,
    batch: int = 16,
) -> Tensor:
    """Probabilities B K *S of pictures or volumes B C *S, averaged where windows overlap.

    `network` gives logits of a window; see `averaged` for the rest.

    >>> logits = lambda x: torch.cat([x, -x], 1)
    >>> picture = torch.randn(1, 1, 9, 5)
    >>> whole = logits(picture).softmax(1)
    >>> bool(torch.allclose(sliding(logits, picture, (4, 8)), whole, atol=1e-6))
    True
    """
    return averaged(lambda x: network(x).float().softmax(1), x, window, stride, batch=batch)


@torch.no_grad()
def averaged(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    window: Sequence[int],
    stride: Sequence[int] | None = None,
    *,
    batch: int = 16,
) -> Tensor:
    """What a network says (B K *S) of pictures or volumes B C *S, averaged where windows overlap.

    Neighbouring windows share half of themselves unless `stride` says otherwise. What is smaller
    than a window is padded with zeros all round.

    >>> picture = torch.randn(1, 1, 9, 5)
    >>> bool(torch.allclose(averaged(torch.neg, picture, (4, 8)), -picture))
    True
    """
    window = tuple(window)
    stride = tuple(stride or (max(1, side // 2) for side in window))
    size = x.shape[2:]
    room = [max(0, w - s) for w, s in zip(window, size, strict=True)]
    before = [part // 2 for part in room]
    around = [(low, part - low) for low, part in zip(before, room, strict=True)]
    x = F.pad(x, [side for pair in reversed(around) for side in pair])
    starts = [places(s, w, t) for s, w, t in zip(x.shape[2:], window, stride, strict=True)]
    cuts: list[Any] = [
        (..., *(slice(at, at + w) for at, w in zip(corner, window, strict=True)))
        for corner in itertools.product(*starts)
    ]
    jobs = [(row, cut) for row in range(len(x)) for cut in cuts]
    total: Tensor | None = None
    weight = x.new_zeros(x.shape[2:], dtype=torch.float32)
    for cut in cuts:
        weight[cut] += 1
    for first in range(0, len(jobs), batch):
        some = jobs[first : first + batch]
        found = network(torch.stack([x[row][cut] for row, cut in some])).float()
        if total is None:
            total = found.new_zeros(len(x), found.shape[1], *x.shape[2:])
        for (row, cut), one in zip(some, found, strict=True):
            total[row][cut] += one
    assert total is not None
    inner: Any = (..., *(slice(low, low + s) for low, s in zip(before, size, strict=True)))
    return (total / weight)[inner]
