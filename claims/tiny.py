"""The built-in encoder beside what needs no training, on kinds of images it never saw.

Per data set and seed the same 80 % of the teaching images are drawn for all sides; the seed also
draws the random network. Accuracy of a weighted k-NN, and of a linear probe, on the test images.
*Whitened* is the same encoder after `learn`'s last step alone, fitted to the set without labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.record import Entry, budget, entry

BASELINES = ("random network", "raw pixels", "colour histogram", "HOG")
WHITENED = "whitened"


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    sets: tuple[str, ...] = (
        "aerial_ucmerced",
        "clothing_cc0",
        "grocery",
        "faces_lfw",
        "white_blood_cells",
        "omniglot_small1",
        "cifar10_subset",
    )
    share: float = 0.8  # of the teaching images
    neighbours: int = 5
    images: int = 2000  # at most, of a set
    seeds: int = 3
    encoder: str = "tiny"


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return [one for name in plan.sets for one in one_set(data, name, minutes, plan)]


def labelled(data: Path, name: str, most: int) -> Any:
    """The labelled pictures of a set, at most so many."""
    import fallow

    images = fallow.open(archive(data, name)).labelled
    if name == "faces_lfw":  # its test people are other people: ask for other pictures of the same
        images = images.where("split = 'train'")
    return images.sample(most, seed=0)


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    import fallow
    from fallow.measure.scores import halves, raw_pixels

    begin = time.monotonic()
    images = labelled(data, name, plan.images)
    codes, _ = images.labels
    encoder = fallow.encoder(plan.encoder)
    sides: dict[str, Callable[[int], np.ndarray]] = {
        plan.encoder: _once(lambda: encoder.embed(images)),
        WHITENED: _once(lambda: _whitened(plan, images)),
        "random network": lambda seed: _random(plan, seed).embed(images),
        "raw pixels": _once(lambda: raw_pixels(images)),
        "colour histogram": _once(lambda: histograms(thumbnails(images, 64))),
        "HOG": _once(lambda: gradients(thumbnails(images, 64))),
    }
    scores: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for seed in range(plan.seeds):
        teach, ask = halves(images, codes, seed)
        random = np.random.default_rng(seed)
        teach &= random.random(len(teach)) < plan.share
        for side, make in sides.items():
            scores[side].append(judge(make(seed), codes, teach, ask, plan, seed))
            one = scores[side][-1]
            print(f"{name}, seed {seed}, {side}: {one['knn']:.3f}, {one['probe']:.3f}", flush=True)
    spent = budget(minutes, begin)
    compared = [(plan.encoder, side) for side in BASELINES] + [(WHITENED, plan.encoder)]
    return [
        entry(
            f"{name}: {ours} beats {theirs} by {text}",
            ours,
            theirs,
            data={"name": name, "images": len(images), "fingerprint": images.fingerprint},
            budget=spent,
            seeds=[
                (one[measure], other[measure])
                for one, other in zip(scores[ours], scores[theirs], strict=True)
            ],
            settings=asdict(plan),
        )
        for ours, theirs in compared
        for measure, text in (("knn", "k-NN"), ("probe", "linear probe"))
    ]


def _once(make: Callable[[], np.ndarray]) -> Callable[[int], np.ndarray]:
    made: list[np.ndarray] = []

    def same(seed: int) -> np.ndarray:
        if not made:
            made.append(make())
        return made[0]

    return same


def _whitened(plan: Plan, images: Any) -> np.ndarray:
    import fallow
    from fallow.encoders import whiten

    encoder = fallow.encoder(plan.encoder)
    whiten(encoder, images)
    return encoder.embed(images)


def _random(plan: Plan, seed: int) -> Any:
    """The network of the encoder before training."""
    import torch

    import fallow
    from fallow.encoders.building import describe, rebuild

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return rebuild(describe(fallow.encoder(plan.encoder)))


def judge(
    vectors: np.ndarray,
    codes: np.ndarray,
    teach: np.ndarray,
    ask: np.ndarray,
    plan: Plan,
    seed: int,
) -> dict[str, float]:
    from fallow.measure import knn_accuracy, logistic_probe

    arrays = vectors[teach], codes[teach], vectors[ask], codes[ask]
    return {
        "knn": knn_accuracy(*arrays, k=plan.neighbours).top1,
        "probe": logistic_probe(*arrays, seed=seed).top1,
    }


def thumbnails(images: Any, side: int) -> np.ndarray:
    """Square copies N S S 3 in [-0.5, 0.5]."""
    from fallow.encoders import Preprocessing

    shrink = Preprocessing(size=side, short=side)
    made = [pixels.numpy() for _, pixels in images.map(shrink.fit, side=side)]
    return np.stack(made).transpose(0, 2, 3, 1).astype(np.float32) / 255 - 0.5


def histograms(pixels: np.ndarray, bins: int = 8) -> np.ndarray:
    """Square roots of joint colour histograms N bins^3: their products compare distributions."""
    cells = np.clip(((pixels + 0.5) * bins).astype(int), 0, bins - 1)
    flat = (cells @ np.array([bins * bins, bins, 1])).reshape(len(pixels), -1)
    counts = np.stack([np.bincount(row, minlength=bins**3) for row in flat])
    return np.sqrt(counts / flat.shape[1]).astype(np.float32)


def gradients(pixels: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients on 8-pixel cells of the grey image."""
    from skimage.feature import hog

    return np.stack(
        [hog(image.mean(2), pixels_per_cell=(8, 8), feature_vector=True) for image in pixels]
    ).astype(np.float32)
