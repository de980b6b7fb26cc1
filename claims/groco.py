"""GroCo beside SimCLR: same network, views and epochs, each at the best rate of a short grid."""

from __future__ import annotations

from pathlib import Path

from claims import arms
from claims.arms import Arm, Plan
from claims.record import Entry

ARMS = {
    "groco": Arm("groco", rates=(2.0, 6.0, 20.0)),
    "simclr": Arm("simclr", rates=(0.06, 0.2, 0.6)),
    "groco, no stop-gradient": Arm("groco", {"stop_gradient": False}),
    "groco, nearest negative": Arm("groco", {"negatives": 1}),
    "groco, 30 negatives": Arm("groco", {"negatives": 30}),
}


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    found = arms.run(data, minutes, ARMS, plan)
    return [
        found.compare("sorting groups serves k-NN better than SimCLR's loss", "groco", "simclr"),
        found.compare("sorting groups serves a linear probe better", "groco", "simclr", "probe"),
        *(
            found.compare(f"GroCo as it is beats {other.removeprefix('groco, ')}", "groco", other)
            for other in list(ARMS)[2:]
        ),
    ]
