"""Hydra: with arbitrary pairs of classes the gate is what makes learning possible.

The labels are the archive's, as published; the last two arms replace them by clusters, which is
fallow's extension for folders without labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from claims import arms
from claims.arms import Arm, Plan, Trained
from claims.record import Entry

ARMS = {
    "arbitrary pairs, gate": Arm("hydra"),
    "arbitrary pairs, no gate": Arm("hydra", {"gate": "none"}),
    "equal pairs, no gate": Arm("hydra", {"pairs": "identical", "gate": "none"}),
    "clusters, arbitrary pairs, gate": Arm("hydra", {"labels": "clusters"}),
    "clusters, equal pairs, no gate": Arm(
        "hydra", {"labels": "clusters", "pairs": "identical", "gate": "none"}
    ),
}


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    found = arms.run(data, minutes, ARMS, plan, observe=_rank)
    gate, none, equal, ours, base = ARMS
    return [
        found.compare("the gate makes arbitrary pairs learnable", gate, none),
        found.compare("the gate helps a linear probe", gate, none, "probe"),
        found.compare("arbitrary pairs with the gate match equal pairs", gate, equal),
        found.compare("arbitrary pairs use more directions", gate, equal, "effective_rank"),
        found.compare("with clusters for labels the gate helps as well", ours, base),
    ]


def _rank(trained: Trained) -> dict[str, Any]:
    from fallow.measure import effective_rank

    return {"effective_rank": effective_rank(trained.vectors)}
