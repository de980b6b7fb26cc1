"""python -m recipes.vectors --data DIR: how the maps of lite become a vector, and of which size.

Only teaching images are looked at. Each set's are halved, class by class; one half teaches, the
other is asked: k-NN, a least-squares probe, and k-NN on whitened vectors. What serves the
other sets best is judged on the one that was left out, so that no set chooses for itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive
from benchmarks.record import commit, machine, write_json
from torch import Tensor
from torch.nn import functional as F

import fallow
from fallow.encoders import lite
from fallow.encoders.pooling import by_place, joined, means, means_and_spreads, powered_means
from fallow.encoders.whitening import MOST, POWER, half_whitening
from fallow.measure import knn_accuracy

SETS = (
    "aerial_ucmerced",
    "clothing_cc0",
    "grocery",
    "faces_lfw",
    "white_blood_cells",
    "omniglot_small1",
    "cifar10_subset",
    "tiny_imagenet50",
)
DRAWS = 3
NEIGHBOURS = 5
OUT = Path(__file__).parent / "results" / "vectors.json"

Part = tuple[str, str]  # map, pooling
# maps are named by their stride; the head's are the 1,280 features before the classifier
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": means,
    "mean and spread": means_and_spreads,
    "generalised mean": powered_means,
    "2 x 2 places": lambda maps: by_place(maps, 2),
    "3 x 3 places": lambda maps: by_place(maps, 3),
    "4 x 4 places": lambda maps: by_place(maps, 4),
}
PLAIN: tuple[Part, ...] = (("head", "mean"),)
LAST_TWO: tuple[Part, ...] = (("32", "2 x 2 places"), ("16", "3 x 3 places"))
CANDIDATES: tuple[tuple[Part, ...], ...] = (
    PLAIN,
    (("head", "mean and spread"),),
    (("head", "generalised mean"),),
    (("head", "2 x 2 places"),),
    (("32", "mean"),),
    (("32", "mean and spread"),),
    (("32", "2 x 2 places"),),
    (("16", "mean and spread"),),
    (("16", "3 x 3 places"),),
    (("head", "mean"), ("32", "mean and spread"), ("16", "mean and spread")),
    tuple((name, "mean and spread") for name in ("head", "32", "16", "8", "4")),
    (("head", "mean"), ("32", "mean and spread"), ("16", "4 x 4 places")),
    (("head", "mean"), ("32", "2 x 2 places"), ("16", "3 x 3 places")),
    (("32", "2 x 2 places"), ("16", "mean and spread")),
    LAST_TWO,
    (("32", "2 x 2 places"), ("16", "4 x 4 places")),
    (("32", "2 x 2 places"), ("16", "3 x 3 places"), ("8", "3 x 3 places")),
)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.vectors", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of archives")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--images", type=int, default=600, help="at most, of a set")
    parser.add_argument(
        "--fewer", type=int, default=300, help="the same, for each size and network"
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=(96, 112, 128, 160, 192, 224))
    parser.add_argument("--networks", nargs="*", default=("tiny", "lite1", "lite2"))
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args(words)
    begin = time.monotonic()
    teaching = {name: teach(asked.data, name, asked.images) for name in asked.sets}
    found: dict[str, Any] = {"sets": list(teaching), "images": asked.images, "draws": DRAWS}
    parts = {name: seen(images) for name, images in teaching.items()}
    codes = {name: images.labels[0] for name, images in teaching.items()}
    found["vectors"] = {
        told(candidate): {
            name: scores(vector(parts[name], candidate), codes[name]) for name in teaching
        }
        for candidate in CANDIDATES
    }
    found["left out"] = left_out(found["vectors"])
    print_table(found["vectors"])
    for one in found["left out"]:
        print(one)
    found["whitening"] = {
        f"{most} directions, power {power:g}": {
            name: scores(vector(parts[name], LAST_TWO), codes[name], most, power)
            for name in teaching
        }
        for most, power in [(64, POWER), (MOST, 0.125), (MOST, POWER), (MOST, 0.5), (256, POWER)]
    }
    print_table(found["whitening"])
    fewer = {name: teach(asked.data, name, asked.fewer) for name in asked.sets}
    found["fewer images"] = asked.fewer
    found["sizes"] = {}
    for network, size in [("lite", size) for size in asked.sizes] + [
        (name, None) for name in asked.networks
    ]:
        encoder = fallow.encoder(network, size=size)
        found["sizes"][f"{network}, {encoder.size} px"] = {
            name: scores(encoder.embed(images), images.labels[0]) for name, images in fewer.items()
        }
    print_table(found["sizes"])
    kinds = {name: kind(images) for name, images in fewer.items()}
    found["rules"] = rules(found["sizes"], kinds)
    print(found["rules"])
    found["minutes"] = (time.monotonic() - begin) / 60
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.out, found | {"machine": machine(), "commit": commit()})


def teach(data: Path, name: str, most: int) -> Any:
    """A sample of the teaching images of a set."""
    return fallow.open(archive(data, name)).labelled.where("split = 'train'").sample(most, seed=0)


def seen(images: Any, batch: int = 16) -> dict[Part, np.ndarray]:
    """What every pooling makes of every map that some candidate needs."""
    encoder, head = fallow.encoder("lite"), head_of("lite")
    needed = sorted({part for candidate in CANDIDATES for part in candidate})
    rows: dict[Part, list[Tensor]] = {part: [] for part in needed}
    with torch.inference_mode():
        for x in batches(encoder, images, batch):
            maps = [one.permute(0, 3, 1, 2) for one in encoder.patches(x, [0, 1, 2, 3])]
            named = dict(zip(("4", "8", "16", "32"), maps, strict=True)) | {"head": head(maps[-1])}
            for name, pooling in needed:
                rows[name, pooling].append(POOLINGS[pooling](named[name]).flatten(1))
    return {part: torch.cat(some).numpy() for part, some in rows.items()}


def batches(encoder: Any, images: Any, batch: int) -> Iterator[Tensor]:
    kept = [pixels for _, pixels in images.map(encoder.preprocessing.fit, side=encoder.size)]
    for start in range(0, len(kept), batch):
        yield encoder.preprocessing.normalise(torch.stack(kept[start : start + batch]))


def head_of(name: str) -> Callable[[Tensor], Tensor]:
    """The layer before the classifier, which the encoder leaves out.  B C h w -> B 1280 h w"""
    state = lite.published(name)
    norm = [state[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]

    def head(maps: Tensor) -> Tensor:
        return F.relu6(F.batch_norm(F.conv2d(maps, state["_conv_head.weight"]), *norm, eps=1e-3))

    return head


def vector(parts: Mapping[Part, np.ndarray], candidate: Sequence[Part]) -> np.ndarray:
    return joined([torch.from_numpy(parts[part]) for part in candidate]).numpy()


def told(candidate: Sequence[Part]) -> str:
    """A candidate in words.

    >>> told(LAST_TWO)
    '32: 2 x 2 places + 16: 3 x 3 places'
    """
    return " + ".join(f"{name}: {pooling}" for name, pooling in candidate)


def scores(
    vectors: np.ndarray, codes: np.ndarray, most: int = MOST, power: float = POWER
) -> dict[str, float]:
    """Mean accuracies over the draws; a probe scales for itself, so whitened only k-NN counts."""
    white = half_whitening(vectors, most, power)(torch.from_numpy(vectors)).numpy()
    found: dict[str, list[float]] = {"k-NN": [], "probe": [], "whitened k-NN": []}
    for seed in range(DRAWS):
        one = half(codes, seed)
        arrays = vectors[one], codes[one], vectors[~one], codes[~one]
        found["k-NN"].append(knn_accuracy(*arrays, k=NEIGHBOURS).top1)
        found["probe"].append(least_squares(*arrays))
        arrays = white[one], codes[one], white[~one], codes[~one]
        found["whitened k-NN"].append(knn_accuracy(*arrays, k=NEIGHBOURS).top1)
    return {key: mean(values) for key, values in found.items()}


def half(codes: np.ndarray, seed: int) -> np.ndarray:
    """Which rows teach: half of every class; the odd one asks.

    >>> half(np.array([0, 0, 0, 1, 1]), seed=0).sum()
    np.int64(2)
    """
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        members = random.permutation(np.flatnonzero(codes == code))
        chosen[members[: len(members) // 2]] = True
    return chosen


def least_squares(
    train: np.ndarray, train_codes: np.ndarray, test: np.ndarray, test_codes: np.ndarray
) -> float:
    """A linear probe that takes a moment, with a third of the spread as ridge."""
    from sklearn.linear_model import RidgeClassifier

    middle, spread = train.mean(0), train.std(0) + 1e-6
    model = RidgeClassifier(alpha=0.3 * train.shape[1])
    model.fit((train - middle) / spread, train_codes)
    return float((model.predict((test - middle) / spread) == test_codes).mean())


def left_out(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """For each set: what the others choose, and what that is worth on it."""
    plain = told(PLAIN)
    rows = []
    for name in table[plain]:
        worth = {
            words: mean(mean(one.values()) for other, one in sets.items() if other != name)
            for words, sets in table.items()
        }
        chosen = max(worth, key=lambda words: worth[words])
        here = {words: mean(sets[name].values()) for words, sets in table.items()}
        rows.append(
            {
                "set": name,
                "chosen": chosen,
                "score": here[chosen],
                "plain": here[plain],
                "best": max(here.values()),
            }
        )
    return rows


def kind(images: Any, some: int = 32) -> dict[str, bool]:
    """What a quick look at a folder tells: are they drawings, are they small?"""
    sample = images.sample(min(some, len(images)), seed=0)
    pictures = [pixels for _, pixels in sample.map(np.asarray, side=64)]
    black_or_white = [((one < 32) | (one > 223)).mean() for one in pictures]
    return {
        "drawings": float(np.median(black_or_white)) > 0.8,
        "small": float(np.median([min(one.shape[:2]) for one in pictures])) < 64,
    }


def rules(
    sizes: Mapping[str, Mapping[str, Mapping[str, float]]], kinds: Mapping[str, Mapping[str, bool]]
) -> dict[str, Any]:
    """Ways to say which encoder a folder gets, and which of them the other sets would choose."""
    side = {name: f"{name}, {fallow.encoder(name).size} px" for name in ("tiny", "lite")}
    worth = {name: {one: mean(sizes[side[name]][one].values()) for one in kinds} for name in side}
    choices: dict[str, Callable[[str], bool]] = {  # does the set get tiny?
        "tiny": lambda one: True,
        "lite": lambda one: False,
        "tiny for drawings": lambda one: kinds[one]["drawings"],
        "tiny for small pictures": lambda one: kinds[one]["small"],
    }
    table = {
        words: {one: worth["tiny" if gets(one) else "lite"][one] for one in kinds}
        for words, gets in choices.items()
    }
    chosen = {
        out: max(table, key=lambda words: mean(v for one, v in table[words].items() if one != out))
        for out in kinds
    }
    return {"kinds": kinds, "scores": table, "chosen by the others": chosen}


def print_table(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    for words, sets in table.items():
        columns = {
            key: mean(one[key] for one in sets.values()) for key in next(iter(sets.values()))
        }
        print(
            words, *(f"{key} {value:.3f}" for key, value in columns.items()), sep=", ", flush=True
        )


if __name__ == "__main__":
    main()
