"""Sums over the places of two pictures from which means, spreads and correlation follow."""

from __future__ import annotations

from numba import njit

Sums = tuple[float, float, float, float, float, float]


@njit(cache=True, nogil=True, fastmath=True)
def added(sums: Sums, a: float, b: float) -> Sums:
    """Sums of 1, a, b, aa, bb, ab with one place more.

    >>> added((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 2.0, 3.0)
    (1.0, 2.0, 3.0, 4.0, 9.0, 6.0)
    """
    number, sa, sb, saa, sbb, sab = sums
    return number + 1.0, sa + a, sb + b, saa + a * a, sbb + b * b, sab + a * b
