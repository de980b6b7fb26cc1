"""PyramidCLIP: do softened targets help where captions are wrong, and do more levels?

Digits with captions of measured ink, width and class, once as they are and once with four in ten
exchanged. Tags of a picture are what was measured in the picture itself, so they are right even
where the caption is another's. How often a picture is nearest to the sentences of its own digit.
At 128 pictures of ten digits a batch, many of a picture's "others" fit it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from claims import captioned
from claims.kept import Kept
from claims.record import Entry, entry

Row = tuple[str, dict[str, Any], bool]  # method, settings, whether pictures have tags
ACROSS = {"across_global": 0.5, "across_local": 0.0}
ROWS: Mapping[str, Row] = {
    "clip": ("clip", {}, False),
    "levels": ("pyramidclip", {"softness": 0.0}, False),
    "levels, softened": ("pyramidclip", {}, False),
    "levels and tags, softened": ("pyramidclip", ACROSS, True),
}
COMPARED = (
    ("softened targets help two levels", "levels, softened", "levels"),
    ("two levels help", "levels", "clip"),
    ("two levels with softened targets help", "levels, softened", "clip"),
    ("tags from the picture help", "levels and tags, softened", "levels, softened"),
)


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    wrong: tuple[float, ...] = (0.0, 0.4)
    epochs: int = 25
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return [one for share in plan.wrong for one in one_share(share, minutes, plan)]


def one_share(share: float, minutes: float, plan: Plan) -> list[Entry]:
    kept = Kept("pyramidclip", asdict(plan) | captioned.SMALL)
    scores: dict[str, list[float]] = {
        name: [
            kept(f"{share:g} wrong {name} {seed}", partial(accuracy, name, share, seed, plan))
            for seed in range(plan.seeds)
        ]
        for name in ROWS
    }
    words = "where four captions in ten are wrong" if share else "where all captions are right"
    return [
        entry(
            f"{claim} {words}", ours, theirs,
            data={"name": "digits", "images": captioned.TEACH, "wrong": share},
            budget=kept.budget(minutes, epochs=plan.epochs),
            seeds=list(zip(scores[ours], scores[theirs], strict=True)),
            settings=asdict(plan) | captioned.SMALL,
            observed={"accuracy": scores, "chance": 0.1},
        )
        for claim, ours, theirs in COMPARED
    ]  # fmt: skip


def accuracy(name: str, share: float, seed: int, plan: Plan) -> float:
    """How often a picture nobody learnt from is nearest to the sentences of its own digit."""
    method, settings, tags = ROWS[name]
    teach, ask = captioned.pictures(seed)
    bank, _ = captioned.exchanged(teach, share, seed)
    source = with_tags(bank) if tags else bank
    fitted = captioned.aligned(method, source, seed, {**settings, "epochs": plan.epochs})
    learnt: Any = fitted.method
    return captioned.sorted_by_words(learnt.dual(), ask)


def with_tags(images: Any) -> Any:
    """The pictures with what was measured in them as tags."""
    import pyarrow as pa

    tags = [" ".join(captioned.measured(pixels)) for _, pixels in images.map(np.asarray)]
    return images.join(pa.table({"id": images.column("id"), "tags": tags}), on="id")
