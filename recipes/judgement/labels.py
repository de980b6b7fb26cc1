"""python -m recipes.judgement.labels --python PEERS: wrong labels, chosen on all sets but one.

A problem is some pictures of a set, as vectors, of which a share of the labels was exchanged: at
random, or between classes whose mean vectors are near. Average precision of the ranking,
precision of the flagged and their number, beside cleanlab on the same vectors. What is chosen is
`inventory.verdict.HARD`, and BELOW and ABOVE: between which numbers eight truths of ten lie.
recipes/results/judgement_labels.json holds what the choice of the other sets gives on the set
left out, and what the choice of all gives there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.judgement.common import compared
from benchmarks.judgement.labels import lines
from benchmarks.judgement.measures import average_precision, precision
from benchmarks.judgement.sets import CLASSED
from benchmarks.peer import Peer
from benchmarks.record import Line

from benchmarks import record
from fallow.files import atomic_write
from fallow.inventory import suspects, verdict
from fallow.inventory.judges import views_of
from fallow.inventory.verdict import Fitted, believed
from fallow.vectors import space
from recipes.judgement.count import thinned
from recipes.judgement.sets import seen

SHARES = (0.01, 0.05, 0.2)
ENCODERS = ("tiny", "lite")
MOST = (600, 400, 400)  # pictures at each seed
HARD = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
OUTSIDE = 0.1  # of the truths, on either side of the interval


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
    far = space.squared(means, means)
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


def every(data: Path, cache: Path, seeds: Sequence[int]) -> Iterator[Trial]:
    for seed in seeds:
        for encoder in ENCODERS:
            for name in CLASSED:
                yield from trials(data, cache, name, encoder, seed)


@dataclass(frozen=True)
class Tried:
    """What the judges heard in one trial, and what cleanlab said."""

    trial: Trial
    found: Fitted
    peer: dict[str, Any]

    def listed(self, hard: float) -> tuple[np.ndarray, list[int], np.ndarray]:
        """How doubtful each label is (-1: not judged), those listed, and doubts of the judged."""
        given = np.unique(self.trial.given[self.rows], return_inverse=True)[1]
        said = believed(self.found, given, hard)
        doubt = np.full(len(self.trial.given), -1.0)
        doubt[self.rows] = said.wrong
        listed = np.argsort(-doubt, kind="stable")[: round(said.expected)]
        return doubt, listed[doubt[listed] >= suspects.LEAST].tolist(), said.wrong

    def judged(self, hard: float) -> dict[str, float]:
        """Both sides' numbers, hard images taken off as told."""
        wrong, truth = self.trial.wrong, len(self.trial.wrong)
        doubt, listed, chances = self.listed(hard)
        theirs = self.peer["flagged"]
        expected = float(chances.sum())
        away = abs(float(np.log((expected + 0.5) / (truth + 0.5))))
        return {
            "average precision": average_precision(doubt, wrong),
            "precision of the flagged": precision(listed, wrong),
            "flagged / truth": len(listed) / truth,
            "within 1.5": float(truth <= 1.5 * len(listed) and len(listed) <= 1.5 * truth),
            "away": away,
            "truth": float(truth),
            "expected": expected,
            "spread": verdict.spread(chances),
            "cleanlab average precision": average_precision(self.peer["scores"], wrong),
            "cleanlab precision of the flagged": precision(theirs, wrong),
            "cleanlab flagged / truth": len(theirs) / truth,
        }

    @property
    def rows(self) -> np.ndarray:
        return _judgeable(self.trial.given)

    def lines(self, version: str) -> list[Line]:
        """The same for the table of all judgements, with what was chosen."""
        trial = self.trial
        kind = "similar classes" if trial.similar else "random"
        work = f"labels of {trial.name} ({trial.encoder}), {trial.share:.0%} exchanged ({kind})"
        doubt, listed, _ = self.listed(verdict.HARD)
        return lines(work, doubt, listed, self.peer, trial.wrong, version)


def _judgeable(given: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(given)[given] > 1)


