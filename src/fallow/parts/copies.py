"""Earlier selves of a network, kept while it trains: a committee that changes with every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fallow.parts.teacher import twin


class Copies(nn.Module):
    """At most `most` copies of a network; one more drops the oldest.

    They live in the state, so that a run goes on with the copies it had.

    >>> copies = Copies(nn.Linear(2, 2), most=2)
    >>> len(copies)
    0
    >>> copies.add(nn.Linear(2, 2))
    >>> len(copies), [len(each) for each in copies.draw(3)]
    (1, [1, 1])
    """

    added: Tensor

    def __init__(self, network: nn.Module, most: int) -> None:
        super().__init__()
        self.models = nn.ModuleList(twin(network) for _ in range(most))
        self.register_buffer("added", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return min(int(self.added), len(self.models))

    @torch.no_grad()
    def add(self, network: nn.Module) -> None:
        """Keep the network as it is now."""
        self.models[int(self.added) % len(self.models)].load_state_dict(network.state_dict())
        self.added += 1

    def draw(self, together: int) -> tuple[list[int], Tensor]:
        """Which copies speak, 1 to `together` of them, and with which weights, all by chance."""
        count = min(int(torch.randint(1, together + 1, ())), len(self))
        which = torch.randperm(len(self))[:count].tolist()
        return which, torch.distributions.Dirichlet(torch.ones(count)).sample()

    def logits(self, x: Tensor, which: Sequence[int], weights: Tensor) -> Tensor:
        """What the chosen copies say together."""
        return mixed_logits([self.models[k] for k in which], x, weights)


def mixed_logits(models: Sequence[Callable[[Tensor], Tensor]], x: Tensor, weights: Any) -> Tensor:
    """The weighted sum of what some networks say: their logits, not their probabilities.

    >>> mixed_logits([torch.neg, torch.exp], torch.zeros(1), [0.5, 0.5])
    tensor([0.5000])
    """
    parts = [
        weight * model(x) for model, weight in zip(models, torch.as_tensor(weights), strict=True)
    ]
    return torch.stack(parts).sum(0)
