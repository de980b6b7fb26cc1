"""Turn what callers hold into tensors, and compare many rows in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.problems import Problem

ENTRIES = 1 << 22  # similarities held at once: 16 MB in float32


def rows(features: Any) -> Tensor:
    """Features (N, D) as float32, on the device they are on.

    >>> rows(np.eye(2)).dtype
    torch.float32
    """
    tensor = (
        features.detach()
        if isinstance(features, Tensor)
        else torch.from_numpy(np.ascontiguousarray(features))
    )
    if tensor.ndim != 2 or not len(tensor):
        raise Problem(f"features must be a table with at least one row, not {tuple(tensor.shape)}.")
    return tensor.float()


def unit_rows(features: Any) -> Tensor:
    """Features (N, D) as float32 rows of length 1.

    >>> unit_rows([[3.0, 4.0]])
    tensor([[0.6000, 0.8000]])
    """
    return F.normalize(rows(features), dim=1, eps=1e-12)


def codes(labels: Any, count: int) -> Tensor:
    """Labels (N,) as int64; -1 means unknown.

    >>> codes([2, -1], 2)
    tensor([ 2, -1])
    """
    tensor = labels.detach() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
    if tensor.shape != (count,):
        raise Problem(f"{count} rows of features need as many labels, not {tuple(tensor.shape)}.")
    return tensor.long()


def similarity_blocks(queries: Tensor, bank: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Dot products (q, N) of successive runs of queries with the whole bank.

    >>> [(s.start, b.shape) for s, b in similarity_blocks(torch.eye(3), torch.eye(3))]
    [(0, torch.Size([3, 3]))]
    """
    step = max(1, ENTRIES // len(bank))
    for first in range(0, len(queries), step):
        part = slice(first, min(first + step, len(queries)))
        yield part, queries[part] @ bank.T
