"""Which images share batch statistics: those of all ranks, or those of a smaller group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fallow.distributed import gather, rank


class _Sum(torch.autograd.Function):
    """Sum over ranks whose gradient is summed over ranks too."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm whose mean and variance are those of the batch of all ranks together."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(input)
        axes = [0, *range(2, input.dim())]
        shape = [1, -1] + [1] * (input.dim() - 2)
        value = input.float()
        count = value.numel() / value.shape[1]
        sums = _Sum.apply(torch.cat([value.sum(axes), value.new_tensor([count])]))
        total = sums[-1]
        mean = sums[:-1] / total
        centred = value - mean.view(shape)
        variance = _Sum.apply(centred.pow(2).sum(axes)) / total
        if self.track_running_stats and self.running_mean is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr,operator]
                share = self.momentum if self.momentum is not None else 0.1
                self.running_mean.lerp_(mean, share)
                unbiased = variance * total / (total - 1).clamp_min(1.0)
                self.running_var.lerp_(unbiased, share)  # type: ignore[union-attr]
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape)
        if self.bias is not None:
            out = out + self.bias.view(shape)
        return out.to(input.dtype)


def share_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm below `module` by one that sees the batch of all ranks.

    >>> net = share_batch_norm(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    >>> type(net[1]).__name__
    'SharedBatchNorm'
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            twin = SharedBatchNorm(
                child.num_features,
                child.eps,
                child.momentum,
                child.affine,
                child.track_running_stats,
            )
            twin.weight, twin.bias = child.weight, child.bias
            for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(twin, buffer, getattr(child, buffer))
            twin.train(child.training)
            setattr(module, name, twin)
        else:
            share_batch_norm(child)
    return module


def in_groups(network: Callable[[Tensor], Tensor], images: Tensor, groups: int) -> Tensor:
    """network(images), computed as several smaller batches with statistics of their own.

    What `groups` devices do to a batch. Group g holds images g, g + groups, ...: two ranks whose
    batch norm is shared then form the groups of one process (if their share divides by groups).

    >>> x = torch.arange(4.0)[:, None]
    >>> in_groups(nn.BatchNorm1d(1, affine=False), x, 2)[:, 0].round()
    tensor([-1., -1.,  1.,  1.])
    """
    if groups == 1:
        return network(images)
    rows = torch.arange(len(images), device=images.device)
    order = torch.cat([rows[group::groups] for group in range(groups)])
    made = torch.cat([network(images[group::groups]) for group in range(groups)])
    return made[order.argsort()]


@torch.no_grad()
def in_other_company(
    network: Callable[[Tensor], Tensor], images: Tensor, groups: int, step: int
) -> Tensor:
    """`in_groups` after the images of all ranks were shuffled, and put back in place: no gradient.

    MoCo's shuffled batch norm. A query and its key are then normalised with different images, so
    that batch statistics cannot tell them which key is theirs. The order follows from `step`, for
    all ranks must agree on it.

    >>> x = torch.arange(4.0)[:, None]
    >>> torch.equal(in_other_company(nn.Identity(), x, 2, step=0), x)
    True
    """
    everyone = gather(images)
    order = torch.randperm(len(everyone), generator=torch.Generator().manual_seed(step))
    own = slice(rank() * len(images), (rank() + 1) * len(images))
    made = gather(in_groups(network, everyone[order[own].to(images.device)], groups))
    return made[order.argsort()[own].to(images.device)]
