"""PairingNet: is a torn photo put together again?

A network learns from photos that the machine tears; others are torn, their pieces turned and handed
over without a word of where they were. Counted is the share of a photo's pieces that lie rightly in
the one group that has most of them right: as found, where the true maps of all touching pairs are
handed to the same assembly (the bound), and where nothing is put together, so that one piece lies
right by itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.kept import Kept
from claims.pairingnet import smaller, taught
from claims.record import Entry, entry
from fallow.images.tearing import Tear, between, whole
from fallow.methods.shared.assembling import Group, Joining, Shape, assembled, good, laid
from fallow.methods.shared.joining import Fragments, put_together, rightly_placed
from fallow.methods.shared.pieces import Look, Torn, torn_up
from fallow.regions.contours import outline

FOUND, BOUND, FLOOR = "as found", "with the true maps", "a piece by itself"


@dataclass(frozen=True)
class Plan:
    """What all photos share."""

    side: int = 320  # short side of the photos that are torn
    teach: int = 40
    asked: int = 6
    epochs: float = 80
    batch: int = 4
    blocks: int = 2
    learning_rate: float = 0.128  # at batch 256
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("assembly", asdict(plan))
    photos = fallow.open(archive(data, "natural_photos")).where("\"set\" = 'bsds'")
    values = [kept(f"seed {seed}", partial(shares, photos, seed, plan))
              for seed in range(plan.seeds)]  # fmt: skip
    return [
        entry(
            f"torn photos: {claim}", ours, theirs,
            data={"name": "natural_photos", "images": len(photos)},
            budget=kept.budget(minutes, epochs=plan.epochs),
            seeds=[(one[ours], one[theirs]) for one in values],
            settings=asdict(plan), observed={"shares of pieces": values},
        )
        for claim, ours, theirs in (
            ("pieces are put together rightly", FOUND, FLOOR),
            ("true maps put more together than those found", BOUND, FOUND),
        )
    ]  # fmt: skip


def shares(photos: Any, seed: int, plan: Plan) -> dict[str, float]:
    """Means over the photos that are asked."""
    order = np.random.default_rng([seed, 97]).permutation(len(photos))
    matcher = taught(photos.select(np.sort(order[: plan.teach])), {}, seed, plan)
    draw = np.random.default_rng([seed, 113])
    found: dict[str, list[float]] = {FOUND: [], BOUND: [], FLOOR: []}
    for row in order[plan.teach : plan.teach + plan.asked]:
        picture = whole(smaller(photos[int(row)], plan.side))
        torn = torn_up(picture, Tear.at(plan.side), Look(2), draw, turn=180, touching=12)
        count = len(torn.pieces)
        names = [str(k) for k in range(count)]
        handed = Fragments(names, torn.pieces, list(range(count)), [])
        made = put_together(matcher, handed, seed=seed)
        left = [int(name) for name in made.fragments.names]
        placed = [{left[k]: place for k, place in made.places(g).items()} for g in made.groups]
        size = max(picture.mask.shape)
        found[FOUND].append(share(placed, torn, size))
        found[BOUND].append(share([g.places for g in by_true_maps(torn)], torn, size))
        found[FLOOR].append(1 / count)
    return {name: float(np.mean(values)) for name, values in found.items()}


def share(groups: list[dict[int, np.ndarray]], torn: Torn, size: float) -> float:
    """Of a photo's pieces, those that lie rightly in the best of its groups."""
    truth = [piece.place for piece in torn.pieces]
    return max([1, *(rightly_placed(one, truth, size) for one in groups)]) / len(torn.pieces)


def by_true_maps(torn: Torn) -> list[Group]:
    """What assembly makes of the maps under which the pieces do touch."""
    shapes = [Shape.of(piece, outline(piece.mask)) for piece in torn.pieces]
    joins = [
        laid(shapes, pair.source, pair.target,
             between(torn.pieces[pair.source], torn.pieces[pair.target]))
        for pair in torn.pairs
    ]  # fmt: skip
    how = Joining()
    return assembled(shapes, sorted((one for one in joins if good(one, how)),
                                    key=lambda one: -one.score), how)  # fmt: skip
