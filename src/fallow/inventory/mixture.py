"""A Gaussian mixture whose components split and merge, so that it finds how many there are.

Everything is float64: the multivariate gamma function loses tenths of a unit in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fallow.inventory.semi import semi_kmeans


class Prior(NamedTuple):
    """Normal-inverse-Wishart: what a component is taken to look like before its points are seen."""

    mean: np.ndarray  # D
    kappa: float  # how many points the mean is worth
    nu: float  # how many the spread is worth, above D
    psi: np.ndarray  # D, the diagonal of the scatter


class Moments(NamedTuple):
    """What a component needs to know of its points."""

    count: float
    mean: np.ndarray  # D
    scatter: np.ndarray  # D D, about the mean


def prior(
    vectors: np.ndarray,
    scale: float,
    *,
    nu: float | None = None,
    kappa: float = 1e-4,
    by_spread: bool = False,
) -> Prior:
    """The prior of a collection: its mean, and `scale` times the unit scatter.

    `by_spread` scales every direction with its standard deviation instead.

    >>> prior(np.array([[0.0, 0.0], [2.0, 4.0]]), 0.5).psi.tolist()
    [0.5, 0.5]
    """
    vectors = np.asarray(vectors, np.float64)
    width = vectors.shape[1]
    spread = vectors.std(0, ddof=1) if by_spread else np.ones(width)
    return Prior(vectors.mean(0), kappa, width + 3.0 if nu is None else nu, scale * spread)


def moments(points: np.ndarray) -> Moments:
    """Count, mean and scatter of some points (N D).

    >>> moments(np.array([[0.0], [2.0]])).scatter.tolist()
    [[2.0]]
    """
    points = np.asarray(points, np.float64)
    mean = points.mean(0)
    away = points - mean
    return Moments(float(len(points)), mean, away.T @ away)


def joined(one: Moments, two: Moments) -> Moments:
    """The moments of both sets of points together.

    >>> joined(moments(np.array([[0.0]])), moments(np.array([[2.0]]))).scatter.tolist()
    [[2.0]]
    """
    count = one.count + two.count
    apart = two.mean - one.mean
    mean = (one.count * one.mean + two.count * two.mean) / count
    between = one.count * two.count / count * np.outer(apart, apart)
    return Moments(count, mean, one.scatter + two.scatter + between)


def posterior(found: Moments, before: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a component, given its points."""
    weight = found.count + before.kappa
    mean = (found.count * found.mean + before.kappa * before.mean) / weight
    away = found.mean - before.mean
    pull = before.kappa * found.count / weight * np.outer(away, away)
    freedom = before.nu + found.count + len(mean) + 2
    return mean, (np.diag(before.psi) + found.scatter + pull) / freedom


def evidence(found: Moments, before: Prior, centre: np.ndarray | None = None) -> float:
    """Log marginal likelihood of a component's points; `centre` is by default the posterior mean.

    >>> flat = Prior(np.zeros(1), 1.0, 1.0, np.ones(1))
    >>> round(evidence(moments(np.zeros((1, 1))), flat), 4)  # Student's t with one degree at 0
    -1.4914
    """
    from scipy.special import multigammaln

    count, width = found.count, len(found.mean)
    if centre is None:
        centre = (count * found.mean + before.kappa * before.mean) / (count + before.kappa)
    off, away = found.mean - centre, centre - before.mean
    kappa, nu = before.kappa + count, before.nu + count
    scatter = np.diag(before.psi) + found.scatter + count * np.outer(off, off)
    scatter += before.kappa * count / kappa * np.outer(away, away)
    return float(
        -count * width / 2 * math.log(math.pi)
        + multigammaln(nu / 2, width)
        - multigammaln(before.nu / 2, width)
        + before.nu / 2 * np.log(before.psi).sum()
        - nu / 2 * np.linalg.slogdet(scatter)[1]
        + width / 2 * (math.log(before.kappa) - math.log(kappa))
    )


