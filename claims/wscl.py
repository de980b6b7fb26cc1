"""WSCL: do streams that teach each other find where photos were changed, from labels that say if?

Photos are spliced, copied within and resampled by the machine, and stored like the others; the
network learns from those of some photos and is asked about those of others, and about CASIA's,
which it never learns from. Rows: classification alone, what the streams agree on as well, and pairs
of places as well; and the upper half of the values by a threshold, or their maximum. AUROC of
pictures, and average precision of pixels in tampered pictures.
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
from claims.record import Entry, by_measure
from fallow.methods.spot.wscl import AUTHENTIC, TAMPERED, WSCL, Judgement, judged, made
from fallow.train import fit, make_settings

ROWS: Mapping[str, dict[str, Any]] = {
    "labels alone": {"multi_source": 0.0, "inter_patch": 0.0},
    "streams agree": {"inter_patch": 0.0},
    "streams and pairs": {},
    "streams and pairs, maximum": {"portion": 0.01, "split": "global"},
}
COMPARED = (
    ("what streams agree on helps", "streams agree", "labels alone"),
    ("pairs of places help beside it", "streams and pairs", "streams agree"),
    ("the upper values serve better than the maximum",
     "streams and pairs", "streams and pairs, maximum"),
)  # fmt: skip
MEASURES = {
    "pictures": "pictures, AUROC",
    "pixels": "pixels, AP",
    "casia": "CASIA's pictures, AUROC",
}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    encoder: str = "resnet8/16"
    photos: int = 54  # that teach; the other natural photos are asked
    made: int = 400
    asked: int = 80
    size: int = 96
    grid: int = 12  # places a side that pairs are made of: 24 cost ten times as much
    batch: int = 32
    epochs: float = 36
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("wscl", asdict(plan) | {"rows": ROWS})
    photos = fallow.open(archive(data, "natural_photos")).where("\"set\" = 'bsds'")
    casia = fallow.open(archive(data, "tampering_casia1"))
    values: dict[str, list[dict[str, float]]] = {
        name: [
            kept(f"{name} {seed}", partial(learnt, photos, casia, told, seed, plan))
            for seed in range(plan.seeds)
        ]
        for name, told in ROWS.items()
    }
    return by_measure(
        values, COMPARED, MEASURES, settings=asdict(plan),
        data={"name": "natural_photos", "images": len(photos)},
        budget=kept.budget(minutes, epochs=plan.epochs),
    )  # fmt: skip


def learnt(
    photos: Any, casia: Any, told: Mapping[str, Any], seed: int, plan: Plan
) -> dict[str, float]:
    """One training on made pictures, asked about those of other photos, and about CASIA's."""
    import fallow
    from fallow.measure import image_measures

    order = np.random.default_rng([seed, 109]).permutation(len(photos))
    mine, other = np.split(order, [plan.photos])
    teach, _ = tampered(photos.select(np.sort(mine)), plan.made, seed)
    ask, masks = tampered(photos.select(np.sort(other)), plan.asked, seed + 1000)
    shared = {name: getattr(plan, name) for name in ("size", "grid", "batch", "epochs")}
    method: Any = fit(
        WSCL, teach, encoder=fallow.encoder(plan.encoder, seed=seed, size=plan.size),
        settings=make_settings(WSCL.Settings, shared | dict(told)), seed=seed,
    ).method  # fmt: skip
    scores, maps = answers(method, ask)
    truth = (ask.column("label") == TAMPERED).astype(int)
    theirs, _ = answers(method, casia)
    known = casia.column("tampered").astype(int)
    return {
        "pictures": float(image_measures(truth, scores)["auroc"]),
        "pixels": precision([maps[row] for row in np.flatnonzero(truth)],
                            [masks[row] for row in np.flatnonzero(truth)]),
        "casia": float(image_measures(known, theirs)["auroc"]),
    }  # fmt: skip


def tampered(images: Any, count: int, seed: int) -> tuple[Any, list[np.ndarray]]:
    """Half of the pictures changed by the machine; labels, and where."""
    import fallow

    pixels, labels, masks = zip(*made(images, count, seed), strict=True)
    assert set(labels) == {TAMPERED, AUTHENTIC}
    return fallow.images.open(list(pixels), labels={"label": list(labels)}), list(masks)


def answers(method: Any, images: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """The score and the map of every picture."""
    found = [one for _, one in judged(method, images) if isinstance(one, Judgement)]
    return np.array([one.score for one in found]), [one.map for one in found]


def precision(maps: list[np.ndarray], masks: list[np.ndarray], every: int = 4) -> float:
    """Average precision of pixels, mean over tampered pictures."""
    from sklearn.metrics import average_precision_score

    pairs = [(mask[::every, ::every], values[::every, ::every])
             for values, mask in zip(maps, masks, strict=True)]  # fmt: skip
    return float(np.mean([average_precision_score(m.ravel(), v.ravel())
                          for m, v in pairs if m.any()]))  # fmt: skip
