"""Keep losses in at least float32, also inside half-precision training."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Run a loss with autocast off, so that its matrix products are not rounded to half.

    >>> product = without_autocast(torch.matmul)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     product(torch.ones(2, 2), torch.ones(2, 2)).dtype
    torch.float32
    """

    @wraps(function)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        device = _first_tensor([*args, *kwargs.values()]).device.type
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return precise


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half becomes float32; float32 and float64 stay.

    >>> at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _first_tensor(values: list) -> Tensor:
    for value in values:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, list | tuple):
            return _first_tensor(list(value))
    raise TypeError("a loss needs at least one tensor")
