"""A Gaussian mixture whose components split and merge, so that it finds how many there are.

Everything is float64: the multivariate gamma function loses tenths of a unit in float32.
"""

from __future__ import annotations

import math
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

    number: float  # of points
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
    count = one.number + two.number
    apart = two.mean - one.mean
    mean = (one.number * one.mean + two.number * two.mean) / count
    between = one.number * two.number / count * np.outer(apart, apart)
    return Moments(count, mean, one.scatter + two.scatter + between)


def _many(found: Moments, worth: float) -> Moments:
    """The same points, each of them counted so often."""
    return Moments(found.number * worth, found.mean, found.scatter * worth)


def posterior(found: Moments, before: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a component, given its points."""
    weight = found.number + before.kappa
    mean = (found.number * found.mean + before.kappa * before.mean) / weight
    away = found.mean - before.mean
    pull = before.kappa * found.number / weight * np.outer(away, away)
    freedom = before.nu + found.number + len(mean) + 2
    return mean, (np.diag(before.psi) + found.scatter + pull) / freedom


def evidence(found: Moments, before: Prior, centre: np.ndarray | None = None) -> float:
    """Log marginal likelihood of a component's points; `centre` is by default the posterior mean.

    >>> flat = Prior(np.zeros(1), 1.0, 1.0, np.ones(1))
    >>> round(evidence(moments(np.zeros((1, 1))), flat), 4)  # Student's t with one degree at 0
    -1.4914
    """
    from scipy.special import multigammaln

    count, width = found.number, len(found.mean)
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


def log_split(one: Moments, two: Moments, before: Prior, log_alpha: float = 0.0) -> float:
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
        log_alpha
        + math.lgamma(one.number)
        + evidence(one, before)
        + math.lgamma(two.number)
        + evidence(two, before)
        - math.lgamma(whole.number)
        - evidence(whole, before)
    )


def accepted(log_ratio: float, draw: np.random.Generator) -> bool:
    """Metropolis-Hastings: with probability min(1, H).

    >>> accepted(0.1, np.random.default_rng(0)), accepted(-50.0, np.random.default_rng(0))
    (True, False)
    """
    return log_ratio > 0 or bool(draw.random() < math.exp(log_ratio))


def halves(
    points: np.ndarray,
    draw: np.random.Generator,
    tries: int = 2,
    pinned: np.ndarray | None = None,
) -> np.ndarray:
    """2-means: which half every point is in; begins along the longest axis, then at random pairs.

    Points that are `pinned` (N, true) all stay in the half that is false.

    >>> halves(np.array([[0.0], [0.1], [7.0]]), np.random.default_rng(0)).tolist() in (
    ...     [False, False, True],
    ...     [True, True, False],
    ... )
    True
    """
    middle = points - points.mean(0)
    axis = np.linalg.eigh(middle.T @ middle)[1][:, -1]
    begun = [middle @ axis > 0]
    for _ in range(tries):
        one, two = points[draw.choice(len(points), 2, replace=False)]
        begun.append(((points - two) ** 2).sum(1) < ((points - one) ** 2).sum(1))
    free = np.ones(len(points), bool) if pinned is None else ~pinned
    if pinned is not None:  # either side of every beginning may be the one that leaves
        begun = [half & free for one in begun for half in (one, ~one)]
    best, lowest = begun[0], np.inf
    for half in begun:
        for _ in range(30):
            if half.all() or not half.any():
                break
            one, two = points[~half].mean(0), points[half].mean(0)
            nearer = free & ((points @ (two - one)) > (two @ two - one @ one) / 2)
            if (nearer == half).all():
                break
            half = nearer
        if half.all() or not half.any():
            continue
        spent = sum(((part - part.mean(0)) ** 2).sum() for part in (points[half], points[~half]))
        if spent < lowest:
            best, lowest = half, spent
    return best


# --- splitting and merging ---


NEARER = 0.35  # where, between what must not split and what must not merge, the border lies


class Tests(NamedTuple):
    """What could be done with components: how much likelier two are than one, as logarithms."""

    cuts: list[tuple[int, float, np.ndarray, np.ndarray]]  # component, ratio, the two centres
    pairs: list[tuple[int, int, float, np.ndarray]]  # two components, ratio, their joint centre


def proposals(
    vectors: np.ndarray,
    member: np.ndarray,
    known: np.ndarray,
    before: Prior,
    draw: np.random.Generator,
    *,
    least: int = 5,
    worth: float = 1.0,
) -> Tests:
    """Every component cut in two by 2-means, and every new one beside its nearest neighbour.

    A known class is never torn: its labelled points all stay in one half, and two known classes
    make no pair. Halves of at most `least` points are not proposed. `worth` says how many points
    each one stands for.
    """
    old = len(np.unique(known[known >= 0]))
    count = int(member.max()) + 1
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(count + 1))
    cuts, parts = [], []
    for k in range(count):
        rows = order[starts[k] : starts[k + 1]]
        points, pinned = vectors[rows], known[rows] >= 0
        parts.append(_many(moments(points), worth))
        if len(points) <= 2 * least or (~pinned).sum() <= least:
            continue
        half = halves(points, draw, pinned=pinned if k < old else None)
        if min(half.sum(), (~half).sum()) <= least:
            continue
        one, two = (_many(moments(points[part]), worth) for part in (~half, half))
        cuts.append((k, log_split(one, two, before), one.mean, two.mean))
    centres = np.stack([part.mean for part in parts])
    apart = ((centres[:, None] - centres[None]) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    named = sorted({tuple(sorted((k, int(apart[k].argmin())))) for k in range(old, count)})
    pairs = [
        (a, b, log_split(parts[a], parts[b], before), joined(parts[a], parts[b]).mean)
        for a, b in named
        if count > 1
    ]
    return Tests(cuts, pairs)


def decide(
    tests: Tests,
    log_alpha: float,
    draw: np.random.Generator,
    most: int | None = None,
) -> tuple[list[int], list[int]]:
    """Which cuts and which pairs are accepted; a component takes part in one change a round."""
    touched: set[int] = set()
    cuts: list[int] = []
    pairs: list[int] = []
    for place, (k, ratio, _, _) in enumerate(tests.cuts):
        if (most is None or len(cuts) < most) and accepted(ratio + log_alpha, draw):
            cuts.append(place)
            touched.add(k)
    for place in draw.permutation(len(tests.pairs)).tolist():
        a, b, ratio, _ = tests.pairs[place]
        if a not in touched and b not in touched and accepted(-ratio - log_alpha, draw):
            pairs.append(place)
            touched |= {a, b}
    return cuts, pairs


def split_and_merge(
    vectors: np.ndarray,
    member: np.ndarray,
    known: np.ndarray,
    before: Prior,
    draw: np.random.Generator,
    *,
    least: int = 5,
    most: int | None = None,
    log_alpha: float = 0.0,
) -> tuple[np.ndarray, int]:
    """One test of every component: the centres to go on from, and how many changes there were.

    A split takes its parent away and adds two centres; a known class keeps the half with its
    labels and the other leaves. A merge takes both away and adds their weighted mean, or moves
    the known class that took part. No pair is tested twice.
    """
    old = len(np.unique(known[known >= 0]))
    member, centres = _without_empty(vectors, member, old)
    room = None if most is None else max(0, most - len(centres))
    tests = proposals(vectors, member, known, before, draw, least=least)
    cuts, pairs = decide(tests, log_alpha, draw, room)
    moved, gone, added = centres.copy(), set(), []
    for place in cuts:
        k, _, one, two = tests.cuts[place]
        moved[k] = one  # the half that stays, or one of two new ones
        added.append(two)
    for place in pairs:
        a, b, _, both = tests.pairs[place]
        moved[a] = both
        gone.add(b)
    kept = [moved[k] for k in range(len(centres)) if k not in gone]
    return np.stack([*kept, *added]), len(cuts) + len(pairs)


# --- what known classes teach about new ones ---


class Calibration(NamedTuple):
    """The prior, how readily to split, as a logarithm, and how well classes were found again."""

    before: Prior
    log_alpha: float
    again: float  # share of the images sorted rightly when their labels were hidden


def calibrate(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    ratio: float = 2.0,
    freedom: float | None = None,
    kappa: float = 1e-4,
    alpha: float | None = None,
    rehearsals: int = 8,
    least: int = 5,
    seed: int = 0,
) -> Calibration:
    """The prior of components as wide as known classes, and alpha from rehearsals on them.

    In a rehearsal half of the known classes keep half of their labels and the others lose all.
    k-means is told the true number; alpha is then where as many components would split as merge,
    so that the number stays right. `ratio` is how many images a class has for each that is known:
    in a rehearsal each image counts so often.

    >>> draw = np.random.default_rng(0)
    >>> known = np.arange(4).repeat(20)
    >>> vectors = 9.0 * np.eye(4)[known] + draw.normal(size=(80, 4))
    >>> fit = calibrate(vectors, known)
    >>> fit.again, bool(0.5 < fit.before.psi[0] / (fit.before.nu - 5) < 2.0)
    (1.0, True)
    """
    from fallow.measure.discovery import discovery_accuracy

    labelled = known >= 0
    points, names = vectors[labelled], known[labelled]
    before = prior(vectors, 1.0, nu=freedom or 10.0 * vectors.shape[1], kappa=kappa)
    width = within(points, names)
    before = before._replace(psi=width * max(before.nu - vectors.shape[1] - 1, 1.0)
                             * np.ones(vectors.shape[1]))  # fmt: skip
    if alpha is not None:
        return Calibration(before, math.log(alpha), float("nan"))
    old = int(names.max()) + 1
    borders, again = [], []
    for number in range(rehearsals):
        draw = np.random.default_rng([seed, number])
        rank = np.full(old, -1)
        kept = draw.permutation(old)[: (old + 1) // 2]
        rank[kept] = np.arange(len(kept))
        shown = np.where(draw.random(len(names)) < 0.5, rank[names], -1)
        for one in kept:  # each keeps a label
            shown[np.flatnonzero(names == one)[0]] = rank[one]
        member = semi_kmeans(points, shown, old, starts=3, seed=seed + number).member
        member, _ = _without_empty(points, member, len(kept))
        tests = proposals(points, member, shown, before, draw,
                          least=max(1, round(least / ratio)), worth=ratio)  # fmt: skip
        borders.append(_balance(tests))
        hidden = shown < 0
        if hidden.any():
            sure = rank[names[hidden]] >= 0
            again.append(discovery_accuracy(names[hidden], member[hidden], sure).all)
    return Calibration(before, float(np.median(borders)), float(np.mean(again or [1.0])))


def within(points: np.ndarray, names: np.ndarray) -> float:
    """Mean variance of a class in one direction.

    >>> within(np.array([[0.0], [2.0], [9.0]]), np.array([0, 0, 1]))
    2.0
    """
    sums, freedom = 0.0, 0
    for one in np.unique(names):
        own = points[names == one]
        sums += float(((own - own.mean(0)) ** 2).sum())
        freedom += len(own) - 1
    return max(sums / max(freedom * points.shape[1], 1), 1e-12)


def _balance(tests: Tests) -> float:
    """Log alpha at which as many components split as merge, and as few as that allows."""
    values = np.unique([cut[1] for cut in tests.cuts] + [pair[2] for pair in tests.pairs])
    if not len(values):
        return 0.0
    borders = np.r_[values[0] - 1, (values[1:] + values[:-1]) / 2, values[-1] + 1]
    tried = []
    for border in borders:
        certain = Tests(
            [(k, math.copysign(1e6, ratio - border), x, y) for k, ratio, x, y in tests.cuts],
            [(a, b, math.copysign(1e6, ratio - border), x) for a, b, ratio, x in tests.pairs],
        )
        cuts, pairs = decide(certain, 0.0, np.random.default_rng(0))
        tried.append((abs(len(cuts) - len(pairs)), len(cuts) + len(pairs)))
    good = [place for place, one in enumerate(tried) if one == min(tried)]
    low = values[max(good[0] - 1, 0)]
    high = values[min(good[-1], len(values) - 1)]
    return -float(low + NEARER * (high - low))


# --- the mixture ---


@dataclass(frozen=True)
class Mixture:
    """Components after the last round; the known classes come first."""

    member: np.ndarray  # N
    centres: np.ndarray  # K D
    evidence: float  # of everything: the larger, the better this number of components
    counts: list[int]  # components after every round

    @property
    def count(self) -> int:
        return len(self.centres)


def settle(
    vectors: np.ndarray,
    known: np.ndarray,
    count: int,
    before: Prior,
    *,
    rounds: int = 20,
    least: int = 5,
    most: int | None = None,
    log_alpha: float = 0.0,
    seed: int = 0,
) -> Mixture:
    """Sort, split and merge, from `count` components on, until as many split as merge.

    Every round sorts afresh with the number the last one ended with, so that where this ends does
    not hang on where it began. While the number runs one way it takes longer steps; once it has
    turned, the median of what follows is the estimate.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(6).repeat(30)
    >>> vectors = 9.0 * np.eye(6)[truth] + draw.normal(size=(180, 6))
    >>> known = np.where((truth < 4) & (draw.random(180) < 0.5), truth, -1)
    >>> fit = calibrate(vectors, known)
    >>> ends = [settle(vectors, known, n, fit.before, log_alpha=fit.log_alpha) for n in (5, 12)]
    >>> [end.count for end in ends]
    [6, 6]
    """
    draw = np.random.default_rng(seed)
    old = len(np.unique(known[known >= 0]))
    free = int((known < 0).sum())
    highest = min(old + free, most or len(vectors))
    counts = [min(count, highest)]
    steps: list[int] = []
    turned: int | None = None
    for number in range(rounds):
        found = semi_kmeans(vectors, known, counts[-1], starts=1, rounds=30, seed=seed + number)
        centres, _ = split_and_merge(
            vectors, found.member, known, before, draw,
            least=least, most=most, log_alpha=log_alpha,
        )  # fmt: skip
        step = len(centres) - counts[-1]
        same = bool(steps) and step * steps[-1] > 0
        counts.append(
            int(np.clip(counts[-1] + (round(1.6 * step) if same else step), old, highest))
        )
        if turned is None and (not step or (steps and step * steps[-1] < 0)):
            turned = number
        steps.append(step)
        still = number >= 2 and counts[-1] == counts[-2] == counts[-3]
        if turned is not None and (still or number - turned >= 4):
            break
    rest = counts[1 + turned :] if turned is not None else counts[-3:]
    final = round(float(np.median(rest)))
    found = semi_kmeans(vectors, known, final, starts=5, seed=seed)
    member, centres = _without_empty(vectors, found.member, old)
    parts = [moments(vectors[member == k]) for k in range(len(centres))]
    total = sum(log_alpha + math.lgamma(part.number) + evidence(part, before) for part in parts)
    return Mixture(member, centres, total, counts)


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
        scores.append(math.log(part.number) - volume - (away**2).sum(0) / 2)
    table = np.stack(scores, 1)
    table = np.exp(table - table.max(1, keepdims=True))
    return table / table.sum(1, keepdims=True)


def evened(
    vectors: np.ndarray, known: np.ndarray, dimensions: int, *, first: int = 64, shrink: float = 0.3
) -> np.ndarray:
    """Rows on the main axes (N d) after evening out how classes spread around their means.

    Directions in which images of a known class differ anyway say little about classes, and are
    made shorter. The spread is estimated on the `first` main axes and mixed with `shrink` of a
    round one; 1 leaves the plain main axes.

    >>> draw = np.random.default_rng(0)
    >>> known = np.arange(3).repeat(50)
    >>> rows = np.c_[known + 0.1 * draw.normal(size=150), 9 * draw.normal(size=150)]
    >>> plain, even = principal(rows, 1)[:, 0], evened(rows, known, 1, shrink=0.0)[:, 0]
    >>> [abs(round(float(np.corrcoef(known, x)[0, 1]))) for x in (plain, even)]
    [0, 1]
    """
    points = principal(vectors, first)
    labelled = known >= 0
    names = known[labelled]
    away = points[labelled].copy()
    for one in np.unique(names):
        away[names == one] -= away[names == one].mean(0)
    freedom = max(1, len(away) - len(np.unique(names)))
    spread = away.T @ away / freedom
    size = np.trace(spread) / len(spread)
    if size <= 1e-15:
        return points[:, :dimensions]
    spread = (1 - shrink) * spread + (shrink + 1e-6) * size * np.eye(len(spread))
    return principal(points @ np.linalg.cholesky(np.linalg.inv(spread)), dimensions)


def principal(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Rows on their main axes (N d), float64, at most as many as there are.

    >>> principal(np.array([[0.0, 1.0], [0.0, 3.0]]), 1).round(6).tolist() in (
    ...     [[-1.0], [1.0]],
    ...     [[1.0], [-1.0]],
    ... )
    True
    """
    middle = np.asarray(vectors, np.float64)
    middle = middle - middle.mean(0)
    variance, axes = np.linalg.eigh(middle.T @ middle)
    axes = axes[:, np.argsort(-variance, kind="stable")[:dimensions]]
    sign = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return middle @ (axes * sign)
