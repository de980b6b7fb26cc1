"""python -m recipes.judgement.groups: how groups are found, chosen on all sets but one.

What is chosen is how often rows move towards their neighbours; the rest follows from the
collection. Each set is grouped from three draws of nine tenths of its rows and compared with
k-means that is told how many classes there are, on the same rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import record
from fallow.inventory.groups import group
from fallow.measure.cluster import nmi
from fallow.vectors import space
from recipes.judgement.sets import SETS, Seen, seen

ROUNDS = (2, 5, 8)
# sets made of the same pictures are left out together
FAMILIES = {"alphabets": "characters", "grocery": "grocery_coarse"}


class Tried(NamedTuple):
    name: str
    classes: int
    rounds: int
    told: float  # NMI of k-means
    coarse: float  # NMI of the proposed groups
    finest: float
    numbers: list[int]  # of groups by level


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.judgement.groups", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/seen"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=1000)
    asked = parser.parse_args(words)
    tried = [
        each
        for name in SETS
        for encoder in ("tiny", "lite")
        for seed in range(asked.seeds)
        for each in tries(seen(asked.data, name, encoder, asked.cache), asked.most, seed)
    ]
    lines = []
    for left in (*SETS, "all"):
        own = [each for each in tried if left in (each.name, "all")]
        others = [each for each in tried if family(each.name) != family(left)]
        lines.append(judged(left, own, chosen(others)))
        print(lines[-1], flush=True)
    target = Path(__file__).resolve().parent.parent / "results" / "judgement_groups.json"
    record.write_json(target, lines)


def tries(whole: Seen, most: int, seed: int) -> list[Tried]:
    from sklearn.cluster import KMeans

    draw = np.random.default_rng(seed)
    count = min(most, round(0.9 * len(whole.truth)))
    part = whole.take(np.sort(draw.permutation(len(whole.truth))[:count]))
    told = KMeans(part.classes, n_init=4, random_state=seed).fit_predict(part.vectors)
    vectors = space.fit(part.vectors, seed=seed).place(part.vectors)
    made = []
    for rounds in ROUNDS:
        levels = group(vectors, seed=seed, rounds=rounds).levels
        scores = [nmi(part.truth, each) for each in (told, levels[0], levels[-1])]
        numbers = [int(each.max()) + 1 for each in levels]
        made.append(Tried(whole.name, part.classes, rounds, *scores, numbers))
    return made


def family(name: str) -> str:
    return FAMILIES.get(name, name)


def chosen(tried: Sequence[Tried]) -> int:
    """The rounds whose levels agree best with the classes of these sets."""

    def worth(rounds: int) -> float:
        return float(np.mean([t.coarse + t.finest for t in tried if t.rounds == rounds]))

    return max(ROUNDS, key=worth)


def judged(name: str, tried: Sequence[Tried], rounds: int) -> dict[str, object]:
    own = [each for each in tried if each.rounds == rounds]
    off = np.log(1.5) + 1e-9
    near = [[abs(np.log(number / each.classes)) <= off for number in each.numbers] for each in own]
    return {
        "set": name,
        "rounds": rounds,
        "classes": sorted({each.classes for each in own}),
        "k-means, told the number": float(np.mean([each.told for each in own])),
        "NMI of the coarse level": float(np.mean([each.coarse for each in own])),
        "NMI of the finest level": float(np.mean([each.finest for each in own])),
        "coarse number": float(np.median([each.numbers[0] for each in own])),
        "finest number": float(np.median([each.numbers[-1] for each in own])),
        "coarse number within 1.5": float(np.mean([each[0] for each in near])),
        "a level's number within 1.5": float(np.mean([any(each) for each in near])),
    }


if __name__ == "__main__":
    main()
