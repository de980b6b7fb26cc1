"""A slowly following twin of a network, the teacher or momentum encoder, and its centre."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from fallow.distributed import all_reduce_sum, world_size
from fallow.encoders.vit import DropPath

Network = TypeVar("Network", bound=nn.Module)


def twin(student: Network) -> Network:
    """A copy that takes no gradients; move it with `follow` or `follow_with_buffers`.

    Nothing is left out at random in a teacher, also where its student drops paths.

    >>> any(parameter.requires_grad for parameter in twin(nn.Linear(2, 2)).parameters())
    False
    """
    teacher = copy.deepcopy(student).requires_grad_(False)
    for part in teacher.modules():
        if isinstance(part, DropPath):
            part.rate = 0.0
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * student, parameters only.

    Buffers are left to the teacher's own forward passes, as in MoCo and BYOL.

    >>> student = nn.Linear(1, 1, bias=False)
    >>> teacher = twin(student)
    >>> student.weight.data += 1
    >>> follow(teacher, student, momentum=0.75)
    >>> round((student.weight - teacher.weight).item(), 4)
    0.75
    """
    theirs = [parameter.detach() for parameter in student.parameters()]
    own = [parameter.detach() for parameter in teacher.parameters()]
    if own:
        torch._foreach_lerp_(own, theirs, 1 - momentum)


@torch.no_grad()
def follow_with_buffers(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """As `follow`, and the student's buffers (batch statistics) are copied over.

    >>> student = nn.BatchNorm1d(1)
    >>> teacher = twin(student)
    >>> _ = student.running_mean.fill_(3.0)
    >>> follow_with_buffers(teacher, student, momentum=0.9)
    >>> teacher.running_mean
    tensor([3.])
    """
    follow(teacher, student, momentum)
    for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        mine.copy_(theirs)


class Centre(nn.Module):
    """DINO's running mean of a teacher's scores, over the images of all ranks.

    `see` what the teacher said as often as wanted; only `move` changes the value, so that no
    step is centred on itself.

    >>> centre = Centre(2, momentum=0.5)
    >>> centre.see(torch.ones(3, 2))
    >>> centre.value
    tensor([0., 0.])
    >>> centre.move()
    >>> centre.value
    tensor([0.5000, 0.5000])
    """

    value: Tensor
    total: Tensor
    rows: Tensor

    def __init__(self, prototypes: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(prototypes))  # K
        self.register_buffer("total", torch.zeros(prototypes))  # K, of what was seen
        self.register_buffer("rows", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def see(self, scores: Tensor) -> None:
        """Take in scores (..., K); all ranks bring equally many."""
        rows = scores.flatten(0, -2)
        self.total += all_reduce_sum(rows.to(self.total.dtype).sum(0))
        self.rows += len(rows) * world_size()

    @torch.no_grad()
    def move(self) -> None:
        """value = momentum * value + (1 - momentum) * mean of what was seen since last time."""
        self.value.lerp_(self.total / self.rows, 1 - self.momentum)
        self.total.zero_()
        self.rows.zero_()


@torch.no_grad()
def follow_all_state(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """As `follow`, and running statistics are averaged too; counters are copied.

    >>> student = nn.BatchNorm1d(1)
    >>> teacher = twin(student)
    >>> _ = student.running_mean.fill_(4.0)
    >>> follow_all_state(teacher, student, momentum=0.75)
    >>> teacher.running_mean
    tensor([1.])
    """
    follow(teacher, student, momentum)
    for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(theirs, 1 - momentum)
        else:
            mine.copy_(theirs)


@contextmanager
def in_mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Answer in training mode (batch statistics, dropout) or not, then be as before.

    >>> network = nn.Sequential(nn.Dropout(0.5))
    >>> with in_mode(network, training=False):
    ...     network[0].training
    False
    >>> network[0].training
    True
    """
    before = [(part, part.training) for part in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for part, was in before:
            part.training = was