def log_split(one: Moments, two: Moments, before: Prior, alpha: float = 1.0) -> float:
    """How much likelier two components are than one, as a logarithm; merging is its negative.

    >>> draw = np.random.default_rng(0)
    >>> points = draw.normal(size=(60, 2))
    >>> before = prior(points, 1.0)
    >>> together = moments(points[:30]), moments(points[30:])
    >>> apart = moments(points[:30] - 9), moments(points[30:] + 9)
    >>> log_split(*together, before) < 0 < log_split(*apart, before)
    True
    """
    whole = joined(one, two)
    return (
        math.log(alpha)
        + math.lgamma(one.count)
        + evidence(one, before)
        + math.lgamma(two.count)
        + evidence(two, before)
        - math.lgamma(whole.count)
        - evidence(whole, before)
    )


def accepted(log_ratio: float, draw: np.random.Generator) -> bool:
    """Metropolis-Hastings: with probability min(1, H).

    >>> accepted(0.1, np.random.default_rng(0)), accepted(-50.0, np.random.default_rng(0))
    (True, False)
    """
    return log_ratio > 0 or bool(draw.random() < math.exp(log_ratio))


def halves(points: np.ndarray, draw: np.random.Generator, tries: int = 2) -> np.ndarray:
    """2-means: which half every point is in; begins along the longest axis, then at random pairs.

    >>> halves(np.array([[0.0], [0.1], [7.0]]), np.random.default_rng(0)).tolist() in (
    ...     [False, False, True], [True, True, False])
    True
    """
    middle = points - points.mean(0)
    axis = np.linalg.eigh(middle.T @ middle)[1][:, -1]
    begun = [middle @ axis > 0]
    for _ in range(tries):
        one, two = points[draw.choice(len(points), 2, replace=False)]
        begun.append(((points - two) ** 2).sum(1) < ((points - one) ** 2).sum(1))
    best, lowest = begun[0], np.inf
    for half in begun:
        for _ in range(30):
            if half.all() or not half.any():
                break
            one, two = points[~half].mean(0), points[half].mean(0)
            nearer = (points @ (two - one)) > (two @ two - one @ one) / 2
            if (nearer == half).all():
                break
            half = nearer
        if half.all() or not half.any():
            continue
        spent = sum(((part - part.mean(0)) ** 2).sum() for part in (points[half], points[~half]))
        if spent < lowest:
            best, lowest = half, spent
    return best


# --- how large a component is, learnt from classes that are known ---


class Calibration(NamedTuple):
    """A prior's scale, and how known classes fare under it."""

    scale: float
    split: float  # share of the known classes that would wrongly split
    merged: float  # share of their nearest pairs that would wrongly merge

    @property
    def wrong(self) -> float:
        return self.split + self.merged


