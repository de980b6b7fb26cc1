"""Photos and their captions: do they find each other from scratch, and from a pretrained tower?

A dual encoder learns by `align` from the training photos of flickr8k_sample, with five captions
each, and is asked about the test photos. A caption that several photos share is right for all of
them. *Chance* is exact: what an order drawn at random reaches. *From scratch* a small tower of
pictures learns together with the words; *from lite* the pictures' tower was taught by a million
labelled photographs and stays as it is, and only its projection and the words learn. That tower is
also the larger one and looks at larger pictures, as whoever takes one will have it.

What this says of the need of a pretrained tower: from scratch, some hundred photos teach a little
(the first comparison), and far too little to search by (its recalls are under `observed`). Who has
no more captions than that needs pictures' weights that somebody else has learnt; the second
comparison is what they are worth even without any text. No row has read more than these captions,
so none is what a tower pretrained on pictures *with* texts would reach: that needs `hf:NAME`, or
the folder of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, by_measure
from fallow.images.captions import captions, with_captions
from fallow.measure.words import merged

ARCHIVE = "flickr8k_sample"
CHANCE, SCRATCH, LITE = "chance", "from scratch", "from lite"
COMPARED = (
    ("photos and captions find each other more often than by chance", SCRATCH, CHANCE),
    ("a tower of pictures that knows a million photographs helps", LITE, SCRATCH),
)
FIRST = (1, 5, 10)
WAYS = ("pictures for their text", "texts for their picture")  # as `align` names them
MEASURES = {name: name for name in (f"{way}, R@{k}" for way in WAYS for k in FIRST)}


@dataclass(frozen=True)
class Tower:
    """The pictures' side of a row, and how long it learns."""

    encoder: str
    size: int
    epochs: float
    frozen: str = "nothing"


@dataclass(frozen=True)
class Plan:
    """What all rows share; the words are of the usual size."""

    scratch: Tower = Tower("resnet8/16", 64, 40)
    lite: Tower = Tower("lite", 128, 40, frozen="pictures")
    batch: int = 86  # five steps an epoch
    learning_rate: float = 4e-3  # at batch 256
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("retrieval", asdict(plan))
    photos = photographs(data)
    towers = {SCRATCH: plan.scratch, LITE: plan.lite}
    values: dict[str, list[dict[str, float]]] = {
        name: [
            kept(f"{name} {seed}", partial(recalls, photos, tower, seed, plan))
            for seed in range(plan.seeds)
        ]
        for name, tower in towers.items()
    }
    values[CHANCE] = [chance(photos.where("split = 'test'"))] * plan.seeds
    return by_measure(
        values, COMPARED, MEASURES,
        data={"name": ARCHIVE, "images": len(photos), "fingerprint": photos.fingerprint},
        budget=kept.budget(minutes, epochs=plan.scratch.epochs),
        settings=asdict(plan),
    )  # fmt: skip


def photographs(data: Path) -> Any:
    """All photos with their captions; the column `split` says which are asked."""
    import fallow

    return with_captions(fallow.open(archive(data, ARCHIVE)), "captions.csv")


def learnt(photos: Any, tower: Tower, seed: int, plan: Plan, out: Path | None = None) -> Any:
    """What `align` makes of the photos that teach, and its answers about the others."""
    import fallow

    settings = {
        "size": tower.size, "frozen": tower.frozen, "batch": plan.batch,
        "learning_rate": plan.learning_rate, "precision": "32",
    }  # fmt: skip
    return fallow.align(
        photos, method="clip", encoder=tower.encoder, epochs=tower.epochs, settings=settings,
        seed=seed, out=out,
    )  # fmt: skip


def recalls(photos: Any, tower: Tower, seed: int, plan: Plan) -> dict[str, float]:
    """Every one of MEASURES."""
    rows: list[Mapping[str, Any]] = learnt(photos, tower, seed, plan).table.to_pylist()
    return {f"{row['asked']}, R@{k}": row[f"R@{k}"] for row in rows for k in FIRST}


def chance(photos: Any) -> dict[str, float]:
    """What a random order of everything that can be found reaches, by MEASURES."""
    found = merged(captions(photos))
    sizes = {WAYS[0]: len(found.texts), WAYS[1]: len(photos)}
    return {
        f"{way}, R@{k}": float(
            np.mean([by_luck(int(right), sizes[way], k) for right in np.bincount(queries)])
        )
        for way, queries in zip(WAYS, found.pairs.T, strict=True)
        for k in FIRST
    }


def by_luck(right: int, among: int, k: int) -> float:
    """How often one of the right answers is among k that are drawn without putting back.

    >>> round(by_luck(1, 130, 10), 4), round(by_luck(5, 650, 1), 4)
    (0.0769, 0.0077)
    """
    k = min(k, among)
    return 1 - comb(among - right, k) / comb(among, k)
