"""CMA: is a segmenter carried into the night by bare pictures with references, and by which parts?

A small segmenter learns road scenes by day; then it is given away without them. It is carried over
to a made night, of which nothing but pictures is known, each with the same scene by day a few
pixels apart. Rows: its own labels alone; with contrast of places that are not brought together,
that are, and that count as their match is certain; and with pictures of the day in the queue, which
should hurt. Mean IoU on made nights of other scenes, and on real dusk.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from claims import carried
from claims.record import Entry
from fallow.methods.adapt.cma import CMA

ROWS: Mapping[str, dict[str, Any]] = {
    "own labels": {"contrast_weight": 0.0},
    "contrast, not brought together": {"matcher": "still", "weighted": False},
    "contrast, brought together": {"weighted": False},
    "contrast, by certainty": {},
    "the day in the queue": {"queue_of": "reference"},
}
COMPARED = (
    ("being carried over helps", "contrast, by certainty", carried.BEFORE),
    ("own labels alone help", "own labels", carried.BEFORE),
    ("contrast helps beside own labels", "contrast, by certainty", "own labels"),
    ("bringing references together helps",
     "contrast, brought together", "contrast, not brought together"),
    ("weighing by certainty helps", "contrast, by certainty", "contrast, brought together"),
    ("a queue of nights is better than one of days",
     "contrast, by certainty", "the day in the queue"),
)  # fmt: skip
Plan = carried.Plan


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    told = {"size": plan.side, "side": plan.side, "batch": plan.batch, "epochs": plan.epochs,
            "precision": "32", "dimension": 32, "queue": 2048, "scales": [1.0]}  # fmt: skip

    def carry(model: Any, place: carried.Town, more: Mapping[str, Any], seed: int) -> Any:
        return carried.carried(CMA, model, {"target": place.pairs}, told | more, seed)

    return carried.entries("cma", ROWS, COMPARED, carry, data, minutes, plan)
