"""python -m recipes.judgement.count --data DIR: how many classes there are, all sets but one.

A problem is some classes of a set, some of them known, a few pictures of each known one labelled,
all drawn by seed. What weighs the opinions of `inventory.counting`, and how wide its range is, is
chosen on all sets but one and tried on that one, for each set in turn; then on all, and those are
the constants of the product. Both go into recipes/results/judgement_discover.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.judgement.planted import Known, known
from benchmarks.judgement.sets import Collection

from fallow.files import atomic_write
from fallow.inventory.counting import Opinions, opinions
from fallow.inventory.rounded import rounded
from fallow.inventory.semi import semi_kmeans
from fallow.measure.discovery import discovery_accuracy
from recipes.judgement.sets import SETS, Seen, seen

ENCODERS = ("tiny", "lite")
RESULT = Path(__file__).parents[1] / "results" / "judgement_discover.json"
# known classes (None: half of them), labelled pictures of each (None: half of them)
TOLD: tuple[tuple[int | None, int | None], ...] = ((3, 30), (5, 30), (None, None), (None, 10))
FREE = 2  # problems more of each draw with any share of known classes and any number of labels
SORTED = 800  # pictures of a problem that is sorted, too, at most
WIDE = 0.8  # of the truths, in the range


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
            # from five classes on, as many sizes as there are orders of magnitude
            total = _classes(seen, 5, draw) if seed else seen.classes
            part = _some(seen, total, most[(seed + place) % len(most)], draw)
            if (total // 2 if old is None else old) < 2 or (old or 0) >= total:
                continue
            yield Problem(part, known(labels_of(part), old, per_class=labelled, seed=seed))
    for seed in range(draws):
        draw = np.random.default_rng([seed, 10])
        for place in range(FREE):
            total = _classes(seen, 4, draw)
            part = _some(seen, total, most[(seed + place) % len(most)], draw)
            old = max(2, round(total * draw.uniform(0.2, 0.85)))
            labelled = int(np.exp(draw.uniform(np.log(3), np.log(50))))
            if old < total:
                yield Problem(part, known(labels_of(part), old, per_class=labelled, seed=seed + 50))


def _classes(seen: Seen, least: int, draw: np.random.Generator) -> int:
    low = min(least, seen.classes)
    return round(float(np.exp(draw.uniform(np.log(low), np.log(seen.classes)))))


def _some(seen: Seen, classes: int, most: int, draw: np.random.Generator) -> Seen:
    codes = draw.permutation(seen.classes)[:classes]
    rows = np.flatnonzero(np.isin(seen.truth, codes))
    return seen.take(thinned(rows, seen.truth[rows], most, draw))


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


# --- what is chosen ---


class Asked(NamedTuple):
    """A problem's numbers, and what was said of it."""

    name: str
    encoder: str
    number: int
    images: int
    labelled: int
    old: int
    truth: int
    said: Opinions


