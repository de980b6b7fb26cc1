"""How many classes there are when some are known: several opinions, weighed by what they are worth.

Known classes say how near images of one class are, how large classes are, and how much a fine
division of everything tells of the class. Each gives a number; their errors are different. The
weights, and how far from the truth the answer may be, were learnt on sets whose truth is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fallow.inventory.reach import times_known
from fallow.inventory.tally import SPACES, credible, tally
from fallow.problems import Problem
from fallow.vectors import space

# Chosen by recipes.judgement.count on all sets: weights of the opinions and of how spread the first
# is, what is added, and how wide the range is, always and with the spread.
WEIGHTS = (0.662, -0.405, 0.199, 0.117)
ADDED = 0.164
WIDTHS = (0.049, 0.561)
BELOW, ABOVE = 1.30, 1.83  # widths that the truth exceeds once of ten times, either way

MOST = 12_000  # images looked at
FINE = 4  # images of a part in the fine division
PARTS = 1000  # of the fine division, at most
KEPT = 10  # labelled images of each class that are always looked at


class Count(NamedTuple):
    """How many classes there are, and the range that holds the truth eight times of ten."""

    classes: int
    low: int
    high: int

    @property
    def open(self) -> bool:
        """Whether the range is too wide for the number to say much."""
        return self.high > 2.5 * self.low


class Opinions(NamedTuple):
    """Logarithms of how many times the known classes fit into everything."""

    near: float  # by how often labels of neighbours agree
    spread: float  # of what is credible by that
    reach: float  # by the size of known classes
    fine: float  # by what a fine division tells of the class
    most: float  # classes are, on average, as large as the labelled part of the known ones


def count_classes(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    sources: np.ndarray | None = None,
    seed: int = 0,
) -> Count:
    """How many classes rows (N F) belong to; `known` (N) is a class from 0, or -1.

    Rows of the same one of `sources` (N), such as parts of one image, say nothing of each other.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(12).repeat(40)
    >>> vectors = np.eye(12)[truth] + 0.2 * draw.normal(size=(480, 12))
    >>> known = np.where((truth < 4) & (draw.random(480) < 0.5), truth, -1)
    >>> count = count_classes(vectors, known)
    >>> count.low <= 12 <= count.high
    True
    """
    total = int(known.max()) + 1
    if float(np.ptp(vectors, axis=0).max()) <= 1e-6 * float(np.abs(vectors).max()):
        return Count(total, total, total)  # copies of one image: nothing speaks for another class
    return weighed(opinions(vectors, known, sources=sources, seed=seed), total, len(vectors))


def opinions(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    sources: np.ndarray | None = None,
    seed: int = 0,
) -> Opinions:
    """What the known classes say of the number of all."""
    rows = looked_at(known, seed)
    vectors, codes = np.asarray(vectors[rows], np.float32), known[rows]
    sources = None if sources is None else sources[rows]
    sizes = np.bincount(codes[codes >= 0], minlength=1)
    if len(sizes) < 2 or sizes.max() < 2:
        raise Problem(
            "classes are counted by at least two known ones, one of them with two labelled images"
        )
    total = len(sizes)
    most = max(min(len(codes) / 2, len(codes) * total / sizes.sum()), total + 0.5)
    told = [
        credible(tally(vectors, codes, dimensions=d, roundness=r, sources=sources), most)
        for d, r in SPACES
    ]
    top = math.log(most / total)
    wide, narrow = (
        space.fit(vectors, dimensions=d, whiten=0.5, seed=seed).place(vectors) for d in (64, 32)
    )
    return Opinions(
        near=float(np.mean([one.log for one in told])),
        spread=float(np.mean([one.spread for one in told])),
        reach=times_known(wide, codes, top, sources=sources, seed=seed),
        fine=min(max(_told_by_parts(narrow, codes, seed), 0.0), top),
        most=top,
    )


def weighed(given: Opinions, known: int, images: int) -> Count:
    """One number of all opinions, and its range.

    >>> weighed(Opinions(0.7, 0.1, 0.7, 0.7, 3.0), 5, 600).classes
    11
    """
    middle = expected(given)
    width = width_of(given)
    ends = (middle - BELOW * width, middle, middle + ABOVE * width)
    low, classes, high = (known * math.exp(min(max(end, 0.0), given.most)) for end in ends)
    found = min(max(round(classes), known), images)
    return Count(found, min(math.floor(low), found), max(min(math.ceil(high), images), found))


def expected(given: Opinions) -> float:
    """The logarithm of how many times the known classes there are."""
    told = ADDED + float(np.dot(WEIGHTS, (given.near, given.spread, given.reach, given.fine)))
    return min(max(told, 0.0), given.most)


def width_of(given: Opinions) -> float:
    """How far off the logarithm is, on average."""
    return float(np.dot(WIDTHS, (1.0, given.spread)))


def looked_at(known: np.ndarray, seed: int) -> np.ndarray:
    """At most MOST rows, and at least KEPT labelled ones of each class, as far as there are."""
    if len(known) <= MOST:
        return np.arange(len(known))
    order = np.random.default_rng(seed).permutation(len(known))
    kept = set(order[:MOST].tolist())
    for code in range(int(known.max()) + 1):
        kept.update(order[known[order] == code][:KEPT].tolist())
    return np.array(sorted(kept))


def _told_by_parts(points: np.ndarray, known: np.ndarray, seed: int) -> float:
    """What parts of FINE rows tell of the class, above what they tell of the known ones.

    If a part's class were always clear, what parts tell of the class would be the logarithm of the
    number of classes; what is missing of that is taken from the known ones. In tables of few rows
    entropies are too small by half of the places filled for each row (Miller and Madow).
    """
    count = min(max(len(points) // FINE, 2), PARTS)
    member = space.kmeans(points, count, rounds=12, seed=seed)[1]
    total, count = int(known.max()) + 1, int(member.max()) + 1
    labelled = known >= 0
    table = np.zeros((total, count))
    np.add.at(table, (known[labelled], member[labelled]), 1)
    sizes = table.sum(1)
    each = table / sizes[:, None]
    inside = np.array([_entropy(row) for row in each])
    missing = np.log(total) - (_entropy(each.mean(0)) - inside.mean())
    held = inside + ((table > 0).sum(1) - 1) / (2 * sizes)
    whole = _entropy(np.bincount(member, minlength=count) / len(member))
    return float(whole - held.mean() + missing - np.log(total))


def _entropy(shares: np.ndarray) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())
