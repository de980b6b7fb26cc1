"""Verbs that begin with lite beside what they did before: `segment` from five masks, and `learn`.

*Masks*: a set's training pictures, five of which have a mask, drawn as in five_masks.py; a fixed
number of steps. Before is what five_masks.json says of `tiny` on the same masks. Judged by the mean
Dice on test pictures, which no run has seen; the mean IoU is told beside it.

*Learning*: lite goes on learning from a set's teaching pictures, without their labels, for some
minutes of the processor; k-NN and probe on test pictures, beside lite as it was and lite whitened
by the same pictures, which takes no learning at all. A seed draws 80 % of the teaching labels.

What a run found is kept, so a series that is cut off goes on where it was.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.five_masks import MASKS, spread
from claims.kept import Kept
from claims.masks import SETS, known_masks, totals
from claims.record import RESULTS, Entry, entry

LEARNT = ("after", "before", "before, whitened")
MEASURES = ("k-NN", "probe")


@dataclass(frozen=True)
class Plan:
    """What all runs share."""

    masked: tuple[str, ...] = ("polyp", "camvid", "white_blood_cells", "nuclei_cc0", "membrane_em")
    learnt: tuple[str, ...] = ("clothing_cc0", "aerial_ucmerced", "grocery")
    encoder: str = "lite"
    steps: int = 200  # with masks
    learning: int = 120  # steps without labels
    images: int = 1200  # at most, of a set that is learnt
    share: float = 0.8  # of the teaching labels
    neighbours: int = 5
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    masked, learnt = Kept("lite-masks", _told(plan)), Kept("lite-learn", _told(plan))
    # one seed of every set before the next: a series that is cut off knows something of all
    for seed in range(plan.seeds):
        for name in plan.masked:
            masked(f"{name} {seed}", lambda name=name, seed=seed: segment(data, name, seed, plan))
    for seed in range(plan.seeds):
        for name in plan.learnt:
            learnt(f"{name} {seed}", lambda name=name, seed=seed: learn(data, name, seed, plan))
    entries = [masks(name, masked, minutes, plan) for name in plan.masked]
    return entries + [one for name in plan.learnt for one in learning(name, learnt, minutes, plan)]


def _told(plan: Plan) -> dict[str, Any]:
    """What a single run depends on."""
    some = ("masked", "learnt", "seeds")
    return {key: value for key, value in asdict(plan).items() if key not in some}


# --- masks ---


def segment(data: Path, name: str, seed: int, plan: Plan) -> dict[str, Any]:
    """One run of the verb, and what its masks are worth on test pictures."""
    import fallow
    from fallow.images.masks import without_masks
    from fallow.measure.segmentation import dice_of, mean_iou

    about = SETS[name]
    images, masks, known = known_masks(data, name)
    train, test = (known.labelled.where(f"split = '{part}'") for part in ("train", "test"))
    groups = np.arange(len(train)) if about.group is None else train.column(about.group)
    kept = [train.column("id")[row] for row in spread(groups, MASKS, seed)]
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = fallow.segment(
            without_masks(train), {key: masks[key] for key in kept},
            epochs=plan.steps / max(1, (len(train) - MASKS) // 8),
            classes=list(about.classes), ignore=[255], out=folder, seed=seed,
            encoder=plan.encoder, settings={"precision": "32"},
        )  # fmt: skip
    spent = time.process_time() - begin
    counts = totals(result.method, test)
    return {
        "dice": float(dice_of(counts)[1 if about.background else 0 :].mean()),
        "iou": mean_iou(counts),
        "steps": result.run.steps,
        "processor minutes": spent / 60,
        "images": len(train),
        "fingerprint": images.fingerprint,
    }


def masks(name: str, kept: Kept, minutes: float, plan: Plan) -> Entry:
    said = json.loads((RESULTS / "five_masks.json").read_text())
    before = next(one["observed"] for one in said if one["data"]["name"] == name)
    found = [kept(f"{name} {seed}", dict) for seed in range(plan.seeds)]
    return entry(
        f"{name}: from {MASKS} masks, segment with {plan.encoder} is better than before",
        plan.encoder, "tiny",
        data={"name": name, **{key: found[0][key] for key in ("images", "fingerprint")}},
        budget=kept.budget(
            minutes, steps=max(one["steps"] for one in found),
            processor_minutes_a_run=[one["processor minutes"] for one in found],
        ),
        seeds=list(zip([one["dice"] for one in found], before["dice"]["tiny"], strict=True)),
        settings=asdict(plan) | {"masks": MASKS, "measure": "dice"},
        observed={"dice": [one["dice"] for one in found], "iou": [one["iou"] for one in found],
                  "before": before},
    )  # fmt: skip


# --- learning ---


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
