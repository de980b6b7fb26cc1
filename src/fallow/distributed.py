"""What one rank needs from the others; every function is a no-op on a single process."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """Number of processes that train together.

    >>> world_size()
    1
    """
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """Position of this process among them.

    >>> rank()
    0
    """
    return dist.get_rank() if _together() else 0


def gather(tensor: Tensor) -> Tensor:
    """The rows of every rank, rank 0 first, without gradient; all ranks bring equal shapes.

    >>> gather(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    tensor = tensor.detach()
    if world_size() == 1:
        return tensor
    tensor = tensor.contiguous()
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor)
    return torch.cat(parts)


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """The rows of every rank; own rows get back the gradients that all ranks' losses send them.

    Convention: backward *sums* over the ranks. With the averaging that DDP does to parameter
    gradients, training then follows exactly the gradient of the mean of the ranks' losses,
    however the loss is divided among the ranks. Every rank must run backward.

    >>> x = torch.ones(2, 3, requires_grad=True)
    >>> gather_with_gradient(x).sum().backward()
    >>> x.grad.sum()
    tensor(6.)
    """
    if world_size() == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return gathered


def gather_own_gradient(tensor: Tensor) -> Tensor:
    """The rows of every rank; only own rows carry gradient, and only from this rank's loss.

    Needs no communication in backward. When every rank computes the same loss over all rows,
    the gradient after DDP's averaging is the exact one divided by the number of ranks.

    >>> x = torch.ones(2, 3, requires_grad=True)
    >>> gather_own_gradient(x).requires_grad
    True
    """
    if world_size() == 1:
        return tensor
    parts = list(gather(tensor).chunk(world_size()))
    parts[rank()] = tensor
    return torch.cat(parts)


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over ranks as a new tensor, without gradient.

    >>> all_reduce_sum(torch.tensor(3.0))
    tensor(3.)
    """
    return _all_reduce(tensor, dist.ReduceOp.SUM)


def all_reduce_max(tensor: Tensor) -> Tensor:
    """The element-wise largest over ranks as a new tensor, without gradient.

    >>> all_reduce_max(torch.tensor(3.0))
    tensor(3.)
    """
    return _all_reduce(tensor, dist.ReduceOp.MAX)


def from_first(value: T) -> T:
    """The first rank's value of anything small, on every rank.

    >>> from_first(("any", 1))
    ('any', 1)
    """
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def mean(value: float) -> float:
    """The mean of a number over ranks.

    >>> mean(2.0)
    2.0
    """
    if world_size() == 1:
        return value
    total = all_reduce_sum(torch.tensor(value, dtype=torch.float64))
    return float(total) / world_size()


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _all_reduce(tensor: Tensor, operation: Any) -> Tensor:
    tensor = tensor.detach()
    if world_size() == 1:
        return tensor
    tensor = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(tensor, operation)
    return tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        context.rows = len(tensor)
        return gather(tensor)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        # gloo has no reduce-scatter: sum everything, keep own rows
        first = rank() * context.rows
        return all_reduce_sum(gradients[0])[first : first + context.rows]
