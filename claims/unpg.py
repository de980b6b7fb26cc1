"""UNPG: do negative pairs of the batch help to tell apart what was never seen?

Networks learn the characters of all alphabets but two, and are asked which pictures of the other
two show the same character; or the faces of some people, and are asked about others'. Negative
pairs in the loss, filtered or all, beside the margin softmax alone; and, as the filter is for wrong
labels, once more with one label in ten exchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from benchmarks.photos import archive

from claims import arms
from claims.arms import Arm, Outcome, Plan, Trained, Trials
from claims.record import Entry
from fallow.measure.pairs import accepted_at, curve, equal_error

ALPHABETS = 2  # kept for the question
EXCHANGED = 0.1
SETTINGS = {
    "learning_rate": 0.1,
    "projection": 128,
    "scale": 32.0,
    "flip": 0.0,
    "smallest": 0.7,
    "precision": "32",
}


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plans = [plan] if plan else [
        Plan(archive="omniglot_small1", images=2000, size=32, batch=128),
        Plan(archive="faces_lfw", images=1182, size=32, batch=128),
    ]  # fmt: skip
    return [one for each in plans for one in one_set(data, minutes / len(plans), each)]


def one_set(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    begin = time.monotonic()
    bank, test, strangers = PARTS[plan.archive](_opened(data, plan))
    banks = {"": bank, ", labels exchanged": _exchanged(bank, 0)}
    sides = {
        f"{name}{labels}": Arm("unpg", {**SETTINGS, "pairs": pairs})
        for labels in banks
        for name, pairs in (("filtered", "filtered"), ("all", "all"), ("margin alone", "none"))
    }
    arms.train(plan, sides["filtered"], bank, test, 0, epochs=1)  # the first one compiles
    one = arms.train(plan, sides["filtered"], bank, test, 0, epochs=4)
    epochs = max(4, int(minutes / (len(sides) * plan.seeds * one.minutes / 4)))
    outcomes: dict[str, list[Outcome]] = {name: [] for name in sides}
    for seed in range(plan.seeds):
        for name, arm in sides.items():
            source = banks[", labels exchanged" if "exchanged" in name else ""]
            if "exchanged" in name:
                source = _exchanged(bank, seed)
            found = arms.train(
                plan, arm, source, test, seed, observe=lambda t: _verified(t, strangers),
                epochs=epochs,
            )  # fmt: skip
            outcomes[name].append(found)
            print(f"{name}, seed {seed}: {found.seen}", flush=True)
    spent = (time.monotonic() - begin) / 60
    trials = Trials(plan, sides, outcomes, {}, bank, minutes, spent)
    entries = []
    for measure, words in (
        ("TAR at 0.001", "let in more of the same where one in a thousand others is"),
        ("TAR at 0.01", "let in more of the same where one in a hundred others is"),
        ("less error", "make fewer errors where both kinds are as frequent"),
    ):
        for labels in banks:
            for ours, theirs in (("filtered", "margin alone"), ("filtered", "all")):
                entries.append(
                    trials.compare(
                        f"{plan.archive}: {ours} negative pairs {words}, than {theirs}{labels}",
                        ours + labels,
                        theirs + labels,
                        measure,
                    )
                )
    return entries


def _opened(data: Path, plan: Plan) -> Any:
    import fallow

    return fallow.open(archive(data, plan.archive))


def _characters(images: Any) -> tuple[Any, Any, Any]:
    """Those that teach, others of the same alphabets, and those of alphabets nobody saw."""
    alphabets = sorted(set(images.column("alphabet").tolist()))
    kept = np.isin(images.column("alphabet"), alphabets[-ALPHABETS:])
    seen = images.select(np.flatnonzero(~kept))
    strangers = images.select(np.flatnonzero(kept))
    return seen.where("split = 'train'"), seen.where("split = 'test'"), strangers


def _people(images: Any) -> tuple[Any, Any, Any]:
    """Faces that teach, others of the same people, and those of other people."""
    teach, others = images.where("split = 'train'").split(0.85, seed=0)
    return teach, others, images.where("split = 'test'")


PARTS: dict[str, Callable[[Any], tuple[Any, Any, Any]]] = {
    "omniglot_small1": _characters,
    "faces_lfw": _people,
}


def _exchanged(images: Any, seed: int) -> Any:
    """The images, one label in ten that of another class."""
    codes, names = images.labels
    draw = np.random.default_rng([seed, 23])
    codes = codes.copy()
    rows = draw.choice(len(codes), round(EXCHANGED * len(codes)), replace=False)
    codes[rows] = (codes[rows] + draw.integers(1, len(names), len(rows))) % len(names)
    table = pa.table({"path": images.column("path"), "label": [names[code] for code in codes]})
    return images.join(table)


def _verified(trained: Trained, strangers: Any) -> dict[str, Any]:
    """How well pairs of strangers are told apart by what the margins were set in."""
    vectors = torch.from_numpy(trained.encoder.embed(strangers))
    head = trained.method.head.eval()
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(head(vectors.to(next(head.parameters()))), dim=1)
    codes = strangers.labels[0]
    one, two = np.triu_indices(len(codes), 1)
    similarity = (vectors @ vectors.T).cpu().numpy()[one, two]
    same = codes[one] == codes[two]
    found = curve(similarity, same)
    return {
        "TAR at 0.001": accepted_at(found, 1e-3).share,
        "TAR at 0.01": accepted_at(found, 1e-2).share,
        "less error": -equal_error(found),
        "gap": float(similarity[same].min() - similarity[~same].max()),
    }
