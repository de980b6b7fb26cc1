"""python -m recipes.judgement.spot --data FOLDER --scores FILE: where spot's ordinary scores end.

Every set is scored once by `spot` as it is, a quarter of its pictures odd; problems with fewer odd
ones leave some of them out. The constants of `methods.shared.expected` that serve the other sets
best are tried on the set that was left out, beside the rule before and a 3-MAD rule.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.record import Line, line, write, write_json

import fallow
from fallow.methods.shared.expected import Expected, cut, expected
from fallow.methods.shared.oddness import robust_threshold, suited_sight
from fallow.methods.spot.musc import Settings, judge
from recipes.judgement.odd import ODD_SETS

SHARES = (0.0, 0.02, 0.05, 0.1, 0.25)
CONSTANTS = tuple(product((1.5, 2.0, 3.0), (0.3, 0.6), (0.1, 0.2), (0.0, 2.5, 3.0, 3.5, 4.0, 5.0)))
PRECISION, RECALL = 0.8, 0.5
RESULTS = Path(__file__).resolve().parents[1] / "results"

Constants = tuple[float, float, float, float]  # apart, nothing, wrong, beyond


class Problem(NamedTuple):
    """Scores of pictures of one set, and which are odd."""

    name: str
    share: float
    scores: np.ndarray
    odd: np.ndarray


class Tally(NamedTuple):
    """Pictures flagged, those of them that are odd, all that are odd; false ones where none is."""

    flagged: int = 0
    hits: int = 0
    odd: int = 0
    false: int = 0

    def __add__(self, other: Any) -> Tally:
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def precision(self) -> float:
        return self.hits / self.flagged if self.flagged else 1.0

    @property
    def recall(self) -> float:
        return self.hits / self.odd if self.odd else 1.0

    @property
    def worth(self) -> float:
        """What is found, less three of what is found wrongly; twice that where nothing is odd."""
        return self.hits - 3 * (self.flagged - self.hits) - 6 * self.false


def problems(scored: dict[str, dict[str, list[float]]], draws: int = 2) -> Iterator[Problem]:
    """Of every set with each share of odd pictures, which are drawn by seed."""
    for place, (name, one) in enumerate(scored.items()):
        good, bad = np.array(one["good"]), np.array(one["odd"])
        for share in SHARES:
            count = round(share / (1 - share) * len(good))
            count = min(max(count, 1), len(bad)) if share else 0
            for seed in range(draws if count else 1):
                drawn = np.random.default_rng([seed, place]).permutation(bad)[:count]
                odd = np.r_[np.zeros(len(good), bool), np.ones(count, bool)]
                yield Problem(name, share, np.r_[good, drawn], odd)


def tally(asked: Sequence[Problem], thresholds: Sequence[float]) -> Tally:
    """How thresholds serve problems."""
    total = Tally()
    for one, threshold in zip(asked, thresholds, strict=True):
        flagged = one.scores > threshold
        none = not one.odd.any()
        hits = int((flagged & one.odd).sum())
        count = int(flagged.sum())
        total += Tally(0, 0, 0, count) if none else Tally(count, hits, int(one.odd.sum()))
    return total


def mad(scores: np.ndarray) -> float:
    """Three median deviations above the median."""
    middle = float(np.median(scores))
    return middle + 3 * 1.4826 * float(np.median(np.abs(scores - middle)))


def judged(asked: list[Problem]) -> dict[str, Any]:
    """Constants for each set chosen on the others, and how all rules serve it."""
    said: dict[tuple[float, float], list[Expected]] = {
        (apart, nothing): [expected(one.scores, apart=apart, nothing=nothing) for one in asked]
        for apart, nothing in {constants[:2] for constants in CONSTANTS}
    }
    places = {name: [k for k, one in enumerate(asked) if one.name == name]
              for name in dict.fromkeys(one.name for one in asked)}  # fmt: skip

    def served(constants: Constants, name: str) -> Tally:
        found = said[constants[:2]]
        own = places[name]
        thresholds = [cut(asked[k].scores, found[k].odd, *constants[2:]) for k in own]
        return tally([asked[k] for k in own], thresholds)

    table = {c: {name: served(c, name) for name in places} for c in CONSTANTS}

    def best(names: Sequence[str]) -> Constants:
        return max(table, key=lambda c: sum(table[c][name].worth for name in names))

    everywhere = best(list(places))
    rules: dict[str, Callable[[np.ndarray], float]] = {
        "before": lambda scores: robust_threshold(scores, 3), "3 MAD": mad,
    }  # fmt: skip
    sets = {}
    for name, own in places.items():
        chosen = best([other for other in places if other != name])
        mine = [asked[k] for k in own]
        truth = [int(one.odd.sum()) for one in mine]
        bounds = [said[chosen[:2]][k].interval for k in own]
        covered = [low <= n <= high for n, (low, high) in zip(truth, bounds, strict=True)]
        sets[name] = {
            "chosen": chosen, "left out": table[chosen][name], "on all": table[everywhere][name],
            "covered": float(np.mean(covered)),
            **{rule: tally(mine, [ends(one.scores) for one in mine])
               for rule, ends in rules.items()},
        }  # fmt: skip
    return {"constants": everywhere, "sets": sets}


def lines(found: dict[str, Any]) -> list[Line]:
    """Rows of the table: each rule on every set, and goals over all."""
    rows = []
    for rule in ("before", "3 MAD"):
        for name, one in found["sets"].items():
            ours, theirs = one["left out"], one[rule]
            rows.append(line(f"spot, {name}: precision at the flagged", rule, "",
                             [(ours.precision, max(theirs.precision, 1e-3))], None))  # fmt: skip
    for rule in ("left out", "on all", "before", "3 MAD"):
        total = sum((one[rule] for one in found["sets"].values()), Tally())
        rows += [
            line(f"spot, {rule}: precision over all sets", "goal", "",
                 [(total.precision, PRECISION)], 1.0),
            line(f"spot, {rule}: recall over all sets", "goal", "",
                 [(total.recall, RECALL)], 1.0),
            line(f"spot, {rule}: 1 / (1 + flagged where nothing is odd)", "goal", "",
                 [(1 / (1 + total.false), 1.0)], 1.0),
        ]  # fmt: skip
    covered = float(np.mean([one["covered"] for one in found["sets"].values()]))
    rows.append(line("spot: share of intervals that hold the number", "goal", "",
                     [(covered, 0.8)], 1.0))  # fmt: skip
    return rows


def scored(data: Path, encoder: str = "tiny") -> dict[str, dict[str, list[float]]]:
    """Image scores of every set, as `spot` gives them when nothing else is said."""
    found = {}
    chosen, settings = fallow.encoder(encoder), Settings()
    for name, make in ODD_SETS.items():
        pictures, odd = make(data)
        images = fallow.images.open(pictures)
        judging = judge(chosen, suited_sight(chosen, settings, images), settings)
        seen, _ = judging.among(images, 0, lambda _: None)
        scores, truth = judging.image_scores(seen.patches), odd[seen.rows]
        found[name] = {"good": scores[~truth].tolist(), "odd": scores[truth].tolist()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True,
                        help="JSON of image scores, made where it is missing")  # fmt: skip
    asked = parser.parse_args()
    if not asked.scores.is_file():
        write_json(asked.scores, scored(asked.data))
    given = json.loads(asked.scores.read_text())
    found = judged(list(problems(given)))
    names = ("apart", "nothing", "wrong", "beyond")
    plain = {
        "constants": dict(zip(names, found["constants"], strict=True)),
        "sets": {
            name: {key: value._asdict() if isinstance(value, Tally) else value
                   for key, value in one.items()}
            for name, one in found["sets"].items()
        },
        "scores": given,
    }  # fmt: skip
    write_json(RESULTS / "judgement_spot.json", plain)
    write("judgement_spot", lines(found))


if __name__ == "__main__":
    main()