def calibrate(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    ratio: float = 1.0,
    alpha: float = 1.0,
    seed: int = 0,
) -> Calibration:
    """The scale at which known classes neither split nor merge, as far as one can be found.

    Classes are cut in two by 2-means, and each is put together with its nearest; scales for which
    all cuts are refused and all pairs stay apart are right, and of several the middle one is
    taken. Where no scale satisfies all, wrong splits and wrong merges are kept in balance, so that
    the number of classes stays right. `ratio` is how many times more images a class has than are
    known.

    >>> draw = np.random.default_rng(0)
    >>> known = np.arange(3).repeat(20)
    >>> vectors = 9.0 * np.eye(3)[known][:, :2] + draw.normal(size=(60, 2))
    >>> calibrate(vectors, known)[1:]
    (0.0, 0.0)
    """
    draw = np.random.default_rng(seed)
    classes = [vectors[known == one] for one in np.unique(known[known >= 0])]
    seen = [_many(moments(points), ratio) for points in classes]
    inner = [
        tuple(_many(moments(points[half]), ratio) for half in _both(halves(points, draw)))
        for points in classes
        if len(points) > 3
    ]
    centres = np.stack([one.mean for one in seen])
    apart = ((centres[:, None] - centres[None]) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    pairs = {tuple(sorted((k, int(near)))) for k, near in enumerate(apart.argmin(1))}
    within = sum(float(np.trace(one.scatter)) for one in seen)
    within /= max(sum(one.count for one in seen), 1) * vectors.shape[1]
    scales = within * np.geomspace(1e-2, 1e3, 101)
    cut, together = np.zeros(len(scales)), np.zeros(len(scales))
    for place, scale in enumerate(scales):
        before = prior(vectors, scale)
        cut[place] = np.mean([log_split(*two, before, alpha) > 0 for two in inner] or [0.0])
        together[place] = np.mean([log_split(seen[a], seen[b], before, alpha) < 0
                                   for a, b in pairs])  # fmt: skip
    wrong = cut + together + 0.25 * np.abs(cut - together)
    good = np.flatnonzero(wrong <= wrong.min() + 1e-9)
    middle = good[len(good) // 2]
    return Calibration(float(scales[middle]), float(cut[middle]), float(together[middle]))


def _many(found: Moments, ratio: float) -> Moments:
    return Moments(found.count * ratio, found.mean, found.scatter * ratio)


def _both(half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return half, ~half


# --- the mixture ---


@dataclass(frozen=True)
class Mixture:
    """Components after the last round; those below `old` are the known classes."""

    member: np.ndarray  # N
    centres: np.ndarray  # K D
    old: int
    evidence: float  # of everything: the larger, the better this number of components
    counts: list[int]  # components after every round

    @property
    def count(self) -> int:
        return len(self.centres)


def settle(
    vectors: np.ndarray,
    known: np.ndarray,
    centres: np.ndarray | int,
    before: Prior,
    *,
    rounds: int = 30,
    least: int = 5,
    most: int | None = None,
    alpha: float = 1.0,
    seed: int = 0,
) -> Mixture:
    """Hard EM: pin and assign, then split and merge, until nothing changes in three rounds.

    `centres` (K D, known classes first) is where to begin, or how many to begin with. Known
    classes never split, and no two of them merge; a new component may join a known class.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(4).repeat(30)
    >>> vectors = 9.0 * np.eye(4)[truth] + draw.normal(size=(120, 4))
    >>> known = np.where((truth < 2) & (draw.random(120) < 0.5), truth, -1)
    >>> before = prior(vectors, calibrate(vectors, known).scale)
    >>> [settle(vectors, known, count, before).count for count in (3, 8)]
    [4, 4]
    """
    draw = np.random.default_rng(seed)
    old = len(np.unique(known[known >= 0]))
    if isinstance(centres, int):
        begun = semi_kmeans(vectors, known, centres, starts=3, seed=seed)
        member, centres = begun.member, begun.centres
    else:
        member = semi_kmeans(vectors, known, len(centres), start=centres).member
    counts: list[int] = []
    quiet = 0
    for _ in range(rounds):
        moved, changes = split_and_merge(
            vectors, member, old, before, draw, least=least, most=most, alpha=alpha
        )
        counts.append(len(moved))
        quiet = quiet + 1 if not changes else 0
        if quiet == 3:
            break
        if changes:
            found = semi_kmeans(vectors, known, len(moved), start=moved, rounds=20)
            member, centres = found.member, found.centres
    member, centres = _without_empty(vectors, member, old)
    parts = [moments(vectors[member == k]) for k in range(len(centres))]
    total = sum(
        math.log(alpha) + math.lgamma(part.count) + evidence(part, before) for part in parts
    )
    return Mixture(member, centres, old, total, counts)


def split_and_merge(
    vectors: np.ndarray,
    member: np.ndarray,
    old: int,
    before: Prior,
    draw: np.random.Generator,
    *,
    least: int = 5,
    most: int | None = None,
    alpha: float = 1.0,
) -> tuple[np.ndarray, int]:
    """One test of every component: the centres to go on from, and how many tests were accepted.

    A split takes its parent away and adds two centres; a merge takes both away and adds their
    weighted mean, or moves the known class that took part. No pair is tested twice.
    """
    member, centres = _without_empty(vectors, member, old)
    count = len(centres)
    most = count + len(vectors) if most is None else most
    parts = [moments(vectors[member == k]) for k in range(count)]
    added: list[np.ndarray] = []
    gone: set[int] = set()
    changes = 0
    for k in range(old, count):
        points = vectors[member == k]
        if len(points) <= least or count + changes >= most:
            continue
        half = halves(points, draw)
        if min(half.sum(), (~half).sum()) <= least:
            continue
        one, two = moments(points[half]), moments(points[~half])
        if accepted(log_split(one, two, before, alpha), draw):
            added += [one.mean, two.mean]
            gone.add(k)
            changes += 1
    apart = ((centres[:, None] - centres[None]) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    tested: set[tuple[int, int]] = set()
    taken = set(gone)  # a known class may take in one component a round
    moved = centres.copy()
    for k in draw.permutation(np.arange(old, count)).tolist():
        if k in taken:
            continue
        others = [j for j in range(count) if j != k and j not in taken]
        if not others:
            continue
        near = min(others, key=lambda j: (apart[k, j], j))
        pair = (min(k, near), max(k, near))
        if pair in tested:
            continue
        tested.add(pair)
        if accepted(-log_split(parts[k], parts[near], before, alpha), draw):
            both = joined(parts[k], parts[near]).mean
            taken |= {k, near}
            changes += 1
            gone.add(k)
            if near < old:
                moved[near] = both
            else:
                gone.add(near)
                added.append(both)
    kept = [moved[k] for k in range(count) if k not in gone]
    return np.stack([*kept, *added]), changes


def _without_empty(
    vectors: np.ndarray, member: np.ndarray, old: int
) -> tuple[np.ndarray, np.ndarray]:
    """Components renumbered without the new ones that hold nothing, and their means."""
    filled = np.unique(np.r_[np.arange(old), member])
    member = np.searchsorted(filled, member)
    sums = np.zeros((len(filled), vectors.shape[1]))
    np.add.at(sums, member, vectors)
    return member, sums / np.bincount(member, minlength=len(filled))[:, None]


def responsibilities(vectors: np.ndarray, member: np.ndarray, before: Prior) -> np.ndarray:
    """The chance of every component for every row (N K), by size, posterior mean and covariance."""
    scores = []
    for k in range(int(member.max()) + 1):
        part = moments(vectors[member == k])
        mean, covariance = posterior(part, before)
        lower = np.linalg.cholesky(covariance)
        away = np.linalg.solve(lower, (vectors - mean).T)
        volume = np.log(np.diag(lower)).sum()
        scores.append(math.log(part.count) - volume - (away**2).sum(0) / 2)
    table = np.stack(scores, 1)
    table = np.exp(table - table.max(1, keepdims=True))
    return table / table.sum(1, keepdims=True)


def principal(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Rows on their main axes (N d), float64, at most as many as there are.

    >>> principal(np.array([[0.0, 1.0], [0.0, 3.0]]), 1).round(6).tolist() in (
    ...     [[-1.0], [1.0]], [[1.0], [-1.0]])
    True
    """
    middle = np.asarray(vectors, np.float64)
    middle = middle - middle.mean(0)
    variance, axes = np.linalg.eigh(middle.T @ middle)
    axes = axes[:, np.argsort(-variance, kind="stable")[:dimensions]]
    sign = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return middle @ (axes * sign)


def interval(counts: Sequence[int]) -> tuple[int, int]:
    """Between which numbers nine of ten starts end.

    >>> interval([10, 10, 11, 12])
    (10, 12)
    """
    low, high = np.quantile(counts, [0.05, 0.95])
    return math.floor(low), math.ceil(high)
