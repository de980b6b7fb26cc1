"""Which images are blurry, dark, bright, small, oddly shaped or blank, by robust thresholds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def low(values: np.ndarray, certain: float, possible: float, deviations: float = 3.5) -> np.ndarray:
    """True where a value is below `certain`, or below `possible` and far under the collection.

    Far is measured in median absolute deviations, so that a collection that is good throughout
    gives no flags, and one that is bad throughout gives as many as it deserves.

    >>> low(np.array([0.5, 0.52, 0.49, 0.51, 0.2, 0.01]), certain=0.05, possible=0.3).tolist()
    [False, False, False, False, True, True]
    >>> low(np.linspace(0.4, 0.6, 100), certain=0.05, possible=0.3).any().item()
    False
    """
    if len(values) == 0:
        return np.zeros(0, bool)
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    return (values < certain) | ((values < possible) & (values < middle - deviations * spread))


def quality(measures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Row numbers per kind of trouble, worst first.

    `measures` holds one array per name: those of `statistics.MEASURES`, width and height.
    """
    width = np.asarray(measures["width"], np.float64)
    height = np.asarray(measures["height"], np.float64)
    size = np.sqrt(width * height)
    shape = np.log(np.maximum(width, height) / np.maximum(np.minimum(width, height), 1))
    # below three grey levels of spread, sharpness is noise; below one and a half, nothing is there
    faint, flat = measures["contrast"] < 0.012, measures["contrast"] < 0.006
    focus = np.log(np.maximum(measures["focus"], 1e-4))
    typical = float(np.median(size)) if len(size) else 0.0

    def rows(mask: np.ndarray, badness: np.ndarray) -> np.ndarray:
        chosen = np.flatnonzero(mask)
        return chosen[np.argsort(badness[chosen], kind="stable")]

    return {
        "blurry": rows(low(focus, np.log(0.075), np.log(0.11)) & ~faint, focus),
        "dark": rows(
            low(measures["brightness"], 0.06, 0.16) & (measures["brightest"] < 0.6),
            measures["brightness"],
        ),
        "bright": rows(
            low(1 - measures["brightness"], 0.06, 0.16) & (measures["darkest"] > 0.4),
            1 - measures["brightness"],
        ),
        "low_resolution": rows(low(size, 16, 0.5 * typical), size),
        "odd_aspect": rows(low(-shape, -np.log(4.0), -np.log(2.2)), -shape),
        "blank": rows(flat, measures["contrast"]),
    }