class Rule(NamedTuple):
    """The constants of `inventory.counting`."""

    weights: np.ndarray  # 4
    added: float
    widths: np.ndarray  # 2
    below: float
    above: float

    def middle(self, asked: Sequence[Asked]) -> np.ndarray:
        told = self.added + _values(asked) @ self.weights
        return np.clip(told, 0, [one.said.most for one in asked])

    def range(self, asked: Sequence[Asked]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Classes, and the ends of the range."""
        old = np.array([one.old for one in asked])
        most = np.array([one.said.most for one in asked])
        middle, width = self.middle(asked), _wide(asked) @ self.widths
        low = np.floor(old * np.exp(np.clip(middle - self.below * width, 0, most)))
        high = np.ceil(old * np.exp(np.clip(middle + self.above * width, 0, most)))
        classes = np.maximum(np.round(old * np.exp(middle)), old)
        return classes, np.minimum(low, classes), np.maximum(high, classes)


def _values(asked: Sequence[Asked]) -> np.ndarray:
    return np.array([[*one.said[:4]] for one in asked])


def _wide(asked: Sequence[Asked]) -> np.ndarray:
    return np.array([(1.0, one.said.spread) for one in asked])


def _true(asked: Sequence[Asked]) -> np.ndarray:
    return np.log([one.truth / one.old for one in asked])


def chosen(asked: Sequence[Asked]) -> Rule:
    """Weights by robust regression; the range by how far each set is missed by the others."""
    from scipy.optimize import nnls

    weights, added = _weights(asked)
    away = np.empty(len(asked))
    names = np.array([one.name for one in asked])
    for name in set(names.tolist()):
        own, rest = _parted(asked, name)
        away[names == name] = Rule(*_weights(rest), np.ones(2), 1, 1).middle(own) - _true(own)
    widths = nnls(_wide(asked), np.abs(away))[0]
    scaled = away / np.maximum(_wide(asked) @ widths, 1e-9)
    below, above = np.quantile(scaled, (1 + WIDE) / 2), -np.quantile(scaled, (1 - WIDE) / 2)
    return Rule(weights, added, widths, max(float(below), 0.0), max(float(above), 0.0))


def _weights(asked: Sequence[Asked]) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import HuberRegressor

    values = _values(asked)
    middle, scale = values.mean(0), values.std(0)
    fitted = HuberRegressor(alpha=1.0, epsilon=1.5, max_iter=2000)
    fitted.fit((values - middle) / scale, _true(asked))
    weights = fitted.coef_ / scale
    return weights, float(fitted.intercept_ - middle @ weights)


def _parted(asked: Sequence[Asked], name: str) -> tuple[list[Asked], list[Asked]]:
    own = [one for one in asked if one.name == name]
    return own, [one for one in asked if one.name != name]


def overall(asked: Sequence[Asked], ends: np.ndarray) -> dict[str, float]:
    """What the issue asks of the count, over some problems; `ends` (3 P): classes, low, high."""
    truth = np.array([one.truth for one in asked])
    classes, low, high = ends
    away = np.abs(classes - truth) / truth
    return {
        "median error": round(float(np.median(away)), 3),
        "beyond twice": int((np.maximum(classes / truth, truth / classes) > 2).sum()),
        "in range": round(float(((low <= truth) & (truth <= high)).mean()), 3),
        "high / low": round(float(np.median(high / low)), 2),
    }


def sorted_again(
    data: Path, cache: Path, asked: Sequence[Asked], counts: np.ndarray
) -> dict[str, Any]:
    """Accuracy with the number left-out sets got, as a share of that with the true one."""
    by = {(one.encoder, one.name, one.number): int(k) for one, k in zip(asked, counts, strict=True)}
    shares: dict[str, list[float]] = {name: [] for name in SETS}
    whole = []
    for encoder in ENCODERS:
        for name in SETS:
            asked_of = problems(seen(data, name, encoder, cache))
            for number, problem in enumerate(islice(asked_of, len(TOLD))):
                if len(problem.told.codes) > SORTED:
                    continue
                codes, truth = problem.told.codes, problem.told.truth
                points, free = rounded(problem.seen.vectors, codes), codes < 0
                right = []
                for count in (by[encoder, name, number], problem.told.total):
                    found = semi_kmeans(points, codes, count, starts=3, seed=0).member
                    old = truth[free] < problem.told.old
                    right.append(discovery_accuracy(truth[free], found[free], old).all)
                shares[name].append(right[0] / right[1])
                whole.append(right)
    means = np.mean(whole, axis=0)
    return {
        "mean accuracy": round(float(means[0]), 3),
        "told the number": round(float(means[1]), 3),
        "median share": round(float(np.median(np.concatenate(list(shares.values())))), 3),
        "shares by set": {k: round(float(np.mean(v)), 3) for k, v in shares.items() if v},
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.judgement.count", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for vectors, to go on")
    given = parser.parse_args(words)
    asked = [one for encoder in ENCODERS for name in SETS
             for one in said_of(given.data, given.cache, name, encoder)]  # fmt: skip
    lines, ends = [], np.empty((3, len(asked)))
    truth, old = (np.array([getattr(one, key) for one in asked]) for key in ("truth", "old"))
    names = np.array([one.name for one in asked])
    every = chosen(asked)
    for name in SETS:
        own, rest = _parted(asked, name)
        if own:
            rule = chosen(rest)
            ends[:, names == name] = rule.range(own)
            told, left = (overall(own, np.stack(one.range(own))) for one in (every, rule))
            one = {"set": name, "problems": len(own)}
            for key in left:
                one |= {f"{key}, chosen": told[key], f"{key}, left out": left[key]}
            lines.append(one)
            print(json.dumps(lines[-1]), flush=True)
    found = {
        "constants": {
            "WEIGHTS": [round(float(value), 3) for value in every.weights],
            "ADDED": round(every.added, 3),
            "WIDTHS": [round(float(value), 3) for value in every.widths],
            "BELOW": round(every.below, 2),
            "ABOVE": round(every.above, 2),
        },
        "all sets": {
            "left out": overall(asked, ends),
            "chosen": overall(asked, np.stack(every.range(asked))),
        },
        "by known classes": {
            key: overall([one for one, row in zip(asked, rows, strict=True) if row], ends[:, rows])
            for key, rows in {"3": old == 3, "5": old == 5, "half": old == truth // 2}.items()
        },
        "beyond a factor of two": [
            {
                "set": one.name, "encoder": one.encoder, "images": one.images,
                "labelled": one.labelled, "known": one.old, "truth": one.truth,
                "classes": int(count), "range": [int(low), int(high)],
            }
            for one, count, low, high in zip(asked, *ends, strict=True)
            if max(count / one.truth, one.truth / count) > 2
        ],
        "sorting": sorted_again(given.data, given.cache, asked, ends[0]),
        "left out": lines,
    }  # fmt: skip
    with atomic_write(RESULT) as target:
        target.write(f"{json.dumps(found, indent=1)}\n".encode())
    print(json.dumps({key: found[key] for key in ("constants", "all sets", "sorting")}, indent=1))


def said_of(data: Path, cache: Path, name: str, encoder: str) -> list[Asked]:
    """Opinions on all problems of a set, from the cache where they are there."""
    kept = cache / f"count-{encoder}-{name}.json"
    if not kept.is_file():
        made = [
            Asked(
                name, encoder, number, len(each.told.codes), int((each.told.codes >= 0).sum()),
                each.told.old, each.told.total, opinions(each.seen.vectors, each.told.codes),
            )
            for number, each in enumerate(problems(seen(data, name, encoder, cache)))
        ]  # fmt: skip
        with atomic_write(kept) as target:
            target.write(json.dumps(made).encode())
    rows = json.loads(kept.read_text())
    return [Asked(*row[:-1], Opinions(*row[-1])) for row in rows]


if __name__ == "__main__":
    main()
