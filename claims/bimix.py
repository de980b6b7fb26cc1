"""Bi-Mix: does mixing both ways carry a segmenter into the night, and which of its parts do?

A small segmenter learns road scenes by day. With their labels at hand it is carried over to a made
night, of which only pictures are known, each with the same scene by day a few pixels apart. Rows:
without mixtures and without relighting, with mixtures, with relighting, and with both; beside the
segmenter as it was. Mean IoU on made nights of other scenes, and on real dusk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claims import carried
from claims.record import Entry
from fallow.methods.adapt.bimix import BiMix

BARE = {"relight": False, "class_mix": False, "object_mix": False}
ROWS: Mapping[str, dict[str, Any]] = {
    "neither": BARE,
    "mixtures": {"relight": False},
    "relighting": {"class_mix": False, "object_mix": False},
    "both": {},
}
COMPARED = (
    ("all of it helps", "both", carried.BEFORE),
    ("mixtures help", "mixtures", "neither"),
    ("relighting helps", "relighting", "neither"),
    ("relighting helps beside mixtures", "both", "mixtures"),
    ("mixtures help beside relighting", "both", "relighting"),
)


@dataclass(frozen=True)
class Plan(carried.Plan):
    """What all rows share."""

    width: int = 8  # of the relighting network


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    told = {"size": plan.side, "side": plan.side, "batch": plan.batch, "epochs": plan.epochs,
            "precision": "32", "width": plan.width, "moving": [carried.MOVING],
            "block": 16}  # fmt: skip

    def carry(model: Any, place: carried.Town, more: Mapping[str, Any], seed: int) -> Any:
        streams = {"target": place.pairs, "source": place.day}
        return carried.carried(BiMix, model, streams, told | more, seed)

    return carried.entries("bimix", ROWS, COMPARED, carry, data, minutes, plan)
