"""AdvCLIP: which defences give back what a patch takes, and what do they cost without one?

A patch is learnt from bare pictures of one set and pasted on pictures of three others, on whose
classes a head was built. The encoders are lite, and the pictures' side of a small dual encoder that
`align` taught from scratch; with that one the patch is learnt through its texts, too. Told is the
share of answers of the head that are right, mean over the three sets: under the patch with each
defence and without any, and on clean pictures. Beside the patch are squares nobody had to learn.

Two defences know where the patch is (the covered corner, the upper left three quarters) and one has
seen the patch itself (the head): they say what such knowledge is worth, not what withstands a patch
that is somewhere else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive
from torch import Tensor, nn

from claims import retrieval
from claims.advclip import PLAIN, bench, pixels, places
from claims.kept import Kept
from claims.record import Entry, entry
from fallow.encoders.dual import DualEncoder, dual_encoder
from fallow.methods.shared.withstanding import corruptions, defended, look_of, pruned, withstood
from fallow.methods.stress.advclip import Bounds, Found, Settings, descended, plain
from fallow.verbs.stress import PRUNED

DUAL = "dual encoder"
LEARNT, BARE = "learnt", "learnt without texts"
NOTHING = "none"  # the row without a defence
UNDEFENDED, CLEAN, PATCHED = "no defence", "clean", "under the patch"
OTHERS = {**{name: name for name in PLAIN}, BARE: "one learnt without texts"}
BySet = dict[str, list[float]]  # seed by seed
Told = dict[str, dict[str, list[dict[str, Any]]]]  # by set: patches and defences, a row each


@dataclass(frozen=True)
class Plan:
    """What all seeds share."""

    bare: str = "tiny_imagenet50"
    sets: tuple[str, ...] = ("aerial_ucmerced", "clothing_cc0", "grocery")
    encoder: str = "lite"
    size: int = 128  # of its pictures
    words: retrieval.Plan = retrieval.Plan()  # noqa: RUF009 of the dual encoder from scratch
    images: int = 300  # of every set, on each side
    area: float = 0.03
    steps: int = 100
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("defences", asdict(plan))
    seen: dict[str, list[Told]] = {
        name: [kept(f"{name} {seed}", partial(one_seed, data, name, seed, plan))
               for seed in range(plan.seeds)]
        for name in (plan.encoder, DUAL)
    }  # fmt: skip
    budget = kept.budget(minutes, steps=plan.steps)
    return [one for name, told in seen.items() for one in entries_of(name, told, budget, plan)]


def entries_of(
    name: str, seen: Sequence[Told], budget: Mapping[str, Any], plan: Plan
) -> list[Entry]:
    """Of one encoder: what was given back, what that costs, and the patch beside plain squares."""
    changed = by_row(seen, "patches", "patch", "changed")
    clean = by_row(seen, "defences", "defence", "clean accuracy")
    patched = by_row(seen, "defences", "defence", "patched accuracy")
    defences = [one for one in patched if one != NOTHING]
    sides = [
        ("the patch takes answers", (CLEAN, clean[NOTHING]), (PATCHED, patched[NOTHING])),
        *((f"{one} gives back answers under the patch", (one, patched[one]),
           (UNDEFENDED, patched[NOTHING])) for one in defences),
        *((f"{one} costs answers on clean pictures", (UNDEFENDED, clean[NOTHING]),
           (one, clean[one])) for one in defences),
        *((f"the patch changes more answers than {words}", (LEARNT, changed[LEARNT]),
           (one, changed[one])) for one, words in OTHERS.items() if one in changed),
    ]  # fmt: skip
    tables = {"changed": changed, CLEAN: clean, PATCHED: patched}
    means = {
        what: {row: averaged(found) for row, found in rows.items()} for what, rows in tables.items()
    }
    return [
        entry(
            f"{plan.area:.0%} of the picture, {name}: {claim}", ours, theirs,
            data={"name": ", ".join(plan.sets), "images": plan.images, "learnt from": plan.bare},
            budget=dict(budget),
            seeds=list(zip(averaged(reached), averaged(beside), strict=True)),
            settings=asdict(plan),
            observed={**means, "by set": {ours: reached, theirs: beside}},
        )
        for claim, (ours, reached), (theirs, beside) in sides
    ]  # fmt: skip


def by_row(seen: Sequence[Told], table: str, name: str, measure: str) -> dict[str, BySet]:
    """A measure of each row of a table."""
    values: dict[str, BySet] = {}
    for told in seen:
        for data, tables in told.items():
            for row in tables[table]:
                values.setdefault(row[name], {}).setdefault(data, []).append(row[measure])
    return values


def averaged(values: BySet) -> list[float]:
    """The mean over the sets, seed by seed.

    >>> averaged({"one": [0.5, 1.0], "other": [0.0, 0.5]})
    [0.25, 0.75]
    """
    return [float(mean) for mean in np.mean(list(values.values()), axis=0)]


def one_seed(data: Path, name: str, seed: int, plan: Plan) -> Told:
    """Patches learnt from bare pictures, then every set with each of them and each defence."""
    model = of_words(data, seed, plan) if name == DUAL else start(plan)
    model.eval().requires_grad_(False)
    encoder: Any = model.image if isinstance(model, DualEncoder) else model
    bounds = Bounds.of(encoder.mean, encoder.std)
    found = places(patches(data, model, encoder, bounds, seed, plan))
    look = look_of(model)
    smaller = {f"{share:.0%} of weights pruned": look_of(pruned(model, share)) for share in PRUNED}
    changes = corruptions(bounds.low, bounds.high, seed)
    told: Told = {}
    for one in plan.sets:
        task = bench(data, one, encoder, seed, plan.images)
        told[one] = {
            "patches": withstood(look, task, found)["patches"],
            "defences": defended(look, task, found[LEARNT], changes, smaller, seed),
        }
    return told


def start(plan: Plan) -> nn.Module:
    import fallow

    return fallow.encoder(plan.encoder, size=plan.size)


def of_words(data: Path, seed: int, plan: Plan) -> DualEncoder:
    """A dual encoder that learns photos and their captions, as in retrieval.py."""
    photos = retrieval.photographs(data)
    with tempfile.TemporaryDirectory() as folder:
        retrieval.learnt(photos, plan.words.scratch, seed, plan.words, Path(folder))
        return dual_encoder(folder)


def patches(
    data: Path, model: nn.Module, encoder: Any, bounds: Bounds, seed: int, plan: Plan
) -> dict[str, Found]:
    """Plain squares, and those learnt by both terms of the loss; texts are names of classes."""
    import fallow

    source = fallow.open(archive(data, plan.bare)).where("split = 'train'")
    source = source.sample(plan.images, seed=seed)
    settings = Settings(area=plan.area, steps=plan.steps)
    shown, look = pixels(encoder, source), look_of(model)
    found = plain(shown.shape[-1], bounds, settings, seed)
    texts: Tensor | None = None
    if isinstance(model, DualEncoder):
        names = [str(one).split(",")[0] for one in source.column("name")]
        texts = torch.from_numpy(model.embed_texts(names, normalise=True))
        found[BARE] = descended(look, shown, bounds, settings, None, seed)
    return {**found, LEARNT: descended(look, shown, bounds, settings, texts, seed)}
