"""PASS: what does a network lose that learns from as many pictures, none of a class with people?

Small photos of fifty classes; in nine of them, such as gowns, bikinis or go-karts, people are seen
as a rule (told by the classes' names: nobody looked at every photo). Networks learn without labels
from photos of all classes, or from as many of the others alone, for as many steps. Asked are photos
of all classes, and those of the nine, by k-NN and by a linear probe; beside it a network that
learnt nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.arms import judged
from claims.kept import Kept
from claims.record import Entry, by_measure

PEOPLE = (
    "academic gown", "bikini", "dumbbell", "fur coat", "go-kart", "neck brace", "punching bag",
    "sock", "sunglasses",
)  # fmt: skip
BANKS = ("all classes", "no class with people")
COMPARED = (
    ("photos of people are missed", *BANKS),
    ("photos without people teach more than nothing does", BANKS[1], "untrained"),
)
MEASURES = {
    "knn": "k-NN, all classes",
    "probe": "probe, all classes",
    "people, knn": "k-NN, classes with people",
    "people, probe": "probe, classes with people",
}


@dataclass(frozen=True)
class Plan:
    """What all networks share."""

    archive: str = "tiny_imagenet50"
    method: str = "moco"
    encoder: str = "resnet8/16"
    images: int = 3000
    size: int = 32
    batch: int = 128
    epochs: float = 40
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("without_people", asdict(plan))
    everything = fallow.open(archive(data, plan.archive))
    values: dict[str, list[dict[str, float]]] = {
        name: [
            kept(f"{name} {seed}", partial(learnt, everything, name, seed, plan))
            for seed in range(plan.seeds)
        ]
        for name in (*BANKS, "untrained")
    }
    return by_measure(
        values, COMPARED, MEASURES,
        data={"name": plan.archive, "images": plan.images, "fingerprint": everything.fingerprint},
        budget=kept.budget(minutes, epochs=plan.epochs),
        settings=asdict(plan) | {"people": PEOPLE},
    )  # fmt: skip


def learnt(everything: Any, name: str, seed: int, plan: Plan) -> dict[str, float]:
    """One training, and what it is worth on photos nobody learnt from."""
    import fallow
    from fallow.methods import find
    from fallow.train import fit, make_settings

    train, test = (everything.where(f"split = '{part}'") for part in ("train", "test"))
    encoder = fallow.encoder(plan.encoder, seed=seed, size=plan.size)
    if name in BANKS:
        bank = train if name == BANKS[0] else train.select(np.flatnonzero(~peopled(train)))
        kind = find("learn", plan.method)
        told = {"size": plan.size, "batch": plan.batch, "epochs": plan.epochs}
        encoder = fit(
            kind, bank.sample(plan.images, seed=seed), encoder=encoder,
            settings=make_settings(kind.Settings, told), seed=seed,
        ).encoder  # fmt: skip
    known, asked = encoder.embed(train), encoder.embed(test)
    rows = np.flatnonzero(peopled(test))
    of_people = judged(known, train, asked[rows], test.select(rows))
    return judged(known, train, asked, test) | {
        f"people, {measure}": value for measure, value in of_people.items()
    }


def peopled(images: Any) -> np.ndarray:
    """Which images are of a class in which people are seen as a rule."""
    first = [name.split(",")[0] for name in images.column("name")]
    return np.isin(first, PEOPLE)
