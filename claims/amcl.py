"""AMCL: several heads with adaptive temperatures beside one head, on SimCLR and on MoCo."""

from __future__ import annotations

from pathlib import Path

from claims import arms
from claims.arms import Arm, Plan
from claims.record import Entry

FIXED = {"low": 0.2, "high": 0.2}
WIDE = {"hidden": 1536, "projection": 384}
ARMS = {
    "simclr, 3 heads": Arm("amcl"),
    "simclr, 1 head": Arm("amcl", {"heads": 1}),
    "simclr, 3 heads, one temperature": Arm("amcl", FIXED),
    "simclr, 1 head, one temperature": Arm("amcl", {"heads": 1} | FIXED),
    "simclr, 1 wide head": Arm("amcl", {"heads": 1} | WIDE),
    "moco, 3 heads": Arm("amcl", {"base": "moco"}),
    "moco, 1 head": Arm("amcl", {"base": "moco", "heads": 1}),
}


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    found = arms.run(data, minutes, ARMS, plan)
    pairs = [
        ("three heads serve SimCLR better than one", "simclr, 3 heads", "simclr, 1 head"),
        ("three heads serve better than one as wide", "simclr, 3 heads", "simclr, 1 wide head"),
        (
            "adaptive temperatures serve three heads",
            "simclr, 3 heads",
            "simclr, 3 heads, one temperature",
        ),
        (
            "adaptive temperatures serve one head",
            "simclr, 1 head",
            "simclr, 1 head, one temperature",
        ),
        ("three heads serve MoCo better than one", "moco, 3 heads", "moco, 1 head"),
    ]
    return [found.compare(*pair) for pair in pairs]
