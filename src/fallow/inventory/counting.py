"""How many classes there are when some are known: several opinions, weighed by what they are worth.

Known classes say how near images of one class are, how often they stay together where everything
is divided, and how widely a class spreads. Each gives a number; their errors are different. The
weights, and how far from the truth the answer may be, were learnt on sets whose truth is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fallow.inventory.divisions import by_divisions
from fallow.inventory.tally import SPACES, credible, tally
from fallow.problems import Problem

MOST = 12_000  # images looked at
FEW = 6.0  # labels, besides one of each class, that halve how little is known
KEPT = 10  # labelled images of each class that are always looked at


class Rule(NamedTuple):
    """How opinions become a number and its range."""

    weights: tuple[float, ...]  # of `terms`
    added: float
    below: float  # spreads that the truth exceeds once of ten times
    above: float


# Chosen by recipes.judgement.count on all sets.
RULE = Rule((0.099, 0.279, 0.417, 0.493, 0.08), 0.188, 1.15, 1.79)


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
    """Logarithms of how many times the known classes there are."""

    near: float  # by how often labels of neighbours agree
    together: float  # by how often pairs stay together
    width: float  # by how widely classes spread
    few: float  # no opinion: how little is known, 1 where a class has a single label
    spread: float  # of what is credible by the first
    most: float  # classes are, on average, as large as the labelled part of the known ones


def count_classes(
    vectors: np.ndarray,
    known: np.ndarray,
    *,
    sources: np.ndarray | None = None,
    seed: int = 0,
    rule: Rule = RULE,
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
    given = opinions(vectors, known, sources=sources, seed=seed)
    return weighed(given, total, len(vectors), rule)


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
    divided = by_divisions(vectors, codes, most, sources=sources, seed=seed)
    return Opinions(
        near=float(np.mean([one.log for one in told])),
        together=divided.together,
        width=divided.width,
        few=float(FEW / (FEW + sizes.sum() - total)),
        spread=float(np.mean([one.spread for one in told])),
        most=math.log(most / total),
    )


def weighed(given: Opinions, known: int, images: int, rule: Rule = RULE) -> Count:
    """One number of all opinions, and its range.

    >>> weighed(Opinions(0.7, 0.7, 0.7, 0.1, 0.1, 3.0), 5, 600).classes
    11
    """
    middle = expected(given, rule)
    ends = (middle - rule.below * given.spread, middle, middle + rule.above * given.spread)
    low, classes, high = (known * math.exp(min(max(end, 0.0), given.most)) for end in ends)
    found = min(max(round(classes), known), images)
    return Count(found, min(math.floor(low), found), max(min(math.ceil(high), images), found))


def expected(given: Opinions, rule: Rule = RULE) -> float:
    """The logarithm of how many times the known classes there are."""
    told = rule.added + float(np.dot(rule.weights, terms(given)))
    return min(max(told, 0.0), given.most)


def terms(given: Opinions) -> tuple[float, ...]:
    """What is weighed: the opinions, and another weight of nearness where little is known.

    >>> terms(Opinions(1.0, 0.9, 0.8, 0.5, 0.2, 3.0))
    (1.0, 0.9, 0.8, 0.5, 0.5)
    """
    return *given[:3], given.few * given.near, given.few


def looked_at(known: np.ndarray, seed: int) -> np.ndarray:
    """At most MOST rows, and at least KEPT labelled ones of each class, as far as there are."""
    if len(known) <= MOST:
        return np.arange(len(known))
    order = np.random.default_rng(seed).permutation(len(known))
    kept = set(order[:MOST].tolist())
    for code in range(int(known.max()) + 1):
        kept.update(order[known[order] == code][:KEPT].tolist())
    return np.array(sorted(kept))
