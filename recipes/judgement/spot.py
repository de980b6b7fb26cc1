"""python -m recipes.judgement.spot --data FOLDER --cache FOLDER: where spot's ordinary scores end.

Every set is looked at once by `spot` as it is, and its patch scores are kept. How much of what is
usual at a place is taken off them, and the constants of `methods.shared.expected`, are those that
serve the other sets best, tried on the set that was left out, beside the rule before and a 3-MAD
rule. Problems of fewer pictures and of fewer odd ones leave some out, drawn by seed; what is usual
at a place, and the pictures that all are judged by, stay those of the whole set.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.judgement.measures import average_precision
from benchmarks.record import Line, line, write, write_json

import fallow
from fallow.files import atomic_write
from fallow.methods.shared.crowd import usual_at
from fallow.methods.shared.expected import Expected, cut, expected
from fallow.methods.shared.oddness import robust_threshold, suited_sight
from fallow.methods.spot.musc import Settings, judge
from recipes.judgement.odd import ODD_SETS, kin

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
SIZES = (40, 100, None)  # good pictures, None: all
DRAWS = 2
PLACES = (0.0, 0.5, 1.0)
CONSTANTS = tuple(product((1.5,), (0.3, 0.6), (0.05, 0.1, 0.2), (0.0, 3.0, 4.0, 5.0, 6.0)))
PRECISION, RECALL, HELD = 0.8, 0.5, 0.8
RESULTS = Path(__file__).resolve().parents[1] / "results"

Constants = tuple[float, float, float, float]  # apart, nothing, wrong, beyond


class Problem(NamedTuple):
    """Scores of pictures of one set, and which are odd."""

    name: str
    share: float
    scores: np.ndarray
    odd: np.ndarray


class Seen(NamedTuple):
    """A set as spot sees it."""

    patches: np.ndarray  # N h w, nothing taken off
    odd: np.ndarray  # N

    def scores(self, place: float) -> np.ndarray:
        """Scores of pictures where so much of what is usual at a place is taken off."""
        settled = (self.patches - usual_at(self.patches, place)).reshape(len(self.patches), -1)
        count = max(1, round(Settings().top * settled.shape[1]))
        return np.sort(settled, axis=1)[:, -count:].mean(1)


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


def problems(name: str, scores: np.ndarray, odd: np.ndarray) -> Iterator[Problem]:
    """Of every size and with each share of odd pictures, which are drawn by seed."""
    good, bad = scores[~odd], scores[odd]
    for most, share in product(SIZES, SHARES):
        if most is not None and most >= len(good):
            continue
        for seed in range(1 if most is None and not share else DRAWS):
            random = np.random.default_rng([seed, list(ODD_SETS).index(name)])
            sound = good if most is None else random.permutation(good)[:most]
            count = round(share / (1 - share) * len(sound))
            drawn = random.permutation(bad)[: max(count, 1) if share else 0]
            truth = np.r_[np.zeros(len(sound), bool), np.ones(len(drawn), bool)]
            yield Problem(name, share, np.r_[sound, drawn], truth)


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


def within_reach(asked: Sequence[Problem]) -> float:
    """The recall that the best threshold of each problem has, at PRECISION."""
    hits, odd = 0, 0
    for one in asked:
        found = np.cumsum(one.odd[np.argsort(-one.scores)])
        allowed = found[found / np.arange(1, len(found) + 1) >= PRECISION]
        hits, odd = hits + int(allowed[-1] if len(allowed) else 0), odd + int(one.odd.sum())
    return hits / odd


def mad(scores: np.ndarray) -> float:
    """Three median deviations above the median."""
    middle = float(np.median(scores))
    return middle + 3 * 1.4826 * float(np.median(np.abs(scores - middle)))


class Tried(NamedTuple):
    """One set at one share of what is usual: its problems, and what is said of them."""

    asked: list[Problem]
    said: dict[tuple[float, float], list[Expected]]  # by apart and nothing
    precision: float  # average, of the whole set

    def served(self, constants: Constants) -> Tally:
        found = self.said[constants[:2]]
        thresholds = [
            cut(one.scores, said.odd, *constants[2:])
            for one, said in zip(self.asked, found, strict=True)
        ]
        return tally(self.asked, thresholds)

    def held(self, constants: Constants) -> float:
        """Share of intervals that hold the number of odd pictures."""
        truth = [int(one.odd.sum()) for one in self.asked]
        bounds = [said.interval for said in self.said[constants[:2]]]
        return float(np.mean([a <= n <= b for n, (a, b) in zip(truth, bounds, strict=True)]))


def tried(name: str, seen: Seen, place: float) -> Tried:
    scores = seen.scores(place)
    asked = list(problems(name, scores, seen.odd))
    said = {
        (apart, nothing): [expected(one.scores, apart=apart, nothing=nothing) for one in asked]
        for apart, nothing in {constants[:2] for constants in CONSTANTS}
    }
    return Tried(asked, said, average_precision(scores, np.flatnonzero(seen.odd)))


def judged(found: dict[str, Seen]) -> dict[str, Any]:
    """Constants for each set chosen on those of other kin, and how all rules serve it."""
    table = {p: {name: tried(name, seen, p) for name, seen in found.items()} for p in PLACES}
    served = {
        (place, constants): {name: one.served(constants) for name, one in table[place].items()}
        for place, constants in product(PLACES, CONSTANTS)
    }

    def best(names: Sequence[str]) -> tuple[float, Constants]:
        place = max(PLACES, key=lambda p: np.mean([table[p][name].precision for name in names]))
        worth = {c: sum(served[place, c][name].worth for name in names) for c in CONSTANTS}
        return place, max(worth, key=lambda c: worth[c])

    everywhere = best(list(found))
    rules: dict[str, Callable[[np.ndarray], float]] = {
        "before": lambda scores: robust_threshold(scores, 3), "3 MAD": mad,
    }  # fmt: skip
    sets = {}
    for name in found:
        place, chosen = best([other for other in found if kin(other) != kin(name)])
        own, plain = table[place][name], table[0.0][name]
        left = served[place, chosen][name]
        sets[name] = {
            "precision": left.precision,
            "recall": left.recall,
            "recall of the best threshold": within_reach(own.asked),
            "flagged where none is odd": left.false,
            "interval holds": own.held(chosen),
            "average precision": own.precision,
            "with nothing taken off": plain.precision,
            "chosen": {"place": place, "constants": chosen},
            "left out": left,
            "on all": served[everywhere][name],
            **{rule: tally(plain.asked, [ends(one.scores) for one in plain.asked])
               for rule, ends in rules.items()},
        }  # fmt: skip
    clean = [len(one.scores) for name in found for one in table[0.0][name].asked if not one.share]
    return {
        "place": everywhere[0], "constants": everywhere[1], "clean": sum(clean), "sets": sets,
        "reach": {place: within_reach([one for each in table[place].values() for one in each.asked])
                  for place in PLACES},
    }  # fmt: skip


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
            line(f"spot, {rule}: share not flagged where nothing is odd", "goal", "",
                 [(1 - total.false / found["clean"], 1.0)], 1.0),
        ]  # fmt: skip
    total = sum((one["left out"] for one in found["sets"].values()), Tally())
    rows.append(line("spot, left out: recall over all sets", "the best threshold of each", "",
                     [(total.recall, found["reach"][found["place"]])], None))  # fmt: skip
    held = float(np.mean([one["interval holds"] for one in found["sets"].values()]))
    rows.append(line("spot: share of intervals that hold the number", "goal", "",
                     [(held, HELD)], 1.0))  # fmt: skip
    ours, plain = (
        float(np.mean([one[key] for one in found["sets"].values()]))
        for key in ("average precision", "with nothing taken off")
    )
    rows.append(line("spot: average precision, mean of all sets", "with nothing taken off", "",
                     [(ours, plain)], 1.0))  # fmt: skip
    return rows


def seen(data: Path, name: str, cache: Path, encoder: str = "tiny") -> Seen:
    """A set as `spot` sees it when nothing else is said, from `cache` where it is there."""
    kept = cache / f"{encoder}-{name}.npz"
    if not kept.is_file():
        pictures, odd = ODD_SETS[name](data)
        images = fallow.images.open(pictures)
        chosen, settings = fallow.encoder(encoder), Settings()
        judging = judge(chosen, suited_sight(chosen, settings, images), settings)
        found, bank = judging.among(images, 0, lambda _: None)
        assert bank.usual is not None
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as target:
            np.savez(target, patches=found.patches + bank.usual.numpy(), odd=odd[found.rows])
    with np.load(kept) as held:
        return Seen(held["patches"].astype(np.float32), held["odd"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/spot"))
    asked = parser.parse_args()
    looked = {name: seen(asked.data, name, asked.cache) for name in ODD_SETS}
    found = judged(looked)
    names = ("apart", "nothing", "wrong", "beyond")
    sets = {
        name: {key: value._asdict() if isinstance(value, Tally) else value
               for key, value in one.items()}
        for name, one in found["sets"].items()
    }  # fmt: skip
    whole = {"PLACE": found["place"]} | dict(zip(names, found["constants"], strict=True))
    write_json(
        RESULTS / "judgement_spot.json",
        {"constants": whole, "clean pictures": found["clean"], "sets": sets,
         "recall of the best threshold, by place": found["reach"]},
    )  # fmt: skip
    write("judgement_spot", lines(found))


if __name__ == "__main__":
    main()
