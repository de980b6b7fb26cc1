"""The encoders that come with fallow beside what needs no training, on every set with labels.

Per set and seed the same 80 % of the teaching images are drawn for all sides. Asked are the test
images. *Whitened* is the same encoder after `fallow.encoders.whiten`, which sees no labels. Groups
are k-means of the asked images with as many groups as there are classes.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claims.record import Entry, budget, entry
from claims.tiny import gradients, histograms, labelled, thumbnails

MEASURES = (
    "k-NN",
    "probe",
    "1 label a class",
    "5 labels a class",
    "10 labels a class",
    "nearest image",
    "groups",
)
UNTRAINED = "untrained"
FLOORS = (UNTRAINED, "raw pixels", "colour histogram", "HOG")
TIMED = 64  # images


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
        "tiny_imagenet50",
    )
    encoders: tuple[str, ...] = ("lite", "tiny")  # the first is compared with the second
    share: float = 0.8  # of the teaching images
    neighbours: int = 5
    images: int = 1200  # at most, of a set
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return [one for name in plan.sets for one in one_set(data, name, minutes, plan)]


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    from fallow.measure.scores import halves

    begin = time.monotonic()
    images = labelled(data, name, plan.images)
    codes, _ = images.labels
    tables, milliseconds = sides(images, plan)
    scores: dict[str, list[dict[str, float]]] = {side: [] for side in tables}
    for seed in range(plan.seeds):
        teach, ask = halves(images, codes, seed)
        teach &= np.random.default_rng(seed).random(len(teach)) < plan.share
        for side, table in tables.items():
            scores[side].append(judge(table, codes, teach, ask, plan.neighbours, seed))
            told = ", ".join(f"{value:.3f}" for value in scores[side][-1].values())
            print(f"{name}, seed {seed}, {side}: {told}", flush=True)
    spent = budget(minutes, begin)
    ours, theirs = plan.encoders[:2]
    compared = [(ours, theirs, measure) for measure in MEASURES]
    compared += [(whitened(one), one, "nearest image") for one in plan.encoders]
    return [
        entry(
            f"{name}: {one} beats {other} by {measure}",
            one,
            other,
            data={"name": name, "images": len(images), "fingerprint": images.fingerprint},
            budget=spent,
            seeds=[
                (mine[measure], his[measure])
                for mine, his in zip(scores[one], scores[other], strict=True)
            ],
            settings=asdict(plan) | {"measure": measure},
            observed={
                "scores": {side: [seed[measure] for seed in found]
                           for side, found in scores.items()},
                "milliseconds": milliseconds,
            },
        )
        for one, other, measure in compared
    ]  # fmt: skip


def whitened(name: str) -> str:
    return f"{name}, whitened"


def sides(images: Any, plan: Plan) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The vectors of every side, and an encoder's processor milliseconds an image."""
    import torch

    import fallow
    from fallow.encoders.whitening import half_whitening
    from fallow.measure.scores import raw_pixels

    tables: dict[str, np.ndarray] = {}
    milliseconds = {}
    for name in (*plan.encoders, UNTRAINED):
        encoder = fallow.encoder(name)
        tables[name] = encoder.embed(images)
        milliseconds[name] = pace(encoder, images)
        if name != UNTRAINED:
            last = half_whitening(tables[name])
            tables[whitened(name)] = last(torch.from_numpy(tables[name])).numpy()
    small = thumbnails(images, 64)
    return tables | {
        "raw pixels": raw_pixels(images),
        "colour histogram": histograms(small),
        "HOG": gradients(small),
    }, milliseconds


def pace(encoder: Any, images: Any) -> float:
    """Processor milliseconds of an image that is decoded already, the better of two tries."""
    some = images.sample(min(TIMED, len(images)), seed=0)
    pixels = [found for _, found in some.map(np.asarray, side=encoder.size)]
    tries = []
    for _ in range(2):
        begin = time.process_time()
        encoder.embed(pixels, batch=16)
        tries.append(time.process_time() - begin)
    return 1000 * min(tries) / len(pixels)


def judge(
    vectors: np.ndarray,
    codes: np.ndarray,
    teach: np.ndarray,
    ask: np.ndarray,
    neighbours: int,
    seed: int,
) -> dict[str, float]:
    """Every one of MEASURES."""
    from fallow.measure import few_shot, knn_accuracy, nmi, recall_at_k, ridge_probe

    arrays = vectors[teach], codes[teach], vectors[ask], codes[ask]
    nearest = recall_at_k(
        arrays[2], arrays[3], (1,), gallery=arrays[0], gallery_labels=arrays[1]
    )[1]  # fmt: skip
    few = [
        few_shot(*arrays, shots=shots, seeds=[seed], probe=ridge_probe).mean for shots in (1, 5, 10)
    ]
    found = (
        knn_accuracy(*arrays, k=neighbours).top1,
        ridge_probe(*arrays).top1,
        *few,
        nearest,
        nmi(codes[ask], groups(vectors[ask], len(np.unique(codes[ask])), seed)),
    )
    return dict(zip(MEASURES, found, strict=True))


def groups(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """k-means of directions."""
    from sklearn.cluster import KMeans

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return KMeans(count, n_init=3, random_state=seed).fit(unit).labels_
