"""python -m recipes.judgement.count --data DIR: how many classes there are, all sets but one.

A problem is some classes of a set, some of them known, some pictures of each known one labelled,
all drawn by seed. Those of `benchmarks.judgement.discover` are among them, where half of a class
is labelled; in the others any share is, so that nothing can be learnt from how many labels there
are. What weighs the opinions of `inventory.counting`, and how wide its range is, is chosen on all
sets but one and tried on that one, for each set in turn; then on all, and that is the rule of the
product. Both go into recipes/results/judgement_discover.json, with the rule of every set left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.judgement.discover import PICTURES, kinds
from benchmarks.judgement.planted import Known, known
from benchmarks.judgement.sets import Collection

from fallow.files import atomic_write
from fallow.inventory.counting import Opinions, Rule, opinions, terms, weighed
from fallow.inventory.rounded import rounded
from fallow.inventory.semi import semi_kmeans
from fallow.measure.discovery import discovery_accuracy
from recipes.judgement.sets import SETS, Seen, seen

ENCODERS = ("tiny", "lite")
RESULT = Path(__file__).parents[1] / "results" / "judgement_discover.json"
SIZES = (300, 600, 300, 300, 1000, 300)  # pictures of a problem with any share of labels
SHARES = (0.06, 0.85)  # of a known class that is labelled, evenly in logarithms
OLD = (3, 5, None)  # known classes; None: any share of them
FEW = 5  # labels of a class below which little is said
WIDE = 0.8  # of the truths, in the range


@dataclass(frozen=True)
class Problem:
    """Rows of a set, and what is known of them."""

    seen: Seen
    told: Known
    judged: bool  # as the benchmark asks


def problems(seen: Seen) -> Iterator[Problem]:
    """What is asked of one set: as the benchmark does, and with any share of labels."""
    part = _some(seen, seen.classes, PICTURES, np.random.default_rng([1, 20]))
    for old in kinds(part.classes).values():
        yield Problem(part, known(labels_of(part), old, seed=1), True)
    for seed, most in enumerate(SIZES):
        draw = np.random.default_rng([seed, 22])
        total = _classes(seen, 4, draw) if seed % 2 else seen.classes
        part = _some(seen, total, most, draw)
        old = OLD[(seed + seed // len(OLD)) % len(OLD)]
        old = old or max(2, round(total * draw.uniform(0.2, 0.85)))
        share = float(np.exp(draw.uniform(*np.log(SHARES))))
        if 2 <= old < total:
            yield Problem(part, labelled(part.truth, old, share, draw), False)


def labelled(truth: np.ndarray, old: int, share: float, draw: np.random.Generator) -> Known:
    """About such a share of every known class, two pictures of it at least, but never all.

    >>> told = labelled(np.arange(4).repeat(10), 2, 0.3, np.random.default_rng(0))
    >>> bool((np.bincount(told.codes[told.codes >= 0]) >= 2).all()), told.total
    (True, 4)
    """
    total = int(truth.max()) + 1
    place = draw.permutation(total)
    truth, codes = place[truth], np.full(len(truth), -1)
    for code in range(old):
        own = draw.permutation(np.flatnonzero(truth == code))
        number = round(len(own) * share * np.exp(0.2 * draw.normal()))
        codes[own[: min(max(number, 2), len(own) - 1)]] = code
    return Known(codes, truth, old)


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
    judged: bool
    said: Opinions


def chosen(asked: Sequence[Asked]) -> Rule:
    """Weights by robust regression; the range by how far each set is missed by the others.

    It is as wide as the kind of problem needs that needs more.
    """
    weights, added = _weights(asked)
    away, names = np.empty(len(asked)), _names(asked)
    for name in set(names.tolist()):
        own, rest = _parted(asked, name)
        others, more = _weights(rest)
        away[names == name] = _values(own) @ others + more - _true(own)
    scaled = away / np.array([max(one.said.spread, 1e-9) for one in asked])
    judged = np.array([one.judged for one in asked])
    ends = [
        max(0.0, *(float(np.quantile(side * scaled[kind], (1 + WIDE) / 2))
                   for kind in (judged, ~judged)))
        for side in (1, -1)
    ]  # fmt: skip
    return Rule(_short(weights), round(added, 3), *(round(end, 2) for end in ends))


def _weights(asked: Sequence[Asked]) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import HuberRegressor

    values = _values(asked)
    middle, scale = values.mean(0), values.std(0)
    fitted = HuberRegressor(alpha=1.0, epsilon=1.5, max_iter=2000)
    fitted.fit((values - middle) / scale, _true(asked))
    weights = fitted.coef_ / scale
    return weights, float(fitted.intercept_ - middle @ weights)


def _values(asked: Sequence[Asked]) -> np.ndarray:
    return np.array([terms(one.said) for one in asked])


def _true(asked: Sequence[Asked]) -> np.ndarray:
    return np.log([one.truth / one.old for one in asked])


def _names(asked: Sequence[Asked]) -> np.ndarray:
    return np.array([one.name for one in asked])


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in values)


def _parted(asked: Sequence[Asked], name: str) -> tuple[list[Asked], list[Asked]]:
    own = [one for one in asked if one.name == name]
    return own, [one for one in asked if one.name != name]


def ends_of(asked: Sequence[Asked], rule: Rule) -> np.ndarray:
    """Classes, low and high of some problems by one rule.  3 P"""
    return np.array([weighed(one.said, one.old, one.images, rule) for one in asked]).T


def overall(asked: Sequence[Asked], ends: np.ndarray) -> dict[str, float]:
    """What the issue asks of the count, over some problems; `ends` (3 P): classes, low, high."""
    truth = np.array([one.truth for one in asked])
    classes, low, high = ends
    away = np.abs(classes - truth) / truth
    return {
        "problems": len(asked),
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
            for number, problem in enumerate(problems(seen(data, name, encoder, cache))):
                if not problem.judged:
                    break  # those that are come first
                codes, truth = problem.told.codes, problem.told.truth
                points, free = rounded(problem.seen.vectors, codes), codes < 0
                right = []
                for count in (by[encoder, name, number], problem.told.total):
                    found = semi_kmeans(points, codes, count, starts=3, seed=0).member
                    old = truth[free] < problem.told.old
                    right.append(discovery_accuracy(truth[free], found[free], old).all)
                shares[name].append(right[0] / right[1])
                whole.append(right)
    means, every = np.mean(whole, axis=0), np.concatenate(list(shares.values()))
    return {
        "mean accuracy": round(float(means[0]), 3),
        "told the number": round(float(means[1]), 3),
        "median share": round(float(np.median(every)), 3),
        "at least 0.95 of it": round(float((every >= 0.95).mean()), 3),
        "shares by set": {k: round(float(np.mean(v)), 3) for k, v in shares.items() if v},
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.judgement.count", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for vectors, to go on")
    given = parser.parse_args(words)
    asked = [one for encoder in ENCODERS for name in SETS
             for one in said_of(given.data, given.cache, name, encoder)]  # fmt: skip
    every, names = chosen(asked), _names(asked)
    rules = {name: chosen(_parted(asked, name)[1]) for name in SETS}
    left, told = np.empty((3, len(asked))), ends_of(asked, every)
    for name, rule in rules.items():
        left[:, names == name] = ends_of(_parted(asked, name)[0], rule)

    def both(rows: np.ndarray) -> dict[str, Any]:
        some = [one for one, row in zip(asked, rows, strict=True) if row]
        ends = {"left out": left, "chosen": told}
        return {key: overall(some, one[:, rows]) for key, one in ends.items()}

    old, judged = (np.array([getattr(one, key) for one in asked]) for key in ("old", "judged"))
    encoders = np.array([one.encoder for one in asked])
    labels = np.array([one.labelled / one.old for one in asked])
    kinds_of = {
        "all": judged >= 0, "as the benchmark asks": judged, "any share of labels": ~judged,
        "as the benchmark asks, tiny": judged & (encoders == "tiny"),
        f"at least {FEW} labels a class": labels >= FEW, "fewer labels": labels < FEW,
        "3 known": old == 3, "5 known": old == 5, "more known": old > 5,
    }  # fmt: skip
    found = {
        "rule": every._asdict(),
        "rules": {name: rule._asdict() for name, rule in rules.items()},
        "over all sets": {key: both(rows) for key, rows in kinds_of.items()},
        "beyond a factor of two": [
            {
                "set": one.name, "encoder": one.encoder, "images": one.images,
                "labelled": one.labelled, "known": one.old, "truth": one.truth,
                "classes": int(count), "range": [int(low), int(high)],
            }
            for one, count, low, high in zip(asked, *left, strict=True)
            if max(count / one.truth, one.truth / count) > 2
        ],
        "sorting": sorted_again(given.data, given.cache, asked, left[0]),
        "left out": [_line(name, both(names == name)) for name in SETS if (names == name).any()],
    }  # fmt: skip
    with atomic_write(RESULT) as target:
        target.write(f"{json.dumps(found, indent=1)}\n".encode())
    print(json.dumps({key: found[key] for key in ("rule", "over all sets", "sorting")}, indent=1))


def _line(name: str, said: dict[str, Any]) -> dict[str, Any]:
    line = {"set": name, "problems": said["chosen"].pop("problems")}
    for key in said["chosen"]:
        line |= {f"{key}, {how}": said[how][key] for how in ("chosen", "left out")}
    return line


def said_of(data: Path, cache: Path, name: str, encoder: str) -> list[Asked]:
    """Opinions on all problems of a set, from the cache where they are there."""
    kept = cache / f"count-{encoder}-{name}.json"
    if not kept.is_file():
        made = [
            Asked(
                name, encoder, number, len(each.told.codes), int((each.told.codes >= 0).sum()),
                each.told.old, each.told.total, each.judged,
                opinions(each.seen.vectors, each.told.codes),
            )
            for number, each in enumerate(problems(seen(data, name, encoder, cache)))
        ]  # fmt: skip
        with atomic_write(kept) as target:
            target.write(json.dumps(made).encode())
        print(f"{encoder}, {name}: {len(made)} problems", flush=True)
    rows = json.loads(kept.read_text())
    return [Asked(*row[:-1], Opinions(*row[-1])) for row in rows]


if __name__ == "__main__":
    main()
