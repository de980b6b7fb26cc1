"""FRL: does learning from bare faces serve face tasks, and how much do bursts repeat?

*Pre-trained*: one small network learns without labels from faces, or for as many steps from as many
other photos; frozen, with a head of its own for each number of labels, it is asked what unseen
people express, and which pictures show the same of them. Beside it the network before training.
*Bursts*: every photo gives ten crops a few pixels apart. Who somebody is, is learnt from all crops,
from one of each photo, from all crops of a tenth of the photos, and from a tenth of the crops that
lie as far apart as can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, by_row, entry
from fallow.measure.redundancy import spread_out
from fallow.methods.probe.faces import Seen, Settings, Task, ask, nested, task, verified
from fallow.train import make_settings
from fallow.vectors.space import unit

CROP, MOVES = 96, 16  # of 112 pixels
BURST = 10


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    method: str = "simclr"
    encoder: str = "resnet8/16"
    size: int = 32
    batch: int = 128
    epochs: int = 30
    other: str = "tiny_imagenet50"
    budgets: tuple[int, ...] = (10, 50, 100)
    photos: int = 400  # that bursts are made of
    burst_encoder: str = "tiny"
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return [*bursts(data, minutes, plan), *pretrained(data, minutes, plan)]


# --- pre-trained ---


def pretrained(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    kept = Kept("faces", asdict(plan))
    faces = fallow.open(archive(data, "faces_lfw")).where("split != 'single'")
    bank = faces.where("split = 'train'")
    others = fallow.open(archive(data, plan.other)).where("split = 'train'")
    values: dict[str, dict[str, list[float]]] = {}
    for seed in range(plan.seeds):
        generic = others.sample(len(bank), seed=seed)
        for name, images in (("faces", bank), ("other photos", generic), ("untrained", None)):
            found = kept(f"{name} {seed}", partial(one_start, images, faces, seed, plan))
            for measure, value in found.items():
                values.setdefault(measure, {}).setdefault(name, []).append(value)
    about = {
        "data": {"name": "faces_lfw", "images": len(faces), "fingerprint": faces.fingerprint},
        "budget": kept.budget(minutes, epochs=plan.epochs),
        "settings": asdict(plan),
        "observed": values,
    }
    return [
        entry(f"learning from bare faces serves {measure} better than {words}", "faces", theirs,
              seeds=list(zip(table["faces"], table[theirs], strict=True)), **about)
        for measure, table in values.items()
        for theirs, words in (("untrained", "no training"),
                              ("other photos", "learning from other photos"))
    ]  # fmt: skip


def one_start(images: Any, faces: Any, seed: int, plan: Plan) -> dict[str, float]:
    """Everything that is asked of the network after learning from some pictures."""
    expressed, who = task(faces, "emotion"), task(faces, "label")
    vectors = learnt(images, seed, plan).embed(faces)
    return asked(vectors, expressed, who, faces.column("split") == "train", seed, plan)


def learnt(images: Any, seed: int, plan: Plan) -> Any:
    """The network after learning from pictures without labels, or before it."""
    import fallow
    from fallow.methods import find
    from fallow.train import fit

    start = fallow.encoder(plan.encoder, seed=seed, size=plan.size)
    if images is None:
        return start
    kind = find("learn", plan.method)
    told = {"size": plan.size, "batch": plan.batch, "epochs": plan.epochs}
    return fit(kind, images, encoder=start, settings=make_settings(kind.Settings, told),
               seed=seed).encoder  # fmt: skip


def asked(
    vectors: np.ndarray, expressed: Task, who: Task, teach: np.ndarray, seed: int, plan: Plan
) -> dict[str, float]:
    """Accuracy for each number of labels, and how well people nobody learnt from are verified."""
    settings, seen = Settings(), Seen(vectors, None, None)
    rest = np.flatnonzero(~teach)
    found: dict[str, float] = {}
    for draw in range(3):
        pools = nested(np.flatnonzero(teach & expressed.known), plan.budgets, 10 * seed + draw)
        for place, rows in enumerate(pools.values()):
            labels = [*map(str, plan.budgets), "all"][place]
            value = ask(expressed, seen, rows, rest, settings, seed)["accuracy"]
            key = f"expressions with {labels} labels"
            found[key] = found.get(key, 0.0) + value / 3
    told = verified(vectors[rest], who.targets[rest], (1e-2,), seed=seed)
    return {**found, "verification by equal error": -told["equal error"],
            "verification at 1 % let in": told["let in at 0.01"]}  # fmt: skip


# --- bursts ---


def bursts(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    kept = Kept("faces", asdict(plan))
    faces = fallow.open(archive(data, "faces_lfw")).where("split = 'train'")
    encoder = fallow.encoder(plan.burst_encoder)
    values = kept.seeds(plan.seeds, lambda seed: one_burst(faces, encoder, seed, plan), of="bursts")
    about = {
        "data": {"name": "faces_lfw", "images": plan.photos, "crops of each": BURST},
        "budget": kept.budget(minutes),
        "settings": asdict(plan),
        "observed": {"accuracy": values},
    }
    one = "bursts: {ours} serves better than {theirs}"
    more = one.replace("serves", "serve")
    compared = [
        (one, "one crop of each", "a tenth of the photos"),
        (more, "all crops", "one crop of each"),
        (one, "a tenth far apart", "a tenth by lot"),
    ]
    return by_row(values, compared, **about)


def one_burst(faces: Any, encoder: Any, seed: int, plan: Plan) -> Mapping[str, float]:
    """Accuracy of who somebody is, on photos that gave no crop."""
    draw = np.random.default_rng([seed, 71])
    order = draw.permutation(len(faces))
    own, rest = order[: plan.photos], order[plan.photos : 2 * plan.photos]
    codes = faces.labels[0]
    crops = [crop(faces[int(row)], draw) for row in own for _ in range(BURST)]
    whole = [crop(faces[int(row)], draw) for row in rest]
    vectors = encoder.embed([*crops, *whole])
    names = np.concatenate([codes[own].repeat(BURST), codes[rest]])
    who, seen = Task("label", "classes", names), Seen(vectors, None, None)
    count = len(own) * BURST
    tenth = max(1, len(own) // BURST)
    sides = {
        "all crops": np.arange(count),
        "one crop of each": np.arange(0, count, BURST),
        "a tenth of the photos": np.arange(tenth * BURST),
        "a tenth by lot": draw.permutation(count)[: len(own)],
        "a tenth far apart": spread_out(unit(vectors[:count]), len(own), seed),
    }
    asked_of = np.arange(count, len(names))
    return {name: of_all(who, seen, rows, asked_of, seed) for name, rows in sides.items()}


def of_all(who: Task, seen: Seen, rows: np.ndarray, asked_of: np.ndarray, seed: int) -> float:
    """Accuracy among all who are asked about: whoever was never taught cannot be told."""
    known = np.isin(who.targets[asked_of], who.targets[rows]).mean()
    right = ask(who, seen, rows, asked_of, Settings(), seed)["accuracy"]
    return float(known) * right if np.isfinite(right) else 0.0


def crop(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    top, left = draw.integers(0, MOVES + 1, 2)
    return pixels[top : top + CROP, left : left + CROP]
