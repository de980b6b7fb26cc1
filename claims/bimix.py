"""Bi-Mix: does mixing both ways carry a segmenter into the night, and which of its parts do?

A small segmenter learns road scenes by day. With their labels at hand it is carried over to a made
night, of which only pictures are known, each with the same scene by day a few pixels apart. Rows:
without mixtures and without relighting, with mixtures, with relighting, and with both; beside the
segmenter as it was. Mean IoU on made nights of other scenes, and on real dusk.
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
from fallow.methods.adapt.bimix import BiMix

BARE = {"relight": False, "class_mix": False, "object_mix": False}
ROWS: Mapping[str, dict[str, Any]] = {
    "neither": BARE,
    "mixtures": {"relight": False},
    "relighting": {"class_mix": False, "object_mix": False},
    "both": {},
}
BEFORE = "by day"
COMPARED = (
    ("all of it helps", "both", BEFORE),
    ("mixtures help", "mixtures", "neither"),
    ("relighting helps", "relighting", "neither"),
    ("relighting helps beside mixtures", "both", "mixtures"),
    ("mixtures help beside relighting", "both", "relighting"),
)
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
    width: int = 8  # of the relighting network
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("bimix", asdict(plan) | {"rows": ROWS})
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
            "precision": "32", "width": plan.width, "moving": [carried.MOVING],
            "block": 16}  # fmt: skip
    streams = {"target": place.pairs, "source": place.day}
    models = {BEFORE: model} | {
        name: carried.carried(BiMix, model, streams, told | more, seed)
        for name, more in ROWS.items()
    }
    return {
        name: {"night": carried.mean_overlap(one, model.encoder, place.nights),
               "dusk": carried.mean_overlap(one, model.encoder, place.dusk)}
        for name, one in models.items()
    }  # fmt: skip
