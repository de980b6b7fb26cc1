"""A judge that is trained beside a method, after each of its steps, with an Adam of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fallow.distributed import all_reduce_sum, world_size


class Judge(nn.Module):
    """A network whose weights nothing but `learn` changes; gradients pass through it all the same.

    Its optimiser lives in buffers, so that a run resumes with it.

    >>> _ = torch.manual_seed(0)
    >>> judge = Judge(nn.Linear(2, 1), rate=0.1)
    >>> before = judge.network.weight.clone()
    >>> judge.learn(lambda network: network(torch.ones(1, 2)).square().mean())
    0...
    >>> bool((judge.network.weight == before).all()), judge.network.weight.requires_grad
    (False, False)
    """

    mean: Tensor
    square: Tensor
    count: Tensor

    def __init__(
        self, network: nn.Module, rate: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.rate, self.betas = rate, betas
        length = sum(weights.numel() for weights in network.parameters())
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("square", torch.zeros(length))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def learn(self, loss: Callable[[nn.Module], Tensor], scale: float = 1.0) -> float:
        """One step down a loss of the network, at a share of its rate; what the loss was."""
        weights = list(self.network.parameters())
        self.network.requires_grad_(True)
        with torch.enable_grad():
            value = loss(self.network)
            found = torch.autograd.grad(value, weights)
        self.network.requires_grad_(False)
        gradient = all_reduce_sum(flat(found)) / world_size()
        self.count += 1
        for state, new, beta in (
            (self.mean, gradient, self.betas[0]),
            (self.square, gradient.square(), self.betas[1]),
        ):
            state.lerp_(new, 1 - beta)
        steps = int(self.count)
        mean, square = (
            state / (1 - beta**steps)
            for state, beta in zip((self.mean, self.square), self.betas, strict=True)
        )
        moved = scale * self.rate * mean / (square.sqrt() + 1e-8)
        sizes = [each.numel() for each in weights]
        with torch.no_grad():
            for each, part in zip(weights, moved.split(sizes), strict=True):
                each.sub_(part.view(each.shape))
        return float(value.detach())


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers in a row, whatever their layout in memory.

    >>> flat([torch.ones(2, 2), torch.zeros(1)]).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0]
    """
    return torch.cat([each.reshape(-1) for each in tensors])
