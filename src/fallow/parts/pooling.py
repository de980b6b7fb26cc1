"""One number for a map: which of its places count."""

from __future__ import annotations

import torch
from torch import Tensor

from fallow.losses.precision import at_least_float32


def split_by_hill(ordered: Tensor) -> int:
    """Where rising values fall into two kinds: Otsu's criterion, downhill from the middle.

    The lower part's share times its variance and the upper's likewise, both unbiased, must not
    grow from step to step: first towards fewer, and only where no such step helped towards more.

    >>> split_by_hill(torch.tensor([0.1, 0.1, 0.2, 0.8, 0.9, 0.9]))
    3
    """
    count = len(ordered)
    if count <= 2:
        return count - 1
    spread = _within(ordered).tolist()
    split = count // 2
    start = split
    # a part of one value has no variance, and what is unknown does not stop the walk
    while split > 1 and not spread[split - 1] > spread[split]:
        split -= 1
    if split == start:
        while split < count - 1 and not spread[split + 1] > spread[split]:
            split += 1
    return split


def split_globally(ordered: Tensor) -> int:
    """Otsu's best split of rising values, of all there are.

    >>> split_globally(torch.tensor([0.1, 0.1, 0.2, 0.8, 0.9, 0.9]))
    3
    """
    count = len(ordered)
    if count <= 3:
        return count - 1
    spread = _within(ordered)[2 : count - 1]
    return int(spread.argmin()) + 2


def _within(ordered: Tensor) -> Tensor:
    """Otsu's criterion for every split (0 ... n), NaN where a part has fewer than two values."""
    values = ordered.detach().double()
    count = len(values)
    sums = torch.cat([values.new_zeros(1), (values - values.mean()).cumsum(0)])
    squares = torch.cat([values.new_zeros(1), (values - values.mean()).square().cumsum(0)])
    low = torch.arange(count + 1, dtype=torch.float64, device=values.device)
    high = count - low
    below = (squares - sums.square() / low) / (low - 1)
    above = (squares[-1] - squares - (sums[-1] - sums).square() / high) / (high - 1)
    below, above = below.masked_fill(low < 2, torch.nan), above.masked_fill(high < 2, torch.nan)
    # sums of squares end a little below zero where all values are one
    return low / count * below.clamp_min(0) + high / count * above.clamp_min(0)


def upper_mean(values: Tensor, portion: float = 1.0, hill: bool = True) -> Tensor:
    """Mean of each row's upper kind (B N), of less than half of it; `portion`: of those the top.

    Gradient passes through the values that count, not through the choice.
    """
    ordered = values.sort(1).values
    means = []
    for row in ordered:
        split = split_by_hill(row) if hill else split_globally(row)
        upper = len(row) - min(max(split, len(row) // 2 + 1), len(row) - 1)
        means.append(row[-max(1, int(upper * portion)) :].mean())
    return torch.stack(means)


def top_mean(values: Tensor, portion: float = 0.0) -> Tensor:
    """Mean of the top `portion` of each row (B N), and of one value at least.

    >>> top_mean(torch.tensor([[0.1, 0.5, 0.9, 0.7]]), 0.5)
    tensor([0.8000])
    """
    count = max(1, int(values.shape[1] * portion))
    return values.topk(count, 1).values.mean(1)


def norm_mean(values: Tensor, power: float = 100.0) -> Tensor:
    """The norm of each row (B N), of a high power near its maximum, over the number of values."""
    return at_least_float32(values).norm(power, 1) / values.shape[1]


def projected_mean(values: Tensor) -> Tensor:
    """Each row (B N) weighted by itself, projected onto weights that sum to 1.

    Only values near the largest keep a weight; no gradient passes through the weights.

    >>> projected_mean(torch.tensor([[0.9, 0.5, -2.0]]))
    tensor([0.7800])
    """
    ordered = values.detach().sort(1, descending=True).values
    ranks = torch.arange(1, values.shape[1] + 1, device=values.device)
    beyond = (ordered.cumsum(1) - 1) / ranks
    kept = (ordered > beyond).sum(1, keepdim=True)
    weights = (values.detach() - beyond.gather(1, kept - 1)).clamp_min(0)
    return (weights * values).sum(1)
