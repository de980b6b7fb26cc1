"""Intervals around shares that were counted."""

from __future__ import annotations

import math

from fallow.problems import Problem


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval around a share: sensible even where nothing was hit.

    >>> [round(bound, 3) for bound in wilson(0, 100)]
    [0.0, 0.037]
    """
    if count < 1 or not 0 <= hits <= count:
        raise Problem(f"{hits} of {count} is no share: count 1 or more.")
    share = hits / count
    scale = 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    spread = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    # rounding must not leave the share itself out
    return max(0.0, min(middle - spread, share)), min(1.0, max(middle + spread, share))
