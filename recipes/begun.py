"""python -m recipes.begun --data DIR: how `segment` and `learn` go on from encoders that know.

Only teaching pictures are looked at. For masks, a third of a set's groups (films, slices) is held
back and asked: mean Dice after five masks and some steps. For `learn`, all of a set's teaching
pictures are shown without labels; then one half's labels teach and the other half is asked, by k-NN
and a least-squares probe, as lite was, whitened, and after every way. What a run found is kept, so
that a series that is cut off goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive
from benchmarks.record import commit, machine, write_json
from claims.kept import Kept
from claims.masks import MASKS, SETS, few_masks, groups_of, known_masks, mean_dice, segmented

import fallow
from fallow.encoders.parts import train_last
from fallow.encoders.whitening import half_whitening
from fallow.measure import knn_accuracy, ridge_probe
from fallow.methods import find
from fallow.train import fit, make_settings

DRAWS = 2
ASKED = 24  # pictures of a set, at most
MASKED = ("polyp", "camvid", "white_blood_cells")
LEARNT = ("clothing_cc0", "aerial_ucmerced", "grocery")
# what the verb did before; what a row says after its name differs from what the verb does
PUBLISHED: dict[str, Any] = {"pretrain": 0.25, "teacher_memory": 0.0}
TURNED = PUBLISHED | {"turns": 0.5}
SGD = TURNED | {"optimiser": "sgd", "learning_rate": 0.64}
# encoder and settings of segment; of either encoder the first is what the verb does
SEGMENTING: dict[str, tuple[str, dict[str, Any]]] = {
    "lite": ("lite", {}),
    "lite, teacher as published": ("lite", PUBLISHED),
    "lite, such a teacher, all turned": ("lite", TURNED),
    "lite, such a teacher, all turned, SGD": ("lite", SGD),
    "lite, such a teacher, all turned, SGD, a third of the rate for lite": (
        "lite", SGD | {"known_rate": 0.3},
    ),
    "lite, such a teacher, all turned, SGD, lite as it was": ("lite", SGD | {"known_rate": 0.0}),
    "lite, such a teacher, all turned, SGD, views of 128 px": ("lite", SGD | {"size": 128}),
    "lite, such a teacher, all turned, SGD, views of 224 px": ("lite", SGD | {"size": 224}),
    "tiny": ("tiny", {}),
    "tiny, teacher as published": ("tiny", PUBLISHED),
    "tiny, such a teacher, all turned": ("tiny", TURNED),
    "tiny, such a teacher, all turned, SGD": ("tiny", SGD),
}  # fmt: skip
STEPS = 160
# method, rate, and how many of the last stages learn; the first is what the verb does
LEARNING: dict[str, tuple[str, float, int]] = {
    "moco, 0.1, last 2": ("moco", 0.1, 2),
    "moco, 1, last 2": ("moco", 1.0, 2),
    "moco, 0.1, last 4": ("moco", 0.1, 4),
    "simclr, 0.1, last 2": ("simclr", 0.1, 2),
}
VIEWS, BATCH, PASSES = 112, 64, 10
MOST = 600  # pictures of a set that is learnt
OUT = Path(__file__).parent / "results" / "begun.json"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.begun", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of archives")
    data = parser.parse_args(words).data
    about = {"steps": STEPS, "passes": PASSES, "views": VIEWS, "batch": BATCH, "most": MOST}
    kept = Kept("recipes-begun", about)
    segmented: dict[str, dict[str, float]] = {}
    learnt: dict[str, dict[str, dict[str, float]]] = {}
    for way, asked in SEGMENTING.items():
        for name in MASKED:
            scores = [
                kept(f"{way} {name} {draw}", lambda: segment(data, name, draw, *asked))  # noqa: B023
                for draw in range(DRAWS)
            ]
            segmented.setdefault(way, {})[name] = mean(scores)
    for way in ("before", *LEARNING):
        for name in LEARNT:
            found = [
                kept(f"{way} {name} {draw}", lambda: learn(data, name, draw, way))  # noqa: B023
                for draw in range(DRAWS)
            ]
            learnt.setdefault(way, {})[name] = {
                key: mean(one[key] for one in found) for key in found[0]
            }
    said = {"machine": machine(), "commit": commit(), "draws": DRAWS, **about}
    write_json(OUT, said | {"segment": segmented, "learn": learnt})
    for way, sets in segmented.items():
        print(f"{way}: {mean(sets.values()):.3f}", {k: round(v, 3) for k, v in sets.items()})
    for way, rows in learnt.items():
        print(way, {key: round(mean(one[key] for one in rows.values()), 3)
                    for key in next(iter(rows.values()))})  # fmt: skip


def segment(data: Path, name: str, draw: int, encoder: str, settings: Mapping[str, Any]) -> float:
    """Mean Dice on teaching pictures of groups that the run has not seen."""
    about = SETS[name]
    _, masks, known = known_masks(data, name)
    train = known.labelled.where("split = 'train'")
    groups = groups_of(train, about.group)
    names = np.random.default_rng(100 + draw).permutation(np.unique(groups))
    ask = np.isin(groups, names[: max(1, len(names) // 3)])
    seen, held = train.select(~ask), train.select(ask)
    result = segmented(
        seen, few_masks(seen, masks, groups[~ask], draw), name,
        epochs=STEPS / max(1, (len(seen) - MASKS) // 8), encoder=encoder, seed=draw,
        settings={"precision": "32", **settings},
    )  # fmt: skip
    return mean_dice(result.method, held.sample(min(ASKED, len(held)), seed=0), about.background)


def learn(data: Path, name: str, draw: int, way: str) -> dict[str, float]:
    """k-NN and probe on one half of the teaching pictures, whitened or not."""
    images = fallow.open(archive(data, name)).labelled.where("split = 'train'").sample(MOST, seed=0)
    codes, _ = images.labels
    encoder = fallow.encoder("lite")
    if way != "before":
        method, rate, last = LEARNING[way]
        encoder.network.hold()
        train_last(encoder, last)
        kind = find("learn", method)
        settings = make_settings(kind.Settings, {
            "epochs": PASSES, "size": VIEWS, "batch": min(BATCH, len(images)), "precision": "32",
            "learning_rate": rate,
        })  # fmt: skip
        encoder = fit(kind, images, encoder=encoder, settings=settings, seed=draw).encoder
    vectors = encoder.embed(images)
    sides = {"": vectors, ", whitened": half_whitening(vectors)(torch.from_numpy(vectors)).numpy()}
    teach = half(codes, draw)
    found = {}
    for said, rows in sides.items():
        arrays = rows[teach], codes[teach], rows[~teach], codes[~teach]
        found[f"k-NN{said}"] = knn_accuracy(*arrays, k=5).top1
        found[f"probe{said}"] = ridge_probe(*arrays).top1
    return found


def half(codes: np.ndarray, seed: int) -> np.ndarray:
    """The half of every class that teaches.

    >>> half(np.array([0, 0, 1, 1, 1]), seed=0).sum()
    np.int64(3)
    """
    draw = np.random.default_rng(seed)
    teach = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        members = draw.permutation(np.flatnonzero(codes == code))
        teach[members[: (len(members) + 1) // 2]] = True
    return teach


if __name__ == "__main__":
    main()
