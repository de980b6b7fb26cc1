"""CMA: is a segmenter carried into the night by bare pictures with references, and by which parts?

A small segmenter learns road scenes by day; then it is given away without them. It is carried over
to a made night, of which nothing but pictures is known, each with the same scene by day a few
pixels apart. Rows: its own labels alone; with contrast of places that are not brought together,
that are, and that count as their match is certain; and with pictures of the day in the queue, which
should hurt. Mean IoU on made nights of other scenes, and on real dusk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from claims import carried
from claims.kept import Kept
from claims.record import Entry, entry
from fallow.methods.adapt.cma import CMA

ROWS: Mapping[str, dict[str, Any]] = {
    "own labels": {"contrast_weight": 0.0},
    "contrast, not brought together": {"matcher": "still", "weighted": False},
    "contrast, brought together": {"weighted": False},
    "contrast, by certainty": {},
    "the day in the queue": {"queue_of": "reference"},
}
BEFORE = "by day"
COMPARED = (
    ("being carried over helps", "contrast, by certainty", BEFORE),
    ("own labels alone help", "own labels", BEFORE),
    ("contrast helps beside own labels", "contrast, by certainty", "own labels"),
    ("bringing references together helps",
     "contrast, brought together", "contrast, not brought together"),
    ("weighing by certainty helps", "contrast, by certainty", "contrast, brought together"),
    ("a queue of nights is better than one of days",
     "contrast, by certainty", "the day in the queue"),
)  # fmt: skip
MEASURES = {"night": "made night", "dusk": "real dusk"}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    encoder: str = "unet/8"
    side: int = 64
    labelled: int = 50
    bare: int = 40
    asked: int = 30
    day_steps: int = 300
    epochs: float = 15
    batch: int = 4
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("cma", asdict(plan) | {"rows": ROWS})
    values: dict[str, list[dict[str, float]]] = {}
    for seed in range(plan.seeds):
        found = kept(f"seed {seed}", partial(one_seed, data, seed, plan))
        for name, one in found.items():
            values.setdefault(name, []).append(one)
    return [
        entry(f"{claim}: {words}", ours, theirs,
              data={"name": "camvid", "images": plan.labelled + plan.bare + plan.asked},
              budget=kept.budget(minutes, epochs=plan.epochs),
              seeds=[(a[measure], b[measure])
                     for a, b in zip(values[ours], values[theirs], strict=True)],
              settings=asdict(plan) | {"rows": ROWS}, observed=values)
        for claim, ours, theirs in COMPARED
        for measure, words in MEASURES.items()
    ]  # fmt: skip


def one_seed(data: Path, seed: int, plan: Plan) -> dict[str, dict[str, float]]:
    """Mean IoU of the segmenter by day, and after each way to carry it over."""
    place = carried.town(data, seed, plan.side, plan.labelled, plan.bare, plan.asked)
    model = carried.by_day(place, plan.encoder, plan.day_steps, seed)
    told = {"size": plan.side, "side": plan.side, "batch": plan.batch, "epochs": plan.epochs,
            "precision": "32", "dimension": 32, "queue": 2048, "scales": [1.0]}  # fmt: skip
    models = {BEFORE: model} | {
        name: carried.carried(CMA, model, {"target": place.pairs}, told | more, seed)
        for name, more in ROWS.items()
    }
    return {
        name: {"night": carried.mean_overlap(one, model.encoder, place.nights),
               "dusk": carried.mean_overlap(one, model.encoder, place.dusk)}
        for name, one in models.items()
    }  # fmt: skip
