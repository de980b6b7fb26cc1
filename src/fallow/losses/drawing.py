"""How likely a pen's next step is: mixtures of bivariate normals, and what the pen does.

A step is told by its raw numbers: 3 scores of the pen (goes on, is lifted, is done), then of each
of K normals the weight, the two means, the two widths and the correlation, kind after kind.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.losses.precision import at_least_float32, without_autocast

TINY = 1e-6  # beside a density
STIFF = 0.999  # of a correlation at most, for beyond it densities overflow


class Pen(NamedTuple):
    """What is expected of the next step, for any number of steps."""

    weight: Tensor  # ... K, sums to 1
    x: Tensor  # ... K
    y: Tensor
    wide: Tensor
    high: Tensor
    together: Tensor  # -1 to 1
    state: Tensor  # ... 3, scores


def pen(raw: Tensor) -> Pen:
    """Raw numbers (..., 3 + 6K) as what they mean.

    >>> found = pen(torch.zeros(2, 9))
    >>> found.weight.shape, found.wide.tolist()
    (torch.Size([2, 1]), [[1.0], [1.0]])
    """
    raw = at_least_float32(raw)
    weight, x, y, wide, high, together = raw[..., 3:].chunk(6, -1)
    return Pen(weight.softmax(-1), x, y, wide.exp(), high.exp(), together.tanh(), raw[..., :3])


def log_normal(
    at: tuple[Tensor, Tensor], middle: tuple[Tensor, Tensor], widths: tuple[Tensor, Tensor],
    together: Tensor,
) -> Tensor:  # fmt: skip
    """Logarithm of bivariate normal densities.

    >>> zero, one = torch.zeros(1), torch.ones(1)
    >>> round(float(log_normal((zero, zero), (zero, zero), (one, one), zero).exp()), 4)
    0.1592
    """
    u = (at[0] - middle[0]) / widths[0]
    v = (at[1] - middle[1]) / widths[1]
    rest = 1 - together.square()
    far = (u.square() + v.square() - 2 * together * u * v) / (2 * rest)
    volume = widths[0].log() + widths[1].log() + 0.5 * rest.log() + math.log(2 * math.pi)
    return -far - volume


def log_step(found: Pen, step: Tensor) -> Tensor:
    """Logarithm of the mixture's density at steps (..., 2), never below that of 1e-6."""
    at = (step[..., :1], step[..., 1:2])
    each = log_normal(
        at, (found.x, found.y), (found.wide, found.high), found.together.clamp(-STIFF, STIFF)
    )
    whole = torch.cat([found.weight.log() + each, torch.full_like(at[0], math.log(TINY))], -1)
    return whole.logsumexp(-1)


@without_autocast
def drawn_steps(raw: Tensor, target: Tensor) -> Tensor:
    """The authors' loss of steps (B T 3+6K) against a sketch in the five format (B T 5).

    Neither the place nor the pen counts where the sketch is done, so its end is never learnt.

    >>> round(float(drawn_steps(torch.zeros(1, 1, 9), torch.tensor([[[0.0, 0, 1, 0, 0]]]))), 4)
    2.9365
    """
    place, state, going = _surprise(raw, target)
    return (going * (place + state)).mean()


@without_autocast
def drawn_to_the_end(raw: Tensor, target: Tensor) -> Tensor:
    """The same, but the pen counts everywhere: a sketch then knows when it is done.

    >>> done = torch.tensor([[[0.0, 0, 0, 0, 1]]])
    >>> float(drawn_steps(torch.zeros(1, 1, 9), done))
    0.0
    >>> round(float(drawn_to_the_end(torch.zeros(1, 1, 9), done)), 4)
    1.0986
    """
    place, state, going = _surprise(raw, target)
    return (going * place + state).mean()


def _surprise(raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of every step (B T): the surprise at its place and at its pen, and whether it goes on."""
    found = pen(raw)
    place = -log_step(found, target[..., :2])
    state = F.cross_entropy(
        found.state.movedim(-1, 1), target[..., 2:].argmax(-1), reduction="none"
    )
    return place, state, 1 - target[..., 4]


def log_likelihood(raw: Tensor, five: Tensor) -> Tensor:
    """Logarithm of how likely whole sketches (B T 5) were, up to and with their last step.  B

    >>> log_likelihood(torch.zeros(2, 4, 9), torch.zeros(2, 4, 5)).shape
    torch.Size([2])
    """
    place, state, going = _surprise(raw, five)
    done = five[..., 4].cumsum(1) <= 1  # the rows after the one that is done are filling
    return -((going * place + state) * done).sum(1)


@without_autocast
def divergence(middle: Tensor, log_variance: Tensor, floor: float = 0.2) -> Tensor:
    """Mean divergence of normals from the standard one, but at least `floor`.

    >>> float(divergence(torch.zeros(1, 2), torch.zeros(1, 2)))
    0.20000000298023224
    """
    middle, log_variance = at_least_float32(middle), at_least_float32(log_variance)
    mean = -0.5 * (1 + log_variance - middle.square() - log_variance.exp()).mean()
    return mean.clamp(min=floor)
