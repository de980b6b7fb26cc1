"""Small changes of pictures: how large they may be, adding them, and rounding them to 8 bits.

Pictures and changes are in 0…1 and -1…1 unless they are uint8. A pattern is a change made at one
size and stretched to each picture's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.problems import SettingProblem

Norm = Literal["linf", "l2"]
Resize = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class Budget:
    """How far a picture may be changed.

    With "linf" no value by more than `size` of 255 levels; with "l2" the whole change is no longer
    than `size`, as a vector of values in 0…1.
    """

    size: float
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        if self.size <= 0:
            raise SettingProblem(f"a budget of {self.size} changes nothing: use more than 0")
        if self.norm not in ("linf", "l2"):
            raise SettingProblem(f'a budget is "linf" or "l2", not {self.norm!r}')

    @property
    def limit(self) -> float:
        """The bound on values in 0…1: of each one, or of their length."""
        return self.size / 255 if self.norm == "linf" else self.size

    def clamped(self, change: Tensor) -> Tensor:
        """The nearest changes (B ...) within the budget.

        >>> Budget(51).clamped(torch.tensor([[0.5, -0.1]]))
        tensor([[ 0.2000, -0.1000]])
        """
        if self.norm == "linf":
            return change.clamp(-self.limit, self.limit)
        return change * (self.limit / _length(change)).clamp(max=1)

    def scaled(self, change: Tensor) -> Tensor:
        """Changes (B ...) brought to the budget: -1…1 times the limit, or to its very length.

        Unlike `clamped` no gradient is lost where a value is large.

        >>> Budget(0.5, "l2").scaled(torch.tensor([[3.0, 4.0]]))
        tensor([[0.3000, 0.4000]])
        """
        if self.norm == "linf":
            return change * self.limit
        return change * (self.limit / _length(change))

    def at(self, pixels: float) -> Budget:
        """The same change for each pixel where there are `pixels` times as many of them.

        >>> Budget(2, "l2").at(4), Budget(16).at(4)
        (Budget(size=4.0, norm='l2'), Budget(size=16, norm='linf'))
        """
        return self if self.norm == "linf" else replace(self, size=self.size * pixels**0.5)


def _length(change: Tensor) -> Tensor:
    """Lengths, shaped so that they divide changes of shape B ..."""
    length = change.flatten(1).norm(dim=1).clamp(min=1e-12)
    return length.view(-1, *[1] * (change.ndim - 1))


def added(pictures: Tensor, change: Tensor) -> Tensor:
    """Pictures with a change, cut off at black and white.

    >>> added(torch.tensor([0.1, 0.9]), torch.tensor([-0.2, 0.05]))
    tensor([0.0000, 0.9500])
    """
    return (pictures + change).clamp(0, 1)


def stretched(pattern: Tensor, size: tuple[int, int], how: Resize = "nearest") -> Tensor:
    """A pattern (... 3 h w) at another height and width; no value grows.

    >>> stretched(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    tensor([[[0., 0., 1., 1.]]])
    """
    if tuple(pattern.shape[-2:]) == tuple(size):
        return pattern
    flat = pattern.reshape(1, -1, *pattern.shape[-2:])
    if how == "bilinear":  # with a filter when shrinking
        made = F.interpolate(flat, size, mode="bilinear", antialias=True)
    else:
        made = F.interpolate(flat, size, mode="nearest")
    return made.reshape(*pattern.shape[:-2], *size)


def steps(change: Tensor, budget: Budget) -> np.ndarray:
    """A change (3 H W) in whole 8-bit steps that keep the budget.  H W 3, int16

    Rounding to the nearest may break the budget: such steps are taken back, or for "l2" the whole
    change is made a little smaller first.

    >>> steps(torch.full((3, 1, 1), 0.0137), Budget(3.5)).ravel().tolist()
    [3, 3, 3]
    """
    wanted = change.detach().cpu().float().permute(1, 2, 0).numpy() * 255
    rounded = np.rint(wanted)
    if budget.norm == "linf":
        most = np.floor(budget.size + 1e-6)
        return rounded.clip(-most, most).astype(np.int16)
    if _length_of(rounded) > budget.limit:
        low, high = 0.0, 1.0  # no step grows when the change shrinks, so halving finds the most
        for _ in range(20):
            middle = (low + high) / 2
            if _length_of(np.rint(wanted * middle)) > budget.limit:
                high = middle
            else:
                low = middle
        rounded = np.rint(wanted * low)
    return rounded.astype(np.int16)


def _length_of(levels: np.ndarray) -> float:
    return float(np.sqrt(np.square(levels, dtype=np.float64).sum())) / 255


def stepped(pixels: np.ndarray, change: np.ndarray) -> np.ndarray:
    """uint8 pixels (... H W 3) with whole steps added, cut off at black and white.

    >>> stepped(np.array([250, 7], np.uint8), np.array([16, -16], np.int16)).tolist()
    [255, 0]
    """
    return np.clip(pixels.astype(np.int16) + change, 0, 255).astype(np.uint8)


def steps_at(
    pattern: Tensor, size: tuple[int, int], budget: Budget, how: Resize = "nearest"
) -> np.ndarray:
    """A pattern (3 h w) as the 8-bit steps a picture of this height and width gets.  H W 3

    The budget is that of the pattern; with "l2" a larger picture has as much for each pixel.
    """
    own = budget.at(size[0] * size[1] / pattern[0].numel())
    return steps(own.clamped(stretched(pattern, size, how)[None])[0], own)


def applied(
    pixels: np.ndarray, pattern: Tensor, budget: Budget, how: Resize = "nearest"
) -> np.ndarray:
    """One uint8 picture (H W 3), at its own size, with a pattern (3 h w) in 8-bit steps.

    >>> picture = np.full((5, 7, 3), 100, np.uint8)
    >>> int(applied(picture, torch.ones(3, 2, 2), Budget(16)).max())
    116
    """
    height, width = pixels.shape[:2]
    return stepped(pixels, steps_at(pattern, (height, width), budget, how))


def random_signs(count: int, size: tuple[int, int], budget: Budget, seed: int) -> Tensor:
    """Patterns of nothing but chance that spend the whole budget: what others must beat.

    >>> random_signs(2, (4, 4), Budget(51), seed=0).abs().unique()
    tensor([0.2000])
    """
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (count, 3, *size), generator=generator) * 2 - 1
    return budget.scaled(signs.float())  # count 3 h w


def descended(
    objective: Callable[[Tensor], Tensor],
    pictures: Tensor,
    budget: Budget,
    rounds: int,
    pace: float = 1.25,
) -> Tensor:
    """Pictures (B 3 H W), changed one by one within the budget so that `objective` falls (PGD).

    Each round moves every value by its gradient's sign (for "l2", every picture along its
    gradient), `pace` times the limit over all rounds. `objective` gives a sum over the pictures.

    >>> grey = torch.full((1, 3, 2, 2), 0.5)
    >>> descended(lambda x: x.sum(), grey, Budget(51), rounds=4)[0, 0, 0]
    tensor([0.3000, 0.3000])
    """
    step = pace * budget.limit / rounds
    now = pictures.detach().clone()
    for _ in range(rounds):
        now.requires_grad_(True)
        (slope,) = torch.autograd.grad(objective(now), now)
        with torch.no_grad():
            move = slope.sign() if budget.norm == "linf" else slope / _length(slope)
            now = added(pictures, budget.clamped(now - step * move - pictures))
    return now.detach()
