"""python -m recipes.judgement.quality: from where on a picture is spoilt, on all sets but one.

Pictures of every set are spoilt in six ways, as many again look spoilt and are style. The limits
of `inventory.quality` that flag best on the other sets are tried on the one that was left out.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.judgement import planted
from benchmarks.judgement.measures import average_precision
from benchmarks.judgement.sets import collection
from PIL import Image

from benchmarks import record
from fallow.images.decode import decode
from fallow.inventory.quality import goodness, low
from fallow.inventory.statistics import MEASURES, describe

# not among these: what is known to hold spoilt pictures of its own
SETS = (
    "flickr", "clothing", "aerial", "natural", "streets", "nights", "faces", "grocery", "paper",
    "blood_cells",
)  # fmt: skip
MOST = 200
CERTAIN = {
    "blurry": (0.06, 0.075, 0.09, 0.1, 0.11),
    "dark": (0.1, 0.15, 0.2, 0.25),
    "bright": (0.1, 0.15, 0.2, 0.25),
}
POSSIBLE = {
    "blurry": (0.11, 0.13, 0.15, 0.18, 0.22),
    "dark": (0.2, 0.25, 0.3, 0.35),
    "bright": (0.2, 0.25, 0.3, 0.35),
}
DEVIATIONS = (2.5, 3.0, 3.5, 4.0)


class Spoilt(NamedTuple):
    name: str
    good: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.judgement.quality", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args(words)
    made = [spoilt(asked.data, name, seed) for name in SETS for seed in range(asked.seeds)]
    lines: list[dict[str, object]] = []
    for kind in CERTAIN:
        for left in (*SETS, "all"):
            others = [each for each in made if each.name != left]
            own = [each for each in made if left in (each.name, "all")]
            limits = chosen(kind, others)
            f1 = np.mean([score(kind, each, *limits) for each in own])
            precision = np.mean([average_precision(-e.good[kind], e.rows[kind]) for e in own])
            lines.append(
                {"kind": kind, "set": left, "certain, possible, deviations": limits}
                | {"F1": float(f1), "average precision": float(precision)}
                | {"F1 chosen in": float(np.mean([score(kind, e, *limits) for e in others]))}
            )
            print(lines[-1])
    target = Path(__file__).resolve().parent.parent / "results" / "judgement_quality.json"
    record.write_json(target, lines)


def chosen(kind: str, made: Sequence[Spoilt]) -> tuple[float, float, float]:
    limits = product(CERTAIN[kind], POSSIBLE[kind], DEVIATIONS)
    return max(limits, key=lambda each: np.mean([score(kind, one, *each) for one in made]))


def score(kind: str, made: Spoilt, certain: float, possible: float, deviations: float) -> float:
    """F1 of what is flagged."""
    good = made.good[kind]
    if kind == "blurry":
        found = low(np.log(good), np.log(certain), np.log(possible), deviations)
    else:
        found = low(good, certain, possible, deviations)
    right = int(found[made.rows[kind]].sum())
    return 2 * right / (int(found.sum()) + len(made.rows[kind]))


def spoilt(data: Path, name: str, seed: int) -> Spoilt:
    whole = collection(data, name, most=MOST, seed=seed)
    whole = whole.take(np.random.default_rng(seed).permutation(len(whole))[:MOST])
    problem = planted.broken(whole, each=min(6, len(whole) // 12), seed=seed)
    contents = problem.collection.contents
    measured = np.stack([describe(decode(content, 256)).measures for content in contents])
    sizes = np.array([Image.open(io.BytesIO(content)).size for content in contents])
    measures = {each: measured[:, place] for place, each in enumerate(MEASURES)}
    good = goodness({**measures, "width": sizes[:, 0], "height": sizes[:, 1]})
    return Spoilt(name, good, problem.rows)


if __name__ == "__main__":
    main()
