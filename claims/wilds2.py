"""WILDS 2.0: do methods that see bare pictures of the new place beat learning from labels alone?

Digits on plain ground are labelled; the same digits' others lie on pieces of two photographs, and
only bare. All methods train the same small network for as many steps, in the same strong views, and
are asked about pictures on pieces of the photographs that none of them saw: accuracy, and accuracy
on the worse of the two photographs. What labels of the new place would give is beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from claims.captioned import enlarged
from claims.kept import Kept
from claims.record import Entry, entry

OTHERS = ("coral", "dann", "afn", "pseudo", "fixmatch", "noisy_student", "swav")
SHARED = {"size": 16, "batch": 60, "precision": "32", "learning_rate": 0.1, "flip": 0.0}
BOUND = "labels of the new place"
MEASURES = {"acc_avg": "on average", "acc_wg": "in the worse place"}


@dataclass(frozen=True)
class Plan:
    """What all methods share."""

    labelled: int = 600
    bare: int = 600
    encoder: str = "resnet8/8"
    epochs: float = 20
    seeds: int = 3
    others: tuple[str, ...] = OTHERS


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("wilds2", asdict(plan) | SHARED)
    values: dict[str, list[dict[str, Any]]] = {}
    for seed in range(plan.seeds):
        source, target, asked = places(plan, seed)
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
        "data": {"name": "digits on photographs", "images": plan.labelled + plan.bare},
        "budget": kept.budget(minutes, epochs=plan.epochs),
        "settings": asdict(plan) | SHARED,
        "observed": {"accuracy": values},
    }
    return [
        entry(
            f"{name} is better than learning from labels alone, {words}", name, "erm",
            seeds=[(a[measure], b[measure])
                   for a, b in zip(values[name], values["erm"], strict=True)],
            **about,
        )
        for name in (*plan.others, BOUND)
        for measure, words in MEASURES.items()
    ]  # fmt: skip


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
        encoder=fallow.encoder(plan.encoder, seed=seed, size=SHARED["size"]),
        settings=make_settings(kind.Settings, {**SHARED, "epochs": plan.epochs, **more}),
        out=out,
        seed=seed,
    )
    method: Any = run.method
    return {**judged(method.classifier.eval(), asked, ("photo",)), "steps": run.steps}


def places(plan: Plan, seed: int) -> tuple[Any, Any, Any]:
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
    made = fallow.images.open(pixels, labels={"label": labels, "photo": photos})
    large = [enlarged(source[row]) for row in range(len(source))]
    plain = fallow.images.open(large, labels={"label": source.column("label").tolist(),
                                              "photo": ["plain"] * len(large)})  # fmt: skip
    return plain, made.select(np.arange(plan.bare)), made.select(np.arange(plan.bare, len(made)))


def on_photo(digit: np.ndarray, photo: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Half a digit, half a piece of a photograph."""
    side = 2 * len(digit)
    top, left = (int(draw.integers(size - side)) for size in photo.shape[:2])
    piece = photo[top : top + side, left : left + side, :3].astype(np.float32)
    return np.rint((enlarged(digit) + piece) / 2).astype(np.uint8)
