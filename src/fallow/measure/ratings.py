"""Numbers predicted for pictures beside numbers given by people: agreement of several kinds."""

from __future__ import annotations

import numpy as np


def correlation(predicted: np.ndarray, given: np.ndarray) -> float:
    """Pearson's; NaN where one side does not vary."""
    x, y = _pair(predicted, given)
    spread = x.std() * y.std()
    return float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else float("nan")


def concordance(predicted: np.ndarray, given: np.ndarray) -> float:
    """Lin's: 1 only where numbers are equal, 0 where one of the two does not vary.

    >>> round(concordance(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])), 3)
    0.571
    """
    x, y = _pair(predicted, given)
    together = ((x - x.mean()) * (y - y.mean())).mean()
    whole = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * together / whole) if whole > 0 else float("nan")


def consistency(predicted: np.ndarray, given: np.ndarray) -> float:
    """ICC(3,1) of two raters; NaN where what was given does not vary."""
    raters = np.stack(_pair(predicted, given), axis=1)  # N 2
    count = len(raters)
    if np.ptp(raters[:, 1]) == 0:
        return float("nan")
    images, whole = raters.mean(1, keepdims=True), raters.mean()
    rest = raters - images - raters.mean(0, keepdims=True) + whole
    between = 2 * float(np.square(images - whole).sum()) / (count - 1)
    left = float(np.square(rest).sum()) / (count - 1)
    return (between - left) / (between + left)


def root_mean_square(predicted: np.ndarray, given: np.ndarray) -> float:
    x, y = _pair(predicted, given)
    return float(np.sqrt(np.square(x - y).mean()))


def sign_agreement(predicted: np.ndarray, given: np.ndarray) -> float:
    """The share of numbers with the same sign; zeros agree with zeros."""
    x, y = _pair(predicted, given)
    return float((np.sign(x) == np.sign(y)).mean())


def _pair(predicted: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(predicted, np.float64), np.asarray(given, np.float64)
