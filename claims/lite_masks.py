"""`segment` from five masks, beginning with lite and with `tiny`: which of them masks better?

A set's training pictures, five of which have a mask, drawn as in five_masks.py, and as many steps
of the verb from lite as from `tiny`; on two sets lite is also given three times as many, which is
about what ten minutes on two cores are. Judged by the mean Dice on test pictures, which no run has
seen; the mean IoU is told beside it. What a run found is kept, so a series that is cut off goes on
where it was.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from claims.kept import Kept
from claims.masks import MASKS, SETS, few_masks, groups_of, known_masks, segmented, totals
from claims.record import Entry, entry

ROWS = ("lite", "tiny")


@dataclass(frozen=True)
class Plan:
    """What all runs share."""

    sets: tuple[str, ...] = ("polyp", "camvid", "white_blood_cells", "nuclei_cc0", "membrane_em")
    long: tuple[str, ...] = ("polyp", "camvid")
    steps: int = 200
    longer: int = 600
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("lite_masks", {"steps": plan.steps, "longer": plan.longer})
    # one seed of every set before the next: a series that is cut off knows something of all
    for seed, name, row in product(range(plan.seeds), plan.sets, ROWS):
        kept(f"{name} {row} {seed}", partial(segment, data, name, seed, row, plan.steps))
    for seed, name in product(range(plan.seeds), plan.long):
        make = partial(segment, data, name, seed, ROWS[0], plan.longer)
        kept(f"{name} longer {seed}", make)
    return [one for name in plan.sets for one in masks(name, kept, minutes, plan)]


def segment(data: Path, name: str, seed: int, encoder: str, steps: int) -> dict[str, Any]:
    """One run of the verb, and what its masks are worth on test pictures."""
    from fallow.measure.segmentation import dice_of, mean_iou

    about = SETS[name]
    images, masks, known = known_masks(data, name)
    train, test = (known.labelled.where(f"split = '{part}'") for part in ("train", "test"))
    kept = few_masks(train, masks, groups_of(train, about.group), seed)
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = segmented(
            train, kept, name, epochs=steps / max(1, (len(train) - MASKS) // 8), out=folder,
            seed=seed, encoder=encoder, settings={"precision": "32"},
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


def masks(name: str, kept: Kept, minutes: float, plan: Plan) -> list[Entry]:
    """Lite beside tiny, and longer beside as long as tiny."""
    rows = (*ROWS, "longer") if name in plan.long else ROWS
    found = {
        row: [kept(f"{name} {row} {seed}", dict) for seed in range(plan.seeds)] for row in rows
    }
    every = found[ROWS[0]]
    compared = [(f"segment with {ROWS[0]} is better than with {ROWS[1]}", ROWS[0], ROWS[1])]
    if name in plan.long:
        more = f"{plan.longer} steps are better than {plan.steps}"
        compared.append((f"{more}, with {ROWS[0]}", "longer", ROWS[0]))
    return [
        entry(
            f"{name}: from {MASKS} masks, {claim}", one, other,
            data={"name": name, **{key: every[0][key] for key in ("images", "fingerprint")}},
            budget=kept.budget(
                minutes, steps=max(run["steps"] for run in found[one]),
                processor_minutes_a_run=[run["processor minutes"] for run in found[one]],
            ),
            seeds=[(a["dice"], b["dice"]) for a, b in zip(found[one], found[other], strict=True)],
            settings=asdict(plan) | {"masks": MASKS, "measure": "dice"},
            observed={
                key: {row: [run[key] for run in runs] for row, runs in found.items()}
                for key in ("dice", "iou", "steps")
            },
        )
        for claim, one, other in compared
    ]  # fmt: skip
