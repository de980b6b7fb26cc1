"""WILDS 2.0: do methods that see bare pictures of the new place beat learning from labels alone?

*Made*: digits on plain ground are labelled; the same digits' others lie on pieces of two
photographs, and only bare. *Natural*: parts of road scenes by day are labelled with what fills most
of them; parts at dusk, of another drive, are only bare. All methods train the same small network
for as many steps, in the same strong views, and are asked about pictures of the new place that none
of them saw: accuracy, and accuracy in the worst group, which is one of the photographs, or one of
the classes. What labels of the new place would give is beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.captioned import enlarged
from claims.carried import CLASSES, small
from claims.kept import Kept
from claims.record import Entry, entry

OTHERS = ("coral", "dann", "afn", "pseudo", "fixmatch", "noisy_student", "swav")
SHARED = {"batch": 60, "precision": "32", "flip": 0.0}
BOUND = "labels of the new place"
MEASURES = {"acc_avg": "on average", "acc_wg": "in the worst group"}
PART = 24  # pixels a side, of frames with a short side of SIDE
SIDE = 180
FILLED = 0.7  # of a part, by its class


@dataclass(frozen=True)
class Plan:
    """What all methods share."""

    shift: str = "made"
    size: int = 16
    labelled: int = 600
    bare: int = 600
    encoder: str = "resnet8/8"
    learning_rate: float = 1.0  # at which labels alone are learnt in this time, on another seed
    epochs: float = 20
    seeds: int = 3
    others: tuple[str, ...] = OTHERS


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plans = [plan] if plan else [Plan(), Plan("natural", PART, encoder="tiny", learning_rate=0.3)]
    return [one for each in plans for one in one_shift(data, minutes / len(plans), each)]


def one_shift(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    kept = Kept("wilds2", asdict(plan) | SHARED)
    values: dict[str, list[dict[str, Any]]] = {}
    for seed in range(plan.seeds):
        source, target, asked = SHIFTS[plan.shift](data, plan, seed)
        streams = {"source": source, "target": target}
        bound = {"source": target, "target": target}
        first = str(kept.place / f"erm-{seed}")
        for name in ("erm", *plan.others, BOUND):
            given: dict[str, Any] = {"out": first} if name == "erm" else {}
            given = {"start": first} if name == "noisy_student" else given
            slug, seen = ("erm", bound) if name == BOUND else (name, streams)
            make = partial(trained, slug, seen, asked, seed, plan, **given)
            values.setdefault(name, []).append(kept(f"{name} {seed}", make))
    about = {
        "data": {"name": NAMES[plan.shift], "images": plan.labelled + plan.bare},
        "budget": kept.budget(minutes, epochs=plan.epochs),
        "settings": asdict(plan) | SHARED,
        "observed": {"accuracy": values},
    }
    return [
        entry(
            f"{NAMES[plan.shift]}: {name} is better than learning from labels alone, {words}",
            name, "erm",
            seeds=[(a[measure], b[measure])
                   for a, b in zip(values[name], values["erm"], strict=True)],
            **about,
        )
        for name in (*plan.others, BOUND)
        for measure, words in MEASURES.items()
    ]  # fmt: skip


def shared(plan: Plan) -> dict[str, Any]:
    return {**SHARED, "size": plan.size, "epochs": plan.epochs, "learning_rate": plan.learning_rate}


def trained(
    name: str, streams: Mapping[str, Any], asked: Any, seed: int, plan: Plan,
    out: str | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Accuracy of one method's classifier on pictures nobody learnt from."""
    import fallow
    from fallow.methods import find
    from fallow.methods.shared.adapting import judged
    from fallow.train import fit, make_settings

    kind = find("adapt", name)
    run = fit(
        kind,
        dict(streams),
        encoder=fallow.encoder(plan.encoder, seed=seed, size=plan.size),
        settings=make_settings(kind.Settings, {**shared(plan), **more}),
        out=out,
        seed=seed,
    )
    method: Any = run.method
    return {**judged(method.classifier.eval(), asked, ("group",)), "steps": run.steps}


def on_photos(data: Path, plan: Plan, seed: int) -> tuple[Any, Any, Any]:
    """Labelled digits on plain ground; bare ones, and those asked, on pieces of photographs."""
    import fallow
    from fallow.images.samples import digits, photographs

    known = digits()
    draw = np.random.default_rng([seed, 47])
    order = draw.permutation(len(known))
    source = known.select(np.sort(order[: plan.labelled]))
    others = order[plan.labelled :]
    grounds = photographs()
    names = grounds.column("subject").tolist()[:2]
    pixels, labels, photos = [], [], []
    for row in others:
        which = int(draw.integers(2))
        pixels.append(on_photo(known[int(row)], grounds[which], draw))
        labels.append(known.column("label")[row])
        photos.append(names[which])
    made = fallow.images.open(pixels, labels={"label": labels, "group": photos})
    large = [enlarged(source[row]) for row in range(len(source))]
    plain = fallow.images.open(large, labels={"label": source.column("label").tolist(),
                                              "group": ["plain"] * len(large)})  # fmt: skip
    return plain, made.select(np.arange(plan.bare)), made.select(np.arange(plan.bare, len(made)))


def on_photo(digit: np.ndarray, photo: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Half a digit, half a piece of a photograph."""
    side = 2 * len(digit)
    top, left = (int(draw.integers(size - side)) for size in photo.shape[:2])
    piece = photo[top : top + side, left : left + side, :3].astype(np.float32)
    return np.rint((enlarged(digit) + piece) / 2).astype(np.uint8)


def at_dusk(data: Path, plan: Plan, seed: int) -> tuple[Any, Any, Any]:
    """Labelled parts of the day; bare ones of dusk, and those asked, of later frames."""
    import fallow

    scenes = fallow.open(archive(data, "camvid"))
    draw = np.random.default_rng([seed, 151])
    sides = [
        parts(scenes.where(of), count, draw)
        for of, count in (
            ("time = 'day'", plan.labelled),
            ("time = 'dusk' and split = 'train'", plan.bare),
            ("time = 'dusk' and split = 'test'", plan.bare),
        )
    ]
    day, dusk, asked = (
        fallow.images.open(pixels, labels={"label": labels, "group": labels})
        for pixels, labels in sides
    )
    return day, dusk, asked


def parts(images: Any, count: int, draw: np.random.Generator) -> tuple[list[np.ndarray], list[str]]:
    """Parts of frames that one class fills, and its name; as many of each class as there are."""
    names = list(CLASSES.values())
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for row in range(len(images)):
        pixels, mask = small(images, row, SIDE)
        for top, left in np.ndindex(*(length // PART for length in mask.shape)):
            place = np.s_[PART * top : PART * (top + 1), PART * left : PART * (left + 1)]
            shares = np.bincount(mask[place].ravel(), minlength=256)[: len(names)] / PART**2
            if shares.max() >= FILLED:
                found[names[int(shares.argmax())]].append(pixels[place])
    most = count // len(names)
    drawn = [
        (piles[int(row)], name)
        for name, piles in found.items()
        for row in draw.permutation(len(piles))[:most]
    ]
    pixels, labels = zip(*(drawn[int(row)] for row in draw.permutation(len(drawn))), strict=True)
    return list(pixels), list(labels)


SHIFTS = {"made": on_photos, "natural": at_dusk}
NAMES = {"made": "digits on photographs", "natural": "roads at dusk"}
