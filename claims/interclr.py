"""InterCLR beside its own intra-image loss, and its choices of labels and negatives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from claims import arms
from claims.arms import Arm, Plan, Watch
from claims.record import Entry

SHARED = {"clusters": 50, "pool": 500, "queue": 1024}
ARMS = {
    "interclr": Arm("interclr", SHARED),
    "intra only": Arm("interclr", SHARED | {"inter_weight": 0.0}),
    "offline labels": Arm("interclr", SHARED | {"labels": "offline"}),
    "hard negatives": Arm("interclr", SHARED | {"sampling": "hard"}),
    "no margin": Arm("interclr", SHARED | {"margin": 0.0}),
    "inter only": Arm("interclr", SHARED | {"inter_weight": 1.0}),
}


def agreement(bank: Any) -> Watch:
    """How well the pseudo-labels of an epoch agree with the classes nobody told."""
    from fallow.measure import nmi

    truth = bank.labels[0]

    def see(method: Any, now: Any) -> dict[str, float]:
        labels = method.memory.labels.cpu().numpy()[: len(truth)]
        known = labels >= 0
        return {"label_nmi": nmi(truth[known], labels[known])} if known.any() else {}

    return see


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    watch: Callable[[Any], Watch] = agreement
    found = arms.run(data, minutes, ARMS, plan, watch=watch)
    return [
        found.compare("contrast across images improves on its base", "interclr", "intra only"),
        found.compare(
            "contrast across images improves a linear probe", "interclr", "intra only", "probe"
        ),
        found.compare("online labels serve better than offline", "interclr", "offline labels"),
        found.compare(
            "online labels agree with the classes better than offline",
            "interclr",
            "offline labels",
            "label_nmi",
        ),
        found.compare("semi-hard negatives serve better than hard", "interclr", "hard negatives"),
        found.compare("the looser margin serves better than none", "interclr", "no margin"),
        found.compare("both losses serve better than the inter loss", "interclr", "inter only"),
    ]
