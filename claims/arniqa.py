"""ARNIQA: does an encoder learn on bare photos how badly a photo is spoilt?

The material of uhdiqa.py: photos of which a seed holds some back, spoilt in all 24 ways and five
grades. A small network learns on the clean photos that teach which crops were spoilt alike; a ridge
on a hundred spoilt photos then says how badly others are. Beside it the same network before it
learnt, and the statistics of BRISQUE.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims import uhdiqa
from claims.kept import Kept
from claims.record import Entry, entry
from claims.uhdiqa import Spoilt, ranked
from fallow.measure.ridge import ridge
from fallow.methods.spot.uhdiqa import ARNIQA, Settings, look
from fallow.train import fit, make_settings

COMPARED = (("trained", "untrained"), ("trained", "brisque"), ("both", "brisque"))


@dataclass(frozen=True)
class Plan(uhdiqa.Plan):
    """What all sides share."""

    encoder: str = "resnet8/16"
    size: int = 96
    batch: int = 32
    epochs: float = 60


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("arniqa", asdict(plan))
    photos = fallow.open(archive(data, "natural_photos")).where("\"set\" = 'bsds'")
    found = [kept(f"seed {seed}", partial(one_seed, photos, seed, plan))
             for seed in range(plan.seeds)]  # fmt: skip
    return [
        entry(f"{ours} ranks damage better than {theirs}, {words}", ours, theirs,
              data={"name": "natural_photos", "images": len(photos)},
              budget=kept.budget(minutes, epochs=plan.epochs),
              seeds=[(one[ours][place], one[theirs][place]) for one in found],
              settings=asdict(plan), observed={"rank correlation": found})
        for place, words in enumerate(("photo by photo", "over all photos"))
        for ours, theirs in COMPARED
    ]  # fmt: skip


def one_seed(photos: Any, seed: int, plan: Plan) -> dict[str, tuple[float, float]]:
    """Rank correlation of each scorer with the grade: within a photo and way, and over all."""
    import fallow

    some = Spoilt.drawn(photos, seed, plan)
    told = {"size": plan.size, "batch": plan.batch, "side": 320, "epochs": plan.epochs}
    starts = [fallow.encoder(plan.encoder, seed=seed, size=plan.size) for _ in range(2)]
    learnt = fit(ARNIQA, some.clean, encoder=starts[1],
                 settings=make_settings(ARNIQA.Settings, told), seed=seed).encoder  # fmt: skip
    how = Settings(crops="five", crop=plan.size)
    scores: dict[str, np.ndarray] = {}
    for name, encoder in (("untrained", starts[0]), ("trained", learnt)):
        known, seen = (look(fallow.images.open(p), encoder, how) for p in (some.ones, some.others))
        assert known.learned is not None
        assert seen.learned is not None
        scores[name] = ridge(known.learned, some.grades)(seen.learned)
    scores["brisque"] = ridge(known.natural, some.grades)(seen.natural)
    both = [np.concatenate([one.natural, one.learned], 1) for one in (known, seen)]
    scores["both"] = ridge(both[0], some.grades)(both[1])
    return {name: ranked(np.nan_to_num(one), some.truth) for name, one in scores.items()}
