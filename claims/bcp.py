"""BCP on real pictures: does pasting help the very same mean teacher, with few masks and more?

Per data set and seed a few training pictures keep their masks, drawn by video where the pictures
are frames of one, and all others lose them. The same two-stage mean teacher is trained with and
without pasting; both have the same teacher, component filter, weights and steps. Beside them:
masks alone (no unlabelled pictures), one direction of pasting, and all masks. Judged by the mean
foreground Dice on test pictures that no run has seen. `--minutes` sets the steps of each run.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from claims.masks import SETS, groups_of, known_masks, labelled_rows, mean_dice, timed
from claims.record import Entry, budget, entry, over_sets

# how many pictures keep their masks: an extreme and a comfortable count
COUNTS = {"nuclei_cc0": (3, 24), "white_blood_cells": (3, 24), "polyp": (4, 32)}
ROWS: dict[str, dict[str, Any]] = {
    "bcp": {},
    "mean teacher": {"pasting": "off"},
    "masks alone": {"pasting": "off", "pretrain": 1.0},
}
MORE: dict[str, dict[str, Any]] = {  # at the extreme count only
    "inward only": {"pasting": "inward"},
    "outward only": {"pasting": "outward"},
    "pasting of masks alone": {"pretrain": 1.0},
}


@dataclass(frozen=True)
class Plan:
    """What all runs share."""

    sets: tuple[str, ...] = ("nuclei_cc0", "white_blood_cells", "polyp")
    encoder: str = "tiny"  # as the verb chooses
    size: int = 96
    batch: int = 8
    learning_rate: float = 0.64
    pretrain: float = 1 / 3
    seeds: int = 3
    ablations: bool = True
    steps: int = 1500  # at most; fewer where the minutes are short


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return over_sets(plan.sets, minutes, lambda name, share: one_set(data, name, share, plan))


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    begin = time.monotonic()
    images, _, known = known_masks(data, name)
    train, test = (known.labelled.where(f"split = '{part}'") for part in ("train", "test"))
    by, counts = SETS[name].group, COUNTS[name]
    # how long a step takes: all runs have the same number of them
    few = drawn(train, counts[0], by, 0)
    quick = timed(lambda steps: fitted(plan, known.classes, few, train, 0, {}, steps=steps))
    judging = timed_judging(quick.run.method, test)
    runs = plan.seeds * (2 * len(ROWS) + 1 + (len(MORE) if plan.ablations else 0))
    left = 60 * minutes - (time.monotonic() - begin) - runs * (judging + quick.setup)
    steps = int(max(12, min(plan.steps, left / runs / quick.step)))

    found: dict[str, list[float]] = {}
    for seed in range(plan.seeds):
        for place, count in enumerate(counts):
            kept = drawn(train, count, by, seed)
            rows = ROWS | (MORE if plan.ablations and place == 0 else {})
            for row, changes in rows.items():
                done = fitted(plan, known.classes, kept, train, seed, changes, steps=steps)
                found.setdefault(f"{row}, {count} masks", []).append(mean_dice(done.method, test))
        done = fitted(plan, known.classes, train, train, seed, ROWS["masks alone"], steps=steps)
        found.setdefault("all masks", []).append(mean_dice(done.method, test))
    facts = {
        "data": {"name": name, "images": len(train), "fingerprint": images.fingerprint,
                 "masks drawn by": by or "picture"},
        "budget": budget(minutes, begin, steps=steps),
        "settings": asdict(plan),
        "observed": {"dice": found, "mean": {row: mean(each) for row, each in found.items()}},
    }  # fmt: skip
    compared = [
        (f"pasting helps the same mean teacher with {counts[0]} masks", "bcp", "mean teacher", 0),
        (f"pasting helps the same mean teacher with {counts[1]} masks", "bcp", "mean teacher", 1),
        (f"unlabelled pictures help with {counts[0]} masks", "bcp", "masks alone", 0),
        (f"unlabelled pictures help with {counts[1]} masks", "bcp", "masks alone", 1),
    ]
    return [
        entry(
            f"{name}: {claim}", f"{ours}, {counts[at]} masks", f"{theirs}, {counts[at]} masks",
            seeds=list(zip(found[f"{ours}, {counts[at]} masks"],
                           found[f"{theirs}, {counts[at]} masks"], strict=True)),
            **facts,
        )
        for claim, ours, theirs, at in compared
    ]  # fmt: skip


def drawn(train: Any, count: int, by: str | None, seed: int) -> Any:
    """`count` pictures; of whole groups where there are groups."""
    return train.select(np.sort(labelled_rows(groups_of(train, by), count, seed)))


def fitted(
    plan: Plan,
    classes: Any,
    kept: Any,
    train: Any,
    seed: int,
    changes: dict[str, Any],
    *,
    steps: int,
) -> Any:
    """One run: the pictures that keep their masks, and all others without."""
    import fallow
    from fallow.images.masks import without_masks
    from fallow.methods.segment.bcp import BCP
    from fallow.train import fit

    mine = set(kept.column("id"))
    bare = train.select(np.array([key not in mine for key in train.column("id")]))
    if not len(bare):
        bare = train  # all have masks; this stream is not looked at then
    per_epoch = max(1, len(bare) // min(plan.batch, len(bare)))
    given = {
        "classes": len(classes),
        "epochs": steps / per_epoch,
        "size": plan.size,
        "batch": plan.batch,
        "learning_rate": plan.learning_rate,
        "compile": "off",
        "pretrain": plan.pretrain,
    } | changes
    network = fallow.encoder(plan.encoder, seed=seed, size=plan.size)
    masks = [kept.mask(row) for row in range(len(kept))]
    settings = BCP.Settings(**BCP.suited(given, masks, network))
    return fit(
        BCP,
        {"unlabelled": without_masks(bare), "labelled": kept},
        encoder=network,
        settings=settings,
        seed=seed,
    )


def timed_judging(method: Any, test: Any) -> float:
    begin = time.monotonic()
    mean_dice(method, test)
    return time.monotonic() - begin
