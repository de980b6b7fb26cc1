"""`protect` and `forget` in lite's space beside the spaces they were measured in.

*Protection*: UC's patterns made through lite beside those made through an encoder that SimCLR
taught these very images, both in the same minutes. Strangers, as in uc.py, learn from either kind
of copies under four label maps; compared is the accuracy they lose beside the originals.

*Forgetting*: a classifier of photos that begins with lite forgets a class by LAF, without labels;
its closeness to retraining, as in laf.py, beside no change and beside what LAF reached on the
small network that laf.py trains from random weights.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims import laf, uc
from claims.kept import Kept
from claims.record import RESULTS, Entry, entry

SPACES = ("lite", "own SimCLR")


@dataclass(frozen=True)
class Plan:
    """What all runs share."""

    protected: str = "cifar10_subset"
    forgotten: str = "clothing_cc0"
    images: int = 800  # that strangers learn from, and are asked
    stranger_epochs: int = 6
    pattern_minutes: float = 1.0
    side: int = 64  # at which lite looks at either
    learnt: int = 320  # images a classifier is made of
    epochs: float = 8  # of it
    learning_rate: float = 0.05
    steps: int = 80  # of LAF
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("lite-edits", {key: v for key, v in asdict(plan).items() if key != "seeds"})
    protected, forgotten = [], []
    for seed in range(plan.seeds):
        protected.append(kept(f"uc {seed}", lambda seed=seed: protect(data, seed, plan)))
        forgotten.append(kept(f"laf {seed}", lambda seed=seed: forget(data, seed, plan)))
    spent = kept.budget(minutes)
    return protections(protected, spent, plan) + forgettings(forgotten, spent, plan)


# --- protection ---


def protect(data: Path, seed: int, plan: Plan) -> dict[str, Any]:
    """Accuracies of strangers who had the originals, and copies of either space."""
    import fallow
    from fallow.views.perturb import stepped, steps_at

    side = uc.SIDES[plan.protected]
    how = uc.Plan(images=plan.images, asked=plan.images)
    everything = fallow.open(archive(data, plan.protected))
    names = everything.labels[1]
    train, test = (
        uc.drawn(everything.where(f"split = '{part}'"), plan.images, side, names)
        for part in ("train", "test")
    )
    images = fallow.open(list(train.pixels))
    spaces = {
        SPACES[0]: fallow.encoder("lite", size=plan.side),
        SPACES[1]: uc.surrogate(images, how, side, plan.pattern_minutes),
    }
    copies = {"clean": train.pixels}
    purity = {}
    for space, encoder in spaces.items():
        method, members = uc.patterns(images, encoder, how, side, seed, plan.pattern_minutes)
        changes = [steps_at(one, (side, side), method.budget) for one in method.all_patterns()]
        copies[space] = stepped(train.pixels, np.stack(changes)[members])
        purity[space] = uc.facts(train, copies[space], members)
    accuracies = uc.strangers(train, test, copies, how, plan.stranger_epochs, seed, others=())
    return {
        "accuracies": accuracies,
        "of the copies": purity,
        "images": len(train.pixels),
        "fingerprint": everything.fingerprint,
    }


def protections(found: list[dict[str, Any]], spent: dict[str, Any], plan: Plan) -> list[Entry]:
    ours, theirs = SPACES
    told = [one["accuracies"] for one in found]
    return [
        entry(
            f"{plan.protected}: {claim} ({column})", ours, other,
            data={"name": plan.protected, "images": found[0]["images"],
                  "fingerprint": found[0]["fingerprint"]},
            budget=spent,
            seeds=[(uc.lost(one, ours, column), uc.lost(one, other, column)) for one in told],
            settings=asdict(plan),
            observed={"accuracies": told,
                      "of the copies": [one["of the copies"] for one in found]},
        )
        for column in uc.MAPS
        for claim, other in (
            ("UC through lite lowers what a stranger learns", "clean"),
            ("UC through lite lowers it more than through an encoder of these images", theirs),
        )
    ]  # fmt: skip


# --- forgetting ---


def forget(data: Path, seed: int, plan: Plan) -> dict[str, Any]:
    """Rows of the classifier as it was, made anew without the class, and after LAF."""
    how = laf.Plan(
        encoder="lite", side=plan.side, epochs=plan.epochs, learning_rate=plan.learning_rate,
        steps=plan.steps,
    )  # fmt: skip
    everything = laf.first_classes(data, plan.forgotten, how.classes)
    train, test = (everything.where(f"split = '{part}'") for part in ("train", "test"))
    drawn = train.sample(plan.learnt, seed=seed)
    original, _ = laf.trained(drawn, how, seed)
    rows = laf.rows(original, drawn, test, "class", how, seed, variants=("LAF",), labelled=False)
    return {"rows": rows, "images": len(train), "fingerprint": everything.fingerprint}


def forgettings(found: list[dict[str, Any]], spent: dict[str, Any], plan: Plan) -> list[Entry]:
    by_name = [{row["model"]: row for row in one["rows"]} for one in found]
    close = {
        model: [laf.closeness(rows[model], rows["retrained"]) for rows in by_name]
        for model in ("LAF", "original")
    }
    said = json.loads((RESULTS / "laf.json").read_text())
    start = f"{plan.forgotten}, class removal: LAF is closer to retraining than no change"
    small = [first for first, _ in next(one for one in said if one["claim"] == start)["seeds"]]
    what = f"{plan.forgotten}, class removal from a classifier that begins with lite"
    return [
        entry(
            f"{what}: LAF is closer to retraining than {claim}", "LAF", other,
            data={"name": plan.forgotten, "images": found[0]["images"],
                  "fingerprint": found[0]["fingerprint"]},
            budget=spent,
            seeds=list(zip(close["LAF"], theirs, strict=True)),
            settings=asdict(plan) | {"measure": "closeness"},
            observed={"rows": [one["rows"] for one in found]},
        )
        for claim, other, theirs in (
            ("no change", "original", close["original"]),
            ("it was on a small network", "LAF on resnet8/8", small),
        )
    ]  # fmt: skip
