"""Counter-based random numbers: the same (seed, epoch, image, view, slot) gives the same number."""

from __future__ import annotations

from typing import Any

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_TO_UNIT = 1.0 / (1 << 53)


def mix(z: Any) -> Any:
    """Scramble 64 bits (the SplitMix64 finaliser); plain arithmetic, so Numba compiles it too."""
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


def to_unit(z: Any) -> Any:
    """The upper 53 of 64 random bits as a number in [0, 1)."""
    return (z >> _11) * _TO_UNIT


def as_counter(value: Any) -> Any:
    """Integers, negative ones included, as unsigned 64-bit words."""
    return np.asarray(value, dtype=np.int64).astype(np.uint64)


def stream_key(seed: int, epoch: int) -> np.ndarray:
    """What seed and epoch contribute to every number of that epoch."""
    one = np.ones(1, np.uint64)  # arrays wrap around silently, scalars would warn
    return mix(mix(one * as_counter(seed) + _STEP) + as_counter(epoch) + _STEP)


def uniform(seed: int, epoch: int, rows: Any, view: Any, slot: Any) -> np.ndarray:
    """Numbers in [0, 1) that depend on the five counters only; the last three broadcast.

    >>> a = uniform(0, 0, [5, 6, 7], 0, 1)
    >>> bool(a[1] == uniform(0, 0, 6, 0, 1)[0]), bool(a[1] == uniform(0, 1, 6, 0, 1)[0])
    (True, False)
    """
    image = mix(stream_key(seed, epoch) + as_counter(rows) + _STEP)
    state = mix(image + as_counter(view) + _STEP)
    return to_unit(mix(state + (as_counter(np.atleast_1d(slot)) + np.uint64(1)) * _STEP))
