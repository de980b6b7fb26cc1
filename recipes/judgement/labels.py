"""python -m recipes.judgement.labels: wrong labels found, chosen on all sets but one.

A problem is some pictures of a set, as vectors, of which a share of the labels was exchanged: at
random, or between classes whose mean vectors are near. Average precision of the ranking,
precision of the flagged and their number, beside cleanlab on the same vectors.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.judgement.sets import CLASSED
from benchmarks.peer import Peer

from fallow.files import atomic_write
from fallow.vectors.space import squared
from recipes.judgement.count import thinned
from recipes.judgement.sets import seen

SHARES = (0.01, 0.05, 0.2)
ENCODERS = ("tiny", "lite")
MOST = (600, 400, 400)  # pictures at each seed


@dataclass(frozen=True)
class Trial:
    """A set with exchanged labels."""

    name: str
    encoder: str
    share: float
    similar: bool
    seed: int
    vectors: np.ndarray  # N D
    given: np.ndarray  # N codes
    wrong: np.ndarray  # rows

    @property
    def key(self) -> str:
        kind = "similar" if self.similar else "random"
        return f"{self.encoder}-{self.name}-{self.share}-{kind}-{self.seed}"


def trials(data: Path, cache: Path, name: str, encoder: str, seed: int) -> Iterator[Trial]:
    """What is asked of one set at one seed: every share, both ways of exchanging."""
    whole = seen(data, name, encoder, cache)
    draw = np.random.default_rng([seed, 11])
    part = whole.take(thinned(np.arange(len(whole.truth)), whole.truth, MOST[seed], draw))
    means = np.stack([part.vectors[part.truth == code].mean(0) for code in range(part.classes)])
    far = squared(means, means)
    np.fill_diagonal(far, np.inf)
    near = np.argsort(far, axis=1)[:, : min(3, part.classes - 1)]
    everything = np.stack([np.delete(np.arange(part.classes), k) for k in range(part.classes)])
    for share in SHARES:
        for similar in (False, True):
            count = len(part.truth)
            wrong = np.sort(draw.choice(count, max(1, round(share * count)), replace=False))
            given = part.truth.copy()
            for row in wrong:
                given[row] = draw.choice((near if similar else everything)[given[row]])
            yield Trial(name, encoder, share, similar, seed, part.vectors, given, wrong)


def asked(peers: Peer, trial: Trial, kept: Path) -> dict[str, Any]:
    """What cleanlab says, from `kept` where it was asked before."""
    file = kept / f"{trial.key}.json"
    if not file.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        # the peer scales every number: turned at random, that does not blow up the small ones
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(trial.vectors.shape[1],) * 2))[0]
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/vectors.npy", trial.vectors @ turn)
            codes = np.unique(trial.given, return_inverse=True)[1]
            answer = peers.ask(
                do="cleanlab_labels", vectors=f"{folder}/vectors.npy", labels=codes.tolist()
            )
        with atomic_write(file) as target:
            target.write(json.dumps(answer).encode())
    return json.loads(file.read_text())


def every(data: Path, cache: Path) -> Iterator[Trial]:
    for seed in range(len(MOST)):
        for encoder in ENCODERS:
            for name in CLASSED:
                yield from trials(data, cache, name, encoder, seed)
