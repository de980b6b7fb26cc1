"""Which images are blurry, dark, bright, small, oddly shaped or blank, by robust thresholds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# A value below the first is trouble anywhere; one below the second only if it is so many
# deviations, the third, under the collection's own middle.
# Chosen leave-one-set-out by recipes.judgement.quality.
LIMITS = {
    "blurry": (0.1, 0.15, 2.5),  # of the sharpest region's focus
    "dark": (0.15, 0.2, 2.5),  # of the 99th percentile of brightness
    "bright": (0.1, 0.2, 3.0),  # of what the 5th percentile leaves to white
}
FAINT, FLAT = 0.012, 0.006  # contrast: below, sharpness is noise; and nothing is there


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


def goodness(measures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each kind of trouble a value per row that is the lower the worse it is.

    `measures` holds one array per name: those of `statistics.MEASURES`, width and height. A
    picture is as sharp as its sharpest region, as dark as its brightest places, and as bright as
    its darkest ones: soft ground and a night with lamps are style.
    """
    width = np.asarray(measures["width"], np.float64)
    height = np.asarray(measures["height"], np.float64)
    long, short = np.maximum(width, height), np.maximum(np.minimum(width, height), 1)
    return {
        "blurry": np.where(measures["contrast"] < FAINT, 1.0, np.maximum(measures["focus"], 1e-4)),
        "dark": np.asarray(measures["brightest"], np.float64),
        "bright": 1 - np.asarray(measures["darkest"], np.float64),
        "low_resolution": long,  # a strip is short on one side, and oddly shaped, not small
        "odd_aspect": -np.log(long / short),
        "blank": np.asarray(measures["contrast"], np.float64),
    }


def quality(measures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Row numbers per kind of trouble, worst first."""
    good = goodness(measures)
    certain, possible, deviations = LIMITS["blurry"]
    flagged = {
        # sharpness differs by factors between cameras: its spread is that of its logarithm
        "blurry": low(np.log(good["blurry"]), np.log(certain), np.log(possible), deviations),
        "dark": low(good["dark"], *LIMITS["dark"]),
        "bright": low(good["bright"], *LIMITS["bright"]),
        "low_resolution": low(good["low_resolution"], 16, 0.5 * _middle(good["low_resolution"])),
        "odd_aspect": low(good["odd_aspect"], -np.log(4.0), -np.log(2.2)),
        "blank": good["blank"] < FLAT,
    }

    def rows(kind: str) -> np.ndarray:
        chosen = np.flatnonzero(flagged[kind])
        return chosen[np.argsort(good[kind][chosen], kind="stable")]

    return {kind: rows(kind) for kind in flagged}


def _middle(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0
