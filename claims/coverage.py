"""T2UE by its own test: what a stranger learns where 20 to 100 in 100 pairs are protected.

The owner's dual encoder and the writer of patterns learn from the owner's pairs; then `protect`'s
own test is made: a stranger trains a small dual encoder from scratch on clean pairs, on pairs with
random signs of the same strength, and on pairs of which a growing share is protected, at equal
steps and rates, and is asked how often a clean picture that nobody trained on finds its text among
ten, and a text its picture. Photos are shrunk, before they are protected, to the size at which both
encoders look, and a stranger's network is of the owner's kind: both serve the protection.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fallow
from claims import captioned, retrieval
from claims.kept import Kept
from claims.record import Entry, by_measure
from fallow.encoders import Preprocessing
from fallow.encoders.dual import dual_encoder
from fallow.images import opened
from fallow.images.captions import captions, with_captions
from fallow.methods.protect.t2ue import T2UE
from fallow.outcomes.pairs import COVERAGE, pair_protector, verified_pairs
from fallow.outcomes.pictures import save_picture
from fallow.train import fit, make_settings

PHOTOS, MADE = "flickr8k_sample", "digits with made captions"
CLEAN, SIGNS = "clean", "random signs"
SHARES = tuple(f"{share:.0%} protected" for share in COVERAGE)
MEASURES = {
    "picture finds text": "pictures find their text less often",
    "text finds picture": "texts find their picture less often",
}
COMPARED = (
    *((f"{share}, beside clean pairs", share, CLEAN) for share in SHARES),
    (f"{SHARES[-1]}, beside random signs", SHARES[-1], SIGNS),
    ("random signs, beside clean pairs", SIGNS, CLEAN),
)


@dataclass(frozen=True)
class Material:
    """Pairs of one kind, and how long owner and stranger learn from them."""

    side: int  # px
    encoder: str
    owner: float  # passes of the owner's dual encoder
    writer: float  # of the patterns
    stranger: float
    blocks: int  # doublings of the patterns


@dataclass(frozen=True)
class Plan:
    """Both kinds of pairs."""

    materials: Mapping[str, Material] = field(
        default_factory=lambda: {
            PHOTOS: Material(32, "resnet8/16", 30, 30, 40, 4),
            MADE: Material(16, captioned.ENCODER, 25, 25, 15, 3),
        }
    )
    eps: float = 8.0
    pairs: int = 600  # at most, of which one in five is asked
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("coverage", asdict(plan))
    entries = []
    for name, material in plan.materials.items():
        rows = kept.seeds(plan.seeds, partial(one_seed, data, name, material, plan), name)
        entries += by_measure(
            {row: negative(found) for row, found in rows.items()}, COMPARED, MEASURES,
            f"{name}: {{claim}}: {{words}}",
            data={"name": name, "images": plan.pairs},
            budget=kept.budget(minutes, epochs=material.stranger), settings=asdict(plan),
        )  # fmt: skip
    return entries


def negative(found: list[dict[str, float]]) -> list[dict[str, float]]:
    """Less is better protection."""
    return [{name: -value for name, value in one.items()} for one in found]


def one_seed(
    data: Path, name: str, material: Material, plan: Plan, seed: int
) -> dict[str, dict[str, float]]:
    """What the stranger reaches, by row and measure."""
    with tempfile.TemporaryDirectory() as folder:
        if name == PHOTOS:
            pairs = photos_at(data, material.side, Path(folder) / "pairs")
        else:
            pairs, _ = captioned.pictures(seed)
        pairs = pairs.sample(min(plan.pairs, len(pairs)), seed=seed)
        made = pair_protector(writer(pairs, material, seed, plan, Path(folder)), pairs)
        found = verified_pairs(pairs, made, epochs=material.stranger, seed=seed)
    chance = dict.fromkeys(MEASURES, found["chance"])
    rows = {row["learnt from"]: {one: row[one] for one in MEASURES} for row in found["rows"]}
    return rows | {"chance": chance}


def photos_at(data: Path, side: int, folder: Path) -> Any:
    """The photos of flickr8k_sample, so many pixels a side, with their captions."""
    photos = retrieval.photographs(data)
    fit_to, texts = Preprocessing(side, side).fit, {}
    for row, pixels in photos.map(fit_to):
        name = f"{row:05d}.png"
        save_picture(folder / name, np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
        texts[name] = captions(photos)[row]
    images = opened(folder)
    keyed = {one: texts[Path(one).name] for one in images.column("id")}
    return with_captions(images, keyed)


def writer(pairs: Any, material: Material, seed: int, plan: Plan, folder: Path) -> Any:
    """What makes patterns of texts, learnt against the owner's dual encoder."""
    own = folder / "owner"
    fallow.align(
        pairs, method="clip", encoder=material.encoder, epochs=material.owner, seed=seed, out=own,
        settings={"size": material.side, "batch": 86, "learning_rate": 4e-3, "precision": "32"},
    )  # fmt: skip
    settings = make_settings(
        T2UE.Settings,
        {"start": str(own), "size": material.side, "eps": plan.eps, "blocks": material.blocks,
         "batch": 64, "epochs": material.writer, "learning_rate": 8e-3, "precision": "32"},
    )  # fmt: skip
    learnt: Any = fit(
        T2UE, pairs, encoder=dual_encoder(str(own)).image, settings=settings, seed=seed
    ).method
    return learnt.writer(seed)