def tried(trial: Trial, peer: dict[str, Any]) -> Tried:
    near = space.neighbours(space.fit(trial.vectors).place(trial.vectors), 15)
    rows = _judgeable(trial.given)
    given = np.unique(trial.given[rows], return_inverse=True)[1]
    views = views_of(trial.vectors[rows])
    return Tried(trial, suspects.Court(near, trial.given, rows, given, views).heard(), peer)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.judgement.labels", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--vectors", type=Path, required=True, help="folder of encoders' vectors")
    parser.add_argument("--kept", type=Path, required=True, help="folder of the peer's answers")
    parser.add_argument("--python", required=True, help="python of the peers' environment")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    told = parser.parse_args(words)
    table: dict[str, list[dict[float, dict[str, float]]]] = {}
    keys: dict[str, list[Trial]] = {}
    beside: list[Line] = []
    with Peer(told.python, "judgement.py") as peers:
        for trial in every(told.data, told.vectors, told.seeds):
            one = tried(trial, asked(peers, trial, told.kept))
            table.setdefault(trial.name, []).append({hard: one.judged(hard) for hard in HARD})
            keys.setdefault(trial.name, []).append(trial)
            beside += one.lines(peers.version)
            print(trial.key, table[trial.name][-1][verdict.HARD], flush=True)
        version = peers.version
    everywhere = chosen(table, list(table))
    widths = widths_of(table, list(table), everywhere)
    found = []
    for name in table:
        others = [other for other in table if other != name]
        hard = chosen(table, others)
        found.append(
            {
                "set": name,
                "hard": hard,
                "left out": mean(table[name], hard)
                | held(table[name], hard, widths_of(table, others, hard)),
                "chosen on all": mean(table[name], everywhere)
                | held(table[name], everywhere, widths),
            }
        )
        print(found[-1], flush=True)
    holds = float(np.mean([one["left out"]["interval holds"] for one in found]))
    beside.append(
        compared("labels: share of intervals that hold the number", "goal", "", holds, 0.8)
    )
    record.write("judgement_labels", beside)
    shares = {
        f"{share:.0%} {'similar' if similar else 'random'}": mean(
            [
                one
                for name in table
                for one, trial in zip(table[name], keys[name], strict=True)
                if (trial.share, trial.similar) == (share, similar)
            ],
            everywhere,
        )
        for share in SHARES
        for similar in (False, True)
    }
    whole = {
        "hard": everywhere,
        "below": round(widths[0], 2),
        "above": round(widths[1], 2),
        "intervals that hold, left out": round(holds, 4),
        "seeds": told.seeds,
        "peer": version,
        "by share": shares,
        "grid": {
            f"{hard:g}": mean([one for each in table.values() for one in each], hard)
            for hard in HARD
        },
        "commit": record.commit(),
    }
    record.write_json(
        record.ROOT / "recipes" / "results" / "judgement_labels.json",
        {"sets": found, "all": whole},
    )
    print(json.dumps(whole, indent=1))


def chosen(table: dict[str, list[dict[float, dict[str, float]]]], names: list[str]) -> float:
    """What brings the expected number nearest to the truth, every set counting the same."""
    return min(HARD, key=lambda hard: np.mean([mean(table[name], hard)["away"] for name in names]))


def widths_of(
    table: dict[str, list[dict[float, dict[str, float]]]], names: list[str], hard: float
) -> tuple[float, float]:
    """How many spreads below and above the expected number the truth is, once of ten times each."""
    away = [[(t[hard]["truth"] - t[hard]["expected"]) / t[hard]["spread"] for t in table[name]]
            for name in names]  # fmt: skip
    share = np.concatenate([np.full(len(one), 1 / len(one)) for one in away])
    low, high = np.quantile(
        np.concatenate(away),
        (OUTSIDE, 1 - OUTSIDE),
        weights=share,
        method="inverted_cdf",  # the one way to take quantiles that knows weights
    )
    return max(-float(low), 0.0), max(float(high), 0.0)


def held(
    trials: list[dict[float, dict[str, float]]], hard: float, widths: tuple[float, float]
) -> dict[str, float]:
    """How many intervals hold the truth, and how many times its lower end the upper one is."""
    ends = [
        (*verdict.ends(t[hard]["expected"], t[hard]["spread"], *widths), t[hard]["truth"])
        for t in trials
    ]
    return {
        "interval holds": round(
            float(np.mean([low <= true <= high for low, high, true in ends])), 4
        ),
        "interval's factor": round(
            float(np.median([(high + 0.5) / (low + 0.5) for low, high, _ in ends])), 2
        ),
    }


INSIDE = ("truth", "expected", "spread")  # of a trial alone; their means say nothing


def mean(trials: list[dict[float, dict[str, float]]], hard: float) -> dict[str, float]:
    names = [name for name in trials[0][hard] if name not in INSIDE]
    return {name: round(float(np.mean([each[hard][name] for each in trials])), 4) for name in names}


if __name__ == "__main__":
    main()
