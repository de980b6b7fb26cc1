"""Yes or no, for pictures or for pixels, beside the truth; shares of nothing are 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detected:
    """Counts of right and wrong answers, and the shares that are read from them."""

    hits: int
    passes: int  # rightly left alone
    alarms: int  # wrongly found
    misses: int

    @property
    def accuracy(self) -> float:
        return _share(self.hits + self.passes, self.hits + self.passes + self.alarms + self.misses)

    @property
    def sensitivity(self) -> float:
        return _share(self.hits, self.hits + self.misses)

    @property
    def specificity(self) -> float:
        return _share(self.passes, self.passes + self.alarms)

    @property
    def precision(self) -> float:
        return _share(self.hits, self.hits + self.alarms)

    @property
    def balanced(self) -> float:
        """The harmonic mean of sensitivity and specificity, which some papers call image F1."""
        return _harmonic(self.sensitivity, self.specificity)

    @property
    def overlap(self) -> float:
        """F1 of what was found; 1 where there was nothing, and nothing was found."""
        found = 2 * self.hits + self.alarms + self.misses
        return 2 * self.hits / found if found else 1.0


def detected(found: np.ndarray, truth: np.ndarray) -> Detected:
    """Count answers; both of any shape, true where there is something.

    >>> detected(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])).balanced
    0.5
    """
    found, truth = np.asarray(found).astype(bool), np.asarray(truth).astype(bool)
    hits, alarms = int((found & truth).sum()), int((found & ~truth).sum())
    misses = int((~found & truth).sum())
    return Detected(hits, found.size - hits - alarms - misses, alarms, misses)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _harmonic(one: float, two: float) -> float:
    return 2 * one * two / (one + two) if one + two else 0.0
