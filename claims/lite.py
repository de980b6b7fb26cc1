"""`learn` that begins with lite, beside lite as it was.

Lite goes on learning from a set's teaching pictures, without their labels, for some minutes of the
processor; k-NN and probe on test pictures, beside lite as it was and lite whitened by the same
pictures, which takes no learning at all. A seed draws 80 % of the teaching labels.

What a run found is kept, so a series that is cut off goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, entry

LEARNT = ("after", "before", "before, whitened")
MEASURES = ("k-NN", "probe")


@dataclass(frozen=True)
class Plan:
    """What all runs share."""

    learnt: tuple[str, ...] = ("clothing_cc0", "aerial_ucmerced", "grocery")
    encoder: str = "lite"
    learning: int = 120  # steps without labels
    images: int = 1200  # at most, of a set that is learnt
    share: float = 0.8  # of the teaching labels
    neighbours: int = 5
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    told = {key: value for key, value in asdict(plan).items() if key not in ("learnt", "seeds")}
    kept = Kept("lite-learn", told)
    # one seed of every set before the next: a series that is cut off knows something of all
    for seed in range(plan.seeds):
        for name in plan.learnt:
            kept(f"{name} {seed}", lambda name=name, seed=seed: learn(data, name, seed, plan))
    return [one for name in plan.learnt for one in learning(name, kept, minutes, plan)]


def learn(data: Path, name: str, seed: int, plan: Plan) -> dict[str, Any]:
    """k-NN and probe of lite after learning, as it was, and whitened only."""
    import fallow
    from fallow.encoders import whiten
    from fallow.measure import knn_accuracy, ridge_probe
    from fallow.measure.scores import halves

    images = fallow.open(archive(data, name)).labelled.sample(plan.images, seed=0)
    codes, _ = images.labels
    teach, ask = halves(images, codes, seed)
    shown = images.select(teach)
    shown = shown._with(shown.table.drop_columns(["label"]))
    begin = time.process_time()
    run = fallow.learn(
        shown, encoder=plan.encoder, epochs=plan.learning / max(1, len(shown) // 64),
        settings={"batch": min(64, len(shown)), "precision": "32"}, seed=seed,
    )  # fmt: skip
    spent = time.process_time() - begin
    whitened = fallow.encoder(plan.encoder)
    whiten(whitened, shown)
    sides = dict(zip(LEARNT, (run.encoder, fallow.encoder(plan.encoder), whitened), strict=True))
    teach &= np.random.default_rng(seed).random(len(teach)) < plan.share
    rows = {}
    for side, encoder in sides.items():
        vectors = encoder.embed(images)
        arrays = vectors[teach], codes[teach], vectors[ask], codes[ask]
        values = (knn_accuracy(*arrays, k=plan.neighbours).top1, ridge_probe(*arrays).top1)
        rows[side] = dict(zip(MEASURES, values, strict=True))
    return {
        "rows": rows,
        "steps": run.run.steps,
        "processor minutes": spent / 60,
        "images": len(images),
        "fingerprint": images.fingerprint,
    }


def learning(name: str, kept: Kept, minutes: float, plan: Plan) -> list[Entry]:
    """After beside before and beside whitening alone, by either measure."""
    found = [kept(f"{name} {seed}", dict) for seed in range(plan.seeds)]
    shared = {
        "data": {"name": name, **{key: found[0][key] for key in ("images", "fingerprint")}},
        "budget": kept.budget(
            minutes, steps=max(one["steps"] for one in found),
            processor_minutes_a_run=[one["processor minutes"] for one in found],
        ),
    }  # fmt: skip
    return [
        entry(
            f"{name}: {plan.encoder} that went on learning beats it {other} by {measure}",
            LEARNT[0], other,
            seeds=[(one["rows"][LEARNT[0]][measure], one["rows"][other][measure]) for one in found],
            settings=asdict(plan) | {"measure": measure},
            observed={side: [one["rows"][side][measure] for one in found] for side in LEARNT},
            **shared,
        )
        for other in LEARNT[1:]
        for measure in MEASURES
    ]  # fmt: skip
