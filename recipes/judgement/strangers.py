"""python -m recipes.judgement.strangers: what makes a picture strange, chosen on all sets but one.

Pictures of another set are mixed among those of one, 1, 3 or 5 of a hundred, or none. What colours
and textures weigh, how scores are made and from which one on a picture is flagged is chosen on the
other sets and tried on the one left out. The same vectors are ranked by three peers beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.judgement.measures import average_precision
from benchmarks.judgement.sets import collection

import fallow
from benchmarks import record
from fallow.files import atomic_write
from fallow.images.decode import decode
from fallow.inventory import outliers
from fallow.inventory.statistics import describe
from fallow.vectors.space import Neighbours, neighbours, unit

SETS = (
    "clothing", "aerial", "faces", "flickr", "paper", "blood_cells", "textures", "figures",
    "drawings", "characters", "streets", "colonoscopies", "grocery_coarse", "tiny_imagenet",
    "digits", "sketches", "cifar10", "tiles",
)  # fmt: skip
MOST = 300
SHARES = (0.01, 0.03, 0.05)
ENCODERS = ("tiny",)
TEXTURES = (0.0, 0.5)
ODD = (5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0)


class Tried(NamedTuple):
    """One problem: by settings, average precision and what a threshold flags."""

    name: str
    encoder: str
    share: float
    peers: dict[str, float]
    precision: dict[str, float]  # average, by textures and how scores are made
    flagged: dict[str, float]  # F1 by the same and the threshold; where none is odd, 1 - flagged


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.judgement.strangers", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/strangers"))
    parser.add_argument("--others", type=int, default=3)
    asked = parser.parse_args(words)
    looks = {name: looked(asked.data, name, asked.cache) for name in SETS}
    tried = list(problems(looks, asked.others))
    settings = list(tried[0].precision)
    thresholds = list(tried[0].flagged)
    lines = []
    for left in SETS:
        others = [each for each in tried if each.name != left]
        own = [each for each in tried if each.name == left]
        lines.append(judged(left, own, *chosen(others, settings, thresholds)))
    best, flag = chosen(tried, settings, thresholds)
    lines += [{"chosen on all": True} | judged("all", tried, best, flag)]
    target = Path(__file__).resolve().parent.parent / "results" / "judgement_strangers.json"
    record.write_json(target, lines)
    for line in lines:
        print(line)


def chosen(
    tried: Sequence[Tried], settings: Sequence[str], thresholds: Sequence[str]
) -> tuple[str, str]:
    """The settings that rank best, and the threshold that flags best with them."""
    planted = [each for each in tried if each.share]
    best = max(settings, key=lambda s: np.mean([each.precision[s] for each in planted]))
    own = [each for each in thresholds if each.rpartition(" ")[0] == best]
    return best, max(own, key=lambda s: np.mean([each.flagged[s] for each in tried]))


def judged(name: str, tried: Sequence[Tried], best: str, flag: str) -> dict[str, object]:
    planted = [each for each in tried if each.share]
    clean = [each for each in tried if not each.share]
    peers = {
        peer: float(np.mean([each.peers[peer] for each in planted])) for peer in planted[0].peers
    }
    return {
        "set": name,
        "settings": best,
        "threshold": flag,
        "average precision": float(np.mean([each.precision[best] for each in planted])),
        **peers,
        "F1 of the flagged": float(np.mean([each.flagged[flag] for each in planted])),
        "flagged where none is odd": float(1 - np.mean([each.flagged[flag] for each in clean])),
    }


def problems(looks: dict[str, dict[str, np.ndarray]], others: int) -> Iterator[Tried]:
    for number, name in enumerate(SETS):
        draw = np.random.default_rng([number, 8])
        sources = draw.permutation([each for each in SETS if each != name])[:others]
        for encoder, (place, source) in product(ENCODERS, enumerate(sources)):
            share = SHARES[(number + place) % len(SHARES)]
            yield one(name, looks[name], looks[str(source)], encoder, share, draw)
        for encoder in ENCODERS:
            yield one(name, looks[name], looks[name], encoder, 0.0, draw)


def one(
    name: str,
    own: dict[str, np.ndarray],
    other: dict[str, np.ndarray],
    encoder: str,
    share: float,
    draw: np.random.Generator,
) -> Tried:
    count = len(own[encoder])
    number = round(share / (1 - share) * count) if share else 0
    rows = draw.permutation(len(other[encoder]))[:number]
    vectors = np.concatenate([own[encoder], other[encoder][rows]])
    statistics = np.concatenate([own["statistics"], other["statistics"][rows]])
    wrong = np.arange(count, len(vectors))
    precision, flagged = {}, {}
    for textures in TEXTURES:
        near = neighbours(outliers.strange_space(vectors, statistics, textures), 50)
        for made, score in SCORES.items():
            scores = score(near)
            setting = f"{textures} {made}"
            precision[setting] = average_precision(scores, wrong) if number else 1.0
            for odd in ODD:
                found = outliers.outliers(scores, odd)
                right = len(np.intersect1d(found, wrong))
                f1 = 2 * right / max(len(found) + number, 1)
                flagged[f"{setting} {odd}"] = f1 if number else 1 - len(found) / count
    return Tried(name, encoder, share, peers(vectors, wrong), precision, flagged)


SCORES: dict[str, Callable[[Neighbours], np.ndarray]] = {
    "distance": lambda near: outliers.spreads(near.distances[:, :20].mean(axis=1)),
    "local": outliers.strangeness,
    "local of 20": lambda near: outliers.local(near, 20),
    "local of both": lambda near: (outliers.local(near, 20) + outliers.local(near, 50)) / 2,
    "both": lambda near: SCORES["distance"](near) + SCORES["local"](near),
}


def peers(vectors: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    from sklearn.neighbors import LocalOutlierFactor

    if not len(wrong):
        return {}
    looks = unit(vectors)
    near: Neighbours = neighbours(looks, 10)
    return {
        "local outlier factor": average_precision(
            -LocalOutlierFactor(20).fit(looks).negative_outlier_factor_, wrong
        ),
        "10-NN distance": average_precision(near.distances.mean(axis=1), wrong),
    }


def looked(data: Path, name: str, cache: Path) -> dict[str, np.ndarray]:
    """Vectors and statistics of a set, from `cache` where they are there."""
    kept = cache / f"{name}.npz"
    if not kept.is_file():
        pixels = [decode(each, 256) for each in collection(data, name, most=MOST, seed=1).contents]
        found = {"statistics": np.stack([describe(each).statistics for each in pixels])}
        for encoder in ENCODERS:
            parts = [pixels[first : first + 32] for first in range(0, len(pixels), 32)]
            found[encoder] = np.concatenate([fallow.encoder(encoder).embed(p) for p in parts])
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as target:
            np.savez(target, **found)
    with np.load(kept) as held:
        return {key: held[key] for key in held.files}


if __name__ == "__main__":
    main()
