"""Pictures looked at in their own proportions; those that get one shape make up a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fallow.encoders.base import Encoder
from fallow.encoders.maps import Seen, asked
from fallow.problems import Problem, SettingProblem

STEP = 32  # pixels: sides are multiples of it, so that few shapes occur
LONGEST = 4  # a long side is at most so many short ones; what is longer is squashed
WAITING = 8  # batches' worth of pictures that may wait for others of their shape


def shape_of(height: int, width: int, size: int) -> tuple[int, int]:
    """The sides a picture is looked at with: the short one is `size`, the other a near multiple.

    >>> shape_of(300, 400, 160), shape_of(1000, 20, 96)
    ((160, 224), (384, 96))
    """
    if min(height, width) < 1:
        raise Problem(f"an image of {height}x{width} pixels has nothing to look at.")
    long = size * min(LONGEST, max(height, width) / min(height, width))
    other = max(size, round(long / STEP) * STEP)
    return (other, size) if height > width else (size, other)


def look_whole(
    encoder: Encoder,
    images: Any,
    layers: Sequence[int] = (-1,),
    *,
    size: int | None = None,
    batch: int = 16,
) -> Iterator[Seen]:
    """Vectors and maps of whole pictures (`Images`, or uint8 arrays), batch after batch of a shape.

    Rows come in the order in which batches fill up. For networks of stages, which see any shape.

    >>> from fallow.encoders import encoder
    >>> pictures = [np.zeros((40, 90, 3), np.uint8), np.zeros((50, 50, 3), np.uint8)]
    >>> for seen in look_whole(encoder("untrained"), pictures, size=64):
    ...     print(seen.rows, tuple(seen.maps[0].shape))
    [0] (1, 4, 8, 128)
    [1] (1, 4, 4, 128)
    """
    size = encoder.size if size is None else size
    if size < STEP or size % STEP:
        raise SettingProblem(f"a size of {size} does not fit: use a multiple of {STEP}.")
    steps = replace(encoder.preprocessing, size=STEP, short=STEP)

    def fit(pixels: np.ndarray) -> Tensor:
        height, width = shape_of(pixels.shape[0], pixels.shape[1], size)
        return steps.squash(pixels, height // STEP, width // STEP)

    if hasattr(images, "map"):
        fitted = images.map(fit, side=size)
    else:
        fitted = ((row, fit(pixels)) for row, pixels in enumerate(images))
    waiting: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}
    count = 0
    for row, pixels in fitted:
        if not isinstance(pixels, Tensor):
            continue  # unreadable: its collection lists it among its problems
        alike = waiting.setdefault(tuple(pixels.shape), [])
        alike.append((row, pixels))
        count += 1
        if len(alike) == batch or count == WAITING * batch:
            most = max(waiting, key=lambda shape: len(waiting[shape]))
            some = waiting.pop(most)
            count -= len(some)
            yield _seen(encoder, some, layers)
    for some in waiting.values():
        yield _seen(encoder, some, layers)


def _seen(encoder: Encoder, some: Sequence[tuple[int, Tensor]], layers: Sequence[int]) -> Seen:
    pixels = torch.stack([each for _, each in some]).to(encoder.device)
    with asked(encoder):
        vectors, maps = encoder.look(encoder.preprocessing.normalise(pixels), layers)
    return Seen([row for row, _ in some], vectors.float(), [each.float() for each in maps])
