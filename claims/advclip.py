"""AdvCLIP: does a learnt patch upset an encoder more than a plain square, in tasks it never saw?

The patch is learnt from bare pictures of one set and then pasted, at the same place and size, on
pictures of two others, on which a classifier and a search were built. The share of answers of
the classifier that change, mean over the two sets, for patches learnt directly by each term of
the loss and both, by the generator of the paper, and for squares nobody had to learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, by_row
from fallow.methods.shared.withstanding import Bench, withstood
from fallow.methods.stress.advclip import Bounds, Found, Settings, descended, generated, plain

PLAIN = ("black", "grey", "white", "random")
TERMS: Mapping[str, dict[str, float]] = {
    "both terms": {},
    "distance alone": {"topology": 0.0},
    "topology alone": {"away": 0.0},
}


@dataclass(frozen=True)
class Plan:
    """What all patches share."""

    bare: str = "tiny_imagenet50"
    sets: tuple[str, ...] = ("aerial_ucmerced", "clothing_cc0")
    encoder: str = "tiny"
    images: int = 150  # of every set, on each side
    area: float = 0.03
    steps: int = 100
    epochs: int = 5
    width: int = 32  # of the generator; 128 in the paper
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("advclip", asdict(plan))
    seen = [kept(f"seed {seed}", partial(one_seed, data, seed, plan))
            for seed in range(plan.seeds)]  # fmt: skip
    values: dict[str, list[float]] = {}
    for told in seen:
        for rows in zip(*told.values(), strict=True):
            if (patch := rows[0]["patch"]) != "none":
                changed = float(np.mean([row["changed"] for row in rows]))
                values.setdefault(patch, []).append(changed)
    about = {
        "data": {"name": ", ".join(plan.sets), "images": plan.images, "learnt from": plan.bare},
        "budget": kept.budget(minutes, steps=plan.steps),
        "settings": asdict(plan),
        "observed": {"changed": values, "by set": seen},
    }
    compared = [("both terms", name) for name in PLAIN]
    compared += [("both terms", name) for name in ("distance alone", "topology alone", "generator")]
    compared += [("generator", name) for name in PLAIN]
    said = (
        f"{plan.area:.0%} of the picture, {plan.encoder}: the patch by {{ours}} changes more "
        "answers than {theirs}"
    )
    return by_row(values, [(said, *pair) for pair in compared], **about)


def one_seed(data: Path, seed: int, plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """What every patch does to the tasks of every set."""
    import fallow

    encoder = fallow.encoder(plan.encoder).eval().requires_grad_(False)
    bare = fallow.open(archive(data, plan.bare)).where("split = 'train'")
    found = patches(encoder, pixels(encoder, bare.sample(plan.images, seed=seed)), seed, plan)
    return {
        name: withstood(encoder, bench(data, name, encoder, seed, plan.images), places(found))[
            "patches"
        ]
        for name in plan.sets
    }


def patches(
    look: Callable[..., Any], pictures: torch.Tensor, seed: int, plan: Plan
) -> dict[str, Found]:
    """Every patch there is, learnt from the same bare pictures."""
    bounds = Bounds.of(look.mean, look.std)  # type: ignore[attr-defined]
    base = {"area": plan.area, "steps": plan.steps, "epochs": plan.epochs, "width": plan.width}
    found = plain(pictures.shape[-1], bounds, Settings(**base), seed)
    for name, weights in TERMS.items():
        settings = Settings(**base, **weights)
        found[name] = descended(look, pictures, bounds, settings, None, seed)
    found["generator"] = generated(look, pictures, bounds, Settings(**base), None, seed)
    return found


def places(found: Mapping[str, Found]) -> dict[str, Any]:
    return {name: (one.patch, one.square) for name, one in found.items()}


def bench(data: Path, name: str, encoder: Any, seed: int, images: int) -> Bench:
    """A set as the stranger's task: halves drawn by the seed, so many images of each at most."""
    import fallow
    from fallow.measure.scores import halves

    labelled = fallow.open(archive(data, name)).labelled
    codes, names = labelled.labels
    draw = np.random.default_rng([seed, 43])
    teach, ask = (
        np.sort(draw.permutation(np.flatnonzero(side))[:images])
        for side in halves(labelled, codes, seed)
    )
    one, other = (pixels(encoder, labelled.select(rows)) for rows in (teach, ask))
    return Bench(one, other, codes[teach], codes[ask], list(names))


def pixels(encoder: Any, images: Any) -> torch.Tensor:
    """Pictures as an encoder takes them.  N 3 S S"""
    made = [x for _, x in images.map(encoder.preprocessing.fit, side=encoder.size)]
    return encoder.preprocessing.normalise(torch.stack(made))
