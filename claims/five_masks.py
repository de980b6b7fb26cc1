"""`segment` with five masks and nothing else said: does an encoder that knows photographs help?

The verb is asked as a user would ask it: a set's training pictures, five of which have a mask,
each of another video or slice where there are such, and a time. Beside its own choice, `tiny`, the
same with a U-Net of random weights at the views that suit its slower steps. Judged by the mean
Dice on test pictures, which no run has seen; `--minutes` is shared by all runs.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from claims.masks import MASKS, SETS, few_masks, groups_of, known_masks, mean_dice, segmented
from claims.record import Entry, budget, entry, over_sets

ROWS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "unet/16": {"encoder": "unet/16", "settings": {"size": 96}},
}


@dataclass(frozen=True)
class Plan:
    """What all runs share."""

    sets: tuple[str, ...] = ("nuclei_cc0", "membrane_em", "white_blood_cells", "camvid", "polyp")
    seeds: int = 3
    overhead: float = 0.2  # minutes a run takes beside its training


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return over_sets(plan.sets, minutes, lambda name, share: one_set(data, name, share, plan))


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    begin = time.monotonic()
    about = SETS[name]
    images, masks, known = known_masks(data, name)
    train, test = (known.labelled.where(f"split = '{part}'") for part in ("train", "test"))
    each = max(0.05, minutes / (plan.seeds * len(ROWS)) - plan.overhead)
    found: dict[str, list[float]] = {row: [] for row in ROWS}
    steps: dict[str, list[int]] = {row: [] for row in ROWS}
    for seed in range(plan.seeds):
        kept = few_masks(train, masks, groups_of(train, about.group), seed)
        for row, asked in ROWS.items():
            with tempfile.TemporaryDirectory() as folder:
                result = segmented(train, kept, name, minutes=each, out=folder, seed=seed, **asked)
            found[row].append(mean_dice(result.method, test, about.background))
            steps[row].append(result.run.steps)
    return [
        entry(
            f"{name}: from {MASKS} masks, tiny segments better than a U-Net of random weights",
            "tiny", "unet/16",
            data={"name": name, "images": len(train), "fingerprint": images.fingerprint},
            budget=budget(minutes, begin, minutes_a_run=each, steps=max(steps["tiny"])),
            seeds=list(zip(found["tiny"], found["unet/16"], strict=True)),
            settings=asdict(plan) | {"rows": ROWS, "masks": MASKS},
            observed={"dice": found, "steps": steps},
        )
    ]  # fmt: skip
