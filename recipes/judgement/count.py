"""python -m recipes.judgement.count: how many classes there are, chosen on all sets but one.

A problem is some classes of a set, some of them known, a few pictures of each known one labelled,
all drawn by seed. Constants are those of `inventory.counting`; those that serve the other sets
best are tried on the set that was left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from benchmarks.judgement.planted import Known, known
from benchmarks.judgement.sets import Collection

from recipes.judgement.sets import Seen

# known classes (None: half of them), labelled pictures of each (None: half of them)
TOLD: tuple[tuple[int | None, int | None], ...] = ((3, 30), (5, 30), (None, None), (None, 10))
SPACES = ((32, 0.3), (32, 0.6), (64, 0.3), (64, 0.6), (64, 1.0), (128, 0.6))
SCATTERS = tuple(product((0.2, 0.35, 0.5, 0.7), (0.2, 0.3, 0.4)))


@dataclass(frozen=True)
class Problem:
    """Rows of a set, and what is known of them."""

    seen: Seen
    told: Known

    @property
    def name(self) -> str:
        return self.seen.name


def problems(seen: Seen, draws: int = 3, most: Sequence[int] = (600, 3000)) -> Iterator[Problem]:
    """What is asked of one set: of all its classes, and of some, in few pictures and in many."""
    for seed in range(draws):
        draw = np.random.default_rng([seed, 9])
        for place, (old, labelled) in enumerate(TOLD):
            total = seen.classes
            if seed:  # from five classes on, as many sizes as there are orders of magnitude
                total = round(float(np.exp(draw.uniform(np.log(min(5, total)), np.log(total)))))
            codes = draw.permutation(seen.classes)[:total]
            rows = np.flatnonzero(np.isin(seen.truth, codes))
            limit = most[(seed + place) % len(most)]
            part = seen.take(thinned(rows, seen.truth[rows], limit, draw))
            if (total // 2 if old is None else old) < 2 or (old or 0) >= total:
                continue
            yield Problem(part, known(labels_of(part), old, per_class=labelled, seed=seed))


def thinned(
    rows: np.ndarray, truth: np.ndarray, most: int, draw: np.random.Generator
) -> np.ndarray:
    """About `most` rows, the same share of every class, but five of each."""
    if len(rows) <= most:
        return rows
    kept = []
    for code in np.unique(truth):
        own = rows[truth == code]
        share = max(round(len(own) * most / len(rows)), min(5, len(own)))
        kept.append(draw.permutation(own)[:share])
    return np.sort(np.concatenate(kept))


def labels_of(seen: Seen) -> Collection:
    """The set without its pictures, for what is planted in labels alone."""
    nothing = [b""] * len(seen.truth)
    names = [""] * len(nothing)
    return Collection(seen.name, names, nothing, seen.truth, [f"{k}" for k in range(seen.classes)])
