"""G-SimCLR's guided batches beside shuffled ones, and beside batches guided by the true classes.

Small batches, where the guidance has most to avoid. The share of false negatives is the
mechanism, so it is a claim of its own (less is better, hence its sign is turned).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims import arms
from claims.arms import Arm, Plan, Trained
from claims.record import Entry
from fallow.methods.learn.gsimclr import GSimCLR


class Oracle(GSimCLR):
    """Guided by what a user would not have: the classes. An upper bound."""

    truth: np.ndarray

    def name_classes(self, pack: Any, seed: int, **how: Any) -> np.ndarray:
        return self.truth[pack.rows]


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or replace(Plan(), batch=32, images=2500, seeds=5)
    images = fallow.open(archive(data, plan.archive)).where("split = 'train'")
    bank = images.sample(plan.images, seed=0)
    knowing = type("Knowing", (Oracle,), {"truth": bank.labels[0]})
    sides = {
        "guided": Arm("gsimclr"),
        "shuffled": Arm("gsimclr", {"compose": "shuffled"}),
        "guided by classes": Arm(knowing),
    }
    found = arms.run(data, minutes, sides, plan, observe=_turned)
    return [
        found.compare("guided batches hold fewer false negatives", "guided", "shuffled", "spared"),
        found.compare("guided batches serve better than shuffled ones", "guided", "shuffled"),
        found.compare("guided batches serve a linear probe better", "guided", "shuffled", "probe"),
        found.compare(
            "batches guided by the classes serve better than shuffled ones",
            "guided by classes",
            "shuffled",
        ),
        found.compare(
            "batches guided by the classes hold fewer false negatives",
            "guided by classes",
            "shuffled",
            "spared",
        ),
    ]


def _turned(trained: Trained) -> dict[str, Any]:
    shares = [line["false_negatives"] for line in trained.history if "false_negatives" in line]
    return {"spared": -float(np.mean(shares))}
