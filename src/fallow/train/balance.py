"""Several losses of one network, none of which may drown the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

_SMALL = 1e-8


def equal_pull(
    losses: Mapping[str, Tensor],
    parameters: Iterable[Tensor],
    weights: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Leave a gradient to which each loss adds a step as long as its weight; say the scales.

    Each loss is differentiated alone, and its gradient divided by its length over all parameters.
    Losses without a weight weigh 1.

    >>> x = torch.ones(2, requires_grad=True)
    >>> scales = equal_pull({"one": 100 * x[0], "other": x[1]}, [x])
    >>> x.grad.tolist(), round(scales["one"], 6)
    ([1.0, 1.0], 0.01)
    """
    return _pull(losses, list(parameters), weights or {}, lambda one: 1 / (_length(one) + _SMALL))


def plain_pull(
    losses: Mapping[str, Tensor],
    parameters: Iterable[Tensor],
    weights: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Leave the gradient of the weighted sum, in which a large loss drowns the others.

    >>> x = torch.ones(2, requires_grad=True)
    >>> plain_pull({"one": 100 * x[0], "other": x[1]}, [x], {"one": 0.5})
    {'one': 1.0, 'other': 1.0}
    >>> x.grad.tolist()
    [50.0, 1.0]
    """
    return _pull(losses, list(parameters), weights or {}, lambda one: 1.0)


def _pull(
    losses: Mapping[str, Tensor],
    learnt: list[Tensor],
    weights: Mapping[str, float],
    scale: Callable[[list[Tensor]], Tensor | float],
) -> dict[str, float]:
    total = [torch.zeros_like(one) for one in learnt]
    scales: dict[str, float] = {}
    for place, (name, loss) in enumerate(losses.items()):
        last = place == len(losses) - 1
        found = torch.autograd.grad(loss, learnt, retain_graph=not last, materialize_grads=True)
        factor = scale(list(found))
        for one, gradient in zip(total, found, strict=True):
            one += gradient * (factor * weights.get(name, 1.0))
        scales[name] = float(factor)
    for one, gradient in zip(learnt, total, strict=True):
        one.grad = gradient
    return scales


def _length(gradients: list[Tensor]) -> Tensor:
    return torch.stack([one.norm() for one in gradients]).norm()
