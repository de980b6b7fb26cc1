"""SwAV: multi-crop (2 of 32 + 4 of 16 pixels) against two crops, at equal epochs and minutes.

Per seed three runs share what `--minutes` leaves: multi-crop for E epochs, two crops for E epochs,
two crops for as many minutes as multi-crop took. The multi-crop run serves both comparisons, and
all three start from the same weights. E is chosen from a few timed steps of each, so that all
seeds fit; it is at least 1, also where the minutes are too few for that.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import numpy as np
from benchmarks.photos import archive

from claims.record import Entry, entry

ARCHIVE = "cifar10_subset"
NEIGHBOURS, TEMPERATURE = 20, 0.07


@dataclass(frozen=True)
class Plan:
    """What both sides share. Small runs collapse easily: few prototypes, sharp codes, high rate."""

    encoder: str = "resnet8/16"  # small enough for some epochs in ten minutes on a CPU
    images: int = 5000
    batch: int = 128
    prototypes: int = 100
    epsilon: float = 0.03
    learning_rate: float = 0.4
    local_crops: int = 4
    precision: Literal["auto", "32", "bf16"] = "auto"  # the first run's choice serves all
    seeds: int = 3


@dataclass(frozen=True)
class Run:
    """One training: what it is judged by, what it cost, and whether it stayed alive."""

    accuracy: float  # weighted k-NN, train labels to test images
    epochs: float
    minutes: float  # of training
    setup: float  # minutes before it
    precision: str
    loss_share: float  # last loss / ln K: near 1 means that nothing was learned
    prototypes_used: int  # that at least one training image is nearest to


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    source = archive(data, ARCHIVE)
    plan = plan or Plan()
    begin = time.monotonic()
    everything = fallow.open(source)
    bank = everything.where("split = 'train'").sample(plan.images, seed=0)
    test = everything.where("split = 'test'")
    mark = time.monotonic()
    floors = {
        "raw pixels": knn(pixels(bank), bank, pixels(test), test),
        "untrained": [untrained(plan, bank, test, seed) for seed in range(plan.seeds)],
    }
    judging = (time.monotonic() - mark) / 60 / plan.seeds  # minutes to embed and compare
    # a few steps of each tell the speed; the very first compile, and choose the precision for all
    few = bank.sample(min(6 * plan.batch, len(bank)), seed=0)
    plan = replace(plan, precision=train(plan, few, test, True, 0, epochs=1).precision)
    speed = [train(plan, few, test, crops, 0, epochs=1) for crops in (True, False)]
    whole, part = (one.minutes * len(bank) / len(few) for one in speed)  # minutes an epoch
    left = minutes - (time.monotonic() - begin) / 60
    left -= 3 * plan.seeds * (judging + max(one.setup for one in speed))
    epochs = max(1, int(left / (plan.seeds * (2 * whole + part))))

    multi, equal_epochs, equal_minutes = [], [], []
    for seed in range(plan.seeds):
        multi.append(train(plan, bank, test, True, seed, epochs=epochs))
        equal_epochs.append(train(plan, bank, test, False, seed, epochs=epochs))
        equal_minutes.append(train(plan, bank, test, False, seed, minutes=multi[-1].minutes))

    spent = (time.monotonic() - begin) / 60
    return [
        compare(plan, bank, multi, baseline, f"at equal {what}", floors, minutes, spent)
        for what, baseline in (("epochs", equal_epochs), ("minutes", equal_minutes))
    ]


def compare(
    plan: Plan,
    bank: Any,
    multi: list[Run],
    two: list[Run],
    how: str,
    floors: dict[str, Any],
    minutes: float,
    spent: float,
) -> Entry:
    """The entry of one comparison."""
    return entry(
        f"SwAV's encoder is better with multi-crop than with two crops, {how}",
        "swav, 2 x 32 + 4 x 16",
        "swav, 2 x 32",
        data={"name": ARCHIVE, "images": len(bank), "fingerprint": bank.fingerprint},
        budget={
            "minutes_asked": minutes,
            "minutes_spent": spent,
            "epochs": [mean(one.epochs for one in side) for side in (multi, two)],
            "minutes_per_run": [mean(one.minutes for one in side) for side in (multi, two)],
        },
        seeds=[(a.accuracy, b.accuracy) for a, b in zip(multi, two, strict=True)],
        settings=asdict(plan) | {"neighbours": NEIGHBOURS, "temperature": TEMPERATURE},
        observed={
            "floors": floors,
            "loss_over_ln_prototypes": [
                [a.loss_share, b.loss_share] for a, b in zip(multi, two, strict=True)
            ],
            "prototypes_used": [
                [a.prototypes_used, b.prototypes_used] for a, b in zip(multi, two, strict=True)
            ],
        },
    )


def train(
    plan: Plan,
    bank: Any,
    test: Any,
    multi_crop: bool,
    seed: int,
    *,
    epochs: float | None = None,
    minutes: float | None = None,
) -> Run:
    """The one place that knows how fallow trains: the same settings but for the crops."""
    import fallow
    from fallow.methods.learn.swav import SwAV
    from fallow.train import fit

    settings = SwAV.Settings(
        epochs=epochs,
        minutes=minutes,
        size=32,
        batch=plan.batch,
        crops=plan.local_crops if multi_crop else 0,
        prototypes=plan.prototypes,
        epsilon=plan.epsilon,
        learning_rate=plan.learning_rate,
        precision=plan.precision,
    )
    begin = time.monotonic()
    encoder = fallow.encoder(plan.encoder, seed=seed, size=32)
    fitted = fit(SwAV, bank, encoder=encoder, settings=settings, seed=seed)
    setup = (time.monotonic() - begin - fitted.seconds) / 60
    vectors = fitted.encoder.embed(bank)
    return Run(
        accuracy=knn(vectors, bank, fitted.encoder.embed(test), test),
        epochs=fitted.steps * plan.batch / len(bank),
        minutes=fitted.seconds / 60,
        setup=setup,
        precision=fitted.choice.precision,
        loss_share=fitted.history[-1]["loss"] / math.log(plan.prototypes),
        prototypes_used=prototypes_used(fitted.method, vectors),
    )


def prototypes_used(method: Any, vectors: np.ndarray) -> int:
    """How many prototypes are the nearest one of some image."""
    import torch

    with torch.no_grad():
        unit = torch.nn.functional.normalize(method.head(torch.from_numpy(vectors)))
        return int(method.prototypes(unit).argmax(1).unique().numel())


def untrained(plan: Plan, bank: Any, test: Any, seed: int) -> float:
    import fallow

    fresh = fallow.encoder(plan.encoder, seed=seed, size=32)
    return knn(fresh.embed(bank), bank, fresh.embed(test), test)


def pixels(images: Any) -> np.ndarray:
    """Centred raw pixels, one row per image."""
    rows = np.stack([images[i] for i in range(len(images))]).reshape(len(images), -1)
    return rows.astype(np.float32) / 127.5 - 1


def knn(bank: np.ndarray, banked: Any, queries: np.ndarray, queried: Any) -> float:
    """Share of the queries whose class weighted k-NN finds; class numbers joined by name."""
    from fallow.measure import knn_scores

    labels, names = banked.labels
    truth, other = queried.labels
    place = {name: number for number, name in enumerate(names)}
    wanted = np.array([place[other[code]] for code in truth])
    scores = knn_scores(
        bank, labels, queries, k=NEIGHBOURS, temperature=TEMPERATURE, classes=len(names)
    )
    return float((np.asarray(scores).argmax(1) == wanted).mean())
