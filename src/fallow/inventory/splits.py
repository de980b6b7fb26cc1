"""Splitting and merging normal components: what could be done, and what is."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fallow.inventory.normals import Moments, Prior, counted_often, evidence, joined, moments


def log_split(one: Moments, two: Moments, before: Prior, log_alpha: float = 0.0) -> float:
    """How much likelier two components are than one, as a logarithm; merging is its negative.

    >>> draw = np.random.default_rng(0)
    >>> points = draw.normal(size=(60, 2))
    >>> before = Prior(points.mean(0), 1e-4, 5.0, np.ones(2))
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


class Proposals(NamedTuple):
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
) -> Proposals:
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
        parts.append(counted_often(moments(points), worth))
        if len(points) <= 2 * least or (~pinned).sum() <= least:
            continue
        half = halves(points, draw, pinned=pinned if k < old else None)
        if min(half.sum(), (~half).sum()) <= least:
            continue
        one, two = (counted_often(moments(points[part]), worth) for part in (~half, half))
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
    return Proposals(cuts, pairs)


def decide(
    tests: Proposals,
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
    member, centres = without_empty(vectors, member, old)
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


def without_empty(
    vectors: np.ndarray, member: np.ndarray, old: int
) -> tuple[np.ndarray, np.ndarray]:
    """Components renumbered without the new ones that hold nothing, and their means."""
    filled = np.unique(np.r_[np.arange(old), member])
    member = np.searchsorted(filled, member)
    sums = np.zeros((len(filled), vectors.shape[1]))
    np.add.at(sums, member, vectors)
    return member, sums / np.bincount(member, minlength=len(filled))[:, None]
