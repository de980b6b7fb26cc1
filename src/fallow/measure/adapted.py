"""Whether a model got better at other pictures: with labels, and without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallow.measure.paired import mean_range
from fallow.vectors.space import unit

FEWEST = 5  # pictures below which a difference may be chance whatever its interval
SIGNS = 2  # that a model is better, without labels: fewer can be what training itself brings about
SEEN, GONE = 0.005, 0.1  # a class had this share of all answers and kept less than a tenth of it


@dataclass(frozen=True)
class Check:
    """One question asked of both models on the same pictures, and the interval of the change."""

    name: str
    before: float
    after: float
    low: float
    high: float
    counts: bool  # it may decide
    more: bool = True  # is better
    truth: bool = False  # it was asked with labels

    @property
    def change(self) -> str:
        """What can be said of it: better, worse, or no difference that shows.

        >>> Check("accuracy", 0.5, 0.7, 0.1, 0.3, counts=True).change
        'better'
        """
        low, high = (self.low, self.high) if self.more else (-self.high, -self.low)
        if low > 0:
            return "better"
        return "worse" if high < 0 else "no difference that shows"


def checked(
    name: str,
    before: Any,
    after: Any,
    *,
    counts: bool,
    more: bool = True,
    truth: bool = False,
    groups: Any = None,
) -> Check:
    """A check from one value a picture; pictures without one (NaN) are left out.

    >>> checked("accuracy", [0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1], counts=True).change
    'better'
    """
    one, other = np.asarray(before, float), np.asarray(after, float)
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return Check(name, np.nan, np.nan, np.nan, np.nan, False, more, truth)
    own = None if groups is None else np.asarray(groups)[known]
    found = mean_range((other - one)[known], own)
    enough = counts and int(known.sum()) >= FEWEST
    means = float(one[known].mean()), float(other[known].mean())
    return Check(name, *means, found.low, found.high, enough, more, truth)


def condition_accuracy(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For each picture, condition after condition: is the nearest other one of its own condition?

    Rows are embeddings; of either condition as many are drawn, so that a mean of 0.5 says they
    cannot be told apart. Equally near is half right.

    >>> condition_accuracy(np.eye(4)[[0, 0, 1]], np.eye(4)[[2, 2, 3]]).tolist()
    [1.0, 1.0, 0.5, 1.0, 1.0, 0.5]
    """
    few = min(len(ours), len(theirs))
    draw = np.random.default_rng(0)
    some = [rows[np.sort(draw.permutation(len(rows))[:few])] for rows in (ours, theirs)]
    vectors = unit(np.concatenate(some).astype(np.float64))
    codes = np.repeat([0, 1], few)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    best = [near[:, codes == code].max(1) for code in (0, 1)]
    own = np.where(codes == 0, best[0], best[1])
    other = np.where(codes == 0, best[1], best[0])
    return np.where(own == other, 0.5, own > other).astype(float)


def lost(before: Sequence[float], after: Sequence[float], names: Sequence[str]) -> list[str]:
    """Classes that all but vanished from the answers, from their shares of all answers.

    >>> lost([0.9, 0.1], [0.999, 0.001], ["road", "car"])
    ['car']
    """
    triples = zip(before, after, names, strict=True)
    return [name for one, other, name in triples if one > SEEN and other < GONE * one]


@dataclass(frozen=True)
class Verdict:
    """Which model to use, and why, in one sentence."""

    keep_old: bool
    sure: bool  # true labels say so
    reason: str


def verdict(checks: Sequence[Check], gone: Sequence[str] = ()) -> Verdict:
    """The new model must have shown that it is better; otherwise the old one is kept.

    Labels decide where there are some. Without them no check that counts may be worse, no class
    gone, and two checks must be better: one sign alone can be what training itself brought about.
    Agreement of a model with itself, for one, also grows when it is wrong more firmly.

    >>> verdict([Check("accuracy", 0.5, 0.4, -0.2, -0.01, counts=True, truth=True)]).keep_old
    True
    """
    told = [check for check in checks if check.truth and np.isfinite(check.low)]
    if told:
        first = told[0]
        numbers = f"{first.name} {first.before:.3f} before, {first.after:.3f} after"
        if first.change == "better" and first.counts:
            return Verdict(False, True, f"labels say it is better: {numbers}")
        if first.change == "better":
            return Verdict(True, True, f"better on too few labelled pictures to be sure: {numbers}")
        return Verdict(True, True, f"labels say {first.change}: {numbers}")
    if gone:
        return Verdict(True, False, f"it hardly ever answers {', '.join(gone)} any more")
    votes = [check for check in checks if check.counts and np.isfinite(check.low)]
    worse = [check for check in votes if check.change == "worse"]
    if worse:
        names = ", ".join(check.name for check in worse)
        return Verdict(True, False, f"without labels, it looks worse: {names}")
    better = [check for check in votes if check.change == "better"]
    names = " and ".join(check.name for check in better)
    if len(better) >= SIGNS:
        return Verdict(False, False, f"without labels, it looks better: {names}")
    if better:
        return Verdict(
            True, False, f"only one sign that it is better, {names}, and that may deceive"
        )
    return Verdict(True, False, "nothing shows that it is better")


def as_rows(checks: Sequence[Check]) -> list[Mapping[str, Any]]:
    """Checks for a table or a file."""
    return [
        {
            "check": one.name,
            "before": one.before,
            "after": one.after,
            "low": one.low,
            "high": one.high,
            "says": one.change if np.isfinite(one.low) else "not measured",
            "counts": one.counts,
            "with labels": one.truth,
        }
        for one in checks
    ]
