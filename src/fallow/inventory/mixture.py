"""A Gaussian mixture whose components split and merge, so that it finds how many there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fallow.inventory.normals import Prior, evidence, moments
from fallow.inventory.semi import semi_kmeans
from fallow.inventory.splits import split_and_merge, without_empty


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

    >>> from fallow.inventory.rehearsal import calibrate
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
    member, centres = without_empty(vectors, found.member, old)
    parts = [moments(vectors[member == k]) for k in range(len(centres))]
    total = sum(log_alpha + math.lgamma(part.number) + evidence(part, before) for part in parts)
    return Mixture(member, centres, total, counts)
