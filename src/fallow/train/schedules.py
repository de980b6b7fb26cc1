"""How rates change over training: pure functions of a position (step, epoch, or 0 to 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def half_cosine(position: float, total: float, start: float, end: float = 0.0) -> float:
    """From `start` at 0 down (or up) to `end` at `total`, flat at both ends.

    >>> [half_cosine(t, 2, 1.0) for t in (0, 1, 2)]
    [1.0, 0.5, 0.0]
    """
    return end + (start - end) * (1 + math.cos(math.pi * position / total)) / 2


def power(
    position: float, total: float, start: float, end: float = 0.0, exponent: float = 0.9
) -> float:
    """From `start` at 0 to `end` at `total`, as a power of what is left: nearly a straight line.

    >>> [round(power(t, 2, 1.0), 3) for t in (0, 1, 2)]
    [1.0, 0.536, 0.0]
    """
    return end + (start - end) * max(0.0, 1 - position / total) ** exponent


def inverse_power(
    position: float,
    total: float,
    start: float,
    end: float = 0.0,
    slope: float = 10.0,
    exponent: float = 0.75,
) -> float:
    """`start`, divided by a power of what has passed, never below `end`: WILDS' self-training.

    >>> [round(inverse_power(t, 2, 1.0), 3) for t in (0, 1, 2)]
    [1.0, 0.261, 0.166]
    """
    return float(max(end, start * (1 + slope * position / total) ** -exponent))


def warm_up_cosine(
    position: float, total: float, peak: float, warm: float = 0.0, end: float = 0.0
) -> float:
    """Linear from 0 to `peak` at position `warm`, then half a cosine to `end` at `total`.

    >>> [round(warm_up_cosine(t, 10, peak=1.0, warm=2), 3) for t in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if position < warm:
        return peak * position / warm
    return half_cosine(position - warm, total - warm, peak, end)


def warm_up_cosine_from(
    step: int, total: int, peak: float, warm: int = 0, start: float = 0.0, end: float = 0.0
) -> float:
    """SwAV: `warm` whole steps from `start` to `peak`, both reached; the cosine begins at `peak`.

    >>> [round(warm_up_cosine_from(t, 7, peak=1.0, warm=3, start=0.5), 3) for t in range(7)]
    [0.5, 0.75, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warm:
        return start + (peak - start) * step / max(warm - 1, 1)
    return half_cosine(step - warm, total - warm, peak, end)


def straight(position: float, total: float, start: float, end: float = 0.0) -> float:
    """From `start` at 0 to `end` at `total` along a line.

    >>> [straight(t, 2, 1.0) for t in (0, 1, 2)]
    [1.0, 0.5, 0.0]
    """
    return ramp(position, start, end, total)


def early_mean(step: int, most: float) -> float:
    """A teacher's momentum that first makes it the mean of all students, then at most `most`.

    >>> [early_mean(step, 0.9) for step in (0, 1, 99)]
    [0.0, 0.5, 0.9]
    """
    return min(1 - 1 / (step + 1), most)


def staircase(
    position: float, start: float, milestones: Sequence[float], factor: float = 0.1
) -> float:
    """`start`, multiplied by `factor` at every milestone reached.

    >>> [round(staircase(t, 30.0, [60, 80]), 6) for t in (0, 59, 60, 80)]
    [30.0, 30.0, 3.0, 0.3]
    """
    return start * factor ** sum(position >= milestone for milestone in milestones)


def cosine_momentum(position: float, total: float, start: float = 0.99) -> float:
    """A teacher's momentum: from `start` to 1.

    >>> [round(cosine_momentum(t, 2, 0.99), 4) for t in (0, 1, 2)]
    [0.99, 0.995, 1.0]
    """
    return half_cosine(position, total, start, 1.0)


def cosine_restarts(
    position: float,
    peak: float,
    first: float,
    growth: float = 2.0,
    shrink: float = 1.0,
    end_ratio: float = 0.0,
) -> float:
    """Half cosines from `peak` to `end_ratio * peak`, each `growth` times longer than the last.

    Each restart's peak is `shrink` times the one before.

    >>> [round(cosine_restarts(t, 1.0, first=10), 3) for t in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    end, length = end_ratio * peak, first
    while position >= length:
        position -= length
        length *= growth
        peak *= shrink
    return half_cosine(position, length, peak, end)


def ramp(position: float, start: float, end: float, length: float) -> float:
    """Linear from `start` to `end` over `length`, then constant: a teacher's temperature.

    >>> [round(ramp(t, 0.04, 0.07, 30), 3) for t in (0, 10, 30, 99)]
    [0.04, 0.05, 0.07, 0.07]
    """
    if position >= length:
        return end
    return start + (end - start) * position / length


def ramp_reaching(step: int, start: float, end: float, steps: int) -> float:
    """As `ramp` in `steps` whole steps, of which the first is at `start`, the last at `end`.

    >>> [round(ramp_reaching(t, 0.04, 0.07, 4), 3) for t in range(5)]
    [0.04, 0.05, 0.06, 0.07, 0.07]
    """
    return end if step >= steps else start + (end - start) * step / max(steps - 1, 1)


def there_and_back(position: float, total: float) -> float:
    """Linear from 0 up to 1 half way through, and back to 0 at the end: PrevMatch's weight.

    >>> [there_and_back(t, 4) for t in (0, 1, 2, 3, 4)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    half = total / 2
    return position / half if position <= half else 1 - (position - half) / half


def scaled_rate(base: float, batch: int, per: int = 256) -> float:
    """A learning rate given for batches of `per` images, scaled linearly to `batch`.

    >>> scaled_rate(0.3, 4096)
    4.8
    """
    return base * batch / per


def gaussian_ramp(position: float, length: float) -> float:
    """From e^-5 at 0 up to 1 at `length` along half a bell, then constant: how far to trust.

    >>> [round(gaussian_ramp(t, 40), 4) for t in (0, 20, 40, 60)]
    [0.0067, 0.2865, 1.0, 1.0]
    """
    missing = 1 - min(position, length) / length
    return math.exp(-5 * missing * missing)


def linear_fall(step: int, warm: int = 5_000, fall: int = 100_000, end: float = 0.1) -> float:
    """A straight rise over `warm` steps, a straight fall to `end` at step `fall`, then constant.

    >>> [round(linear_fall(step), 3) for step in (0, 4999, 52500, 200000)]
    [0.0, 1.0, 0.55, 0.1]
    """
    if step < warm:
        return (step + 1) / warm
    return max(end, 1 - (1 - end) * (step - warm) / (fall - warm))
