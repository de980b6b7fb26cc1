"""SwAV: multi-crop against two crops at equal epochs and minutes, and the queue at small batch.

Small runs collapse easily: few prototypes, sharp codes, a high rate. How many prototypes are the
nearest one of some image, and the last loss over ln K, say whether a run stayed alive.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from claims import arms
from claims.arms import Arm, Plan, Trained
from claims.record import Entry

PROTOTYPES = 100
SHARED = {"prototypes": PROTOTYPES, "epsilon": 0.03, "learning_rate": 0.4}
CROPS = {
    "2 x 32 + 4 x 16": Arm("swav", SHARED | {"crops": 4}),
    "2 x 32": Arm("swav", SHARED | {"crops": 0}),
    "2 x 32, as many minutes": Arm("swav", SHARED | {"crops": 0}, minutes_of="2 x 32 + 4 x 16"),
}
SMALL = 32  # images a batch, fewer than there are prototypes
QUEUE = {
    "queue of 480": Arm("swav", SHARED | {"crops": 0, "queue": 480, "queue_from_epoch": 0}),
    "no queue": Arm("swav", SHARED | {"crops": 0, "queue": 0}),
}


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    crops = arms.run(data, 0.7 * minutes, CROPS, plan, observe=alive)
    few = replace(plan, batch=min(SMALL, plan.batch), images=plan.images // 2)
    queue = arms.run(data, 0.3 * minutes, QUEUE, few, observe=alive)
    multi, two, longer = CROPS
    return [
        crops.compare("multi-crop serves better than two crops, at equal epochs", multi, two),
        crops.compare("multi-crop serves better than two crops, at equal minutes", multi, longer),
        queue.compare("a queue helps batches smaller than the prototypes", *QUEUE),
    ]


def alive(trained: Trained) -> dict[str, Any]:
    """Near 1 the loss says that nothing was learned."""
    import torch

    method = trained.method
    with torch.no_grad():
        vectors = torch.from_numpy(trained.vectors).to(trained.encoder.device)
        projected = method.head.eval()(vectors)
        unit = torch.nn.functional.normalize(projected)
        used = int(method.prototypes(unit).argmax(1).unique().numel())
    share = float(trained.history[-1]["loss"]) / math.log(PROTOTYPES)
    return {"prototypes_used": used, "loss_over_ln_prototypes": share}
