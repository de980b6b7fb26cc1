"""Rawformer: do unpaired frames of two cameras teach a translation, beside matching statistics?

Photos are un-processed to two made-up sensors whose filters answer differently, so that the truth
is known place by place. One camera is known by some scenes, the other by other scenes. Frames of
scenes nobody learnt from are translated, and compared with what the other sensor would have
recorded, in decibels: by the trained translator, by no translation, by matching the means of the
planes, their means and spreads, or all covariances (the linear optimal transport), and by the best
linear map that pairs allow, which is the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, by_row
from fallow.measure.fidelity import psnr
from fallow.methods.develop.rawformer import Options, Rawformer
from fallow.methods.shared.camera import train
from fallow.methods.shared.pipeline import ORDER, PATTERN
from fallow.raw.mosaic import planes
from fallow.raw.sensor import Raw, Sensor
from fallow.raw.unprocess import plain_sensor, unprocessed

MIXED = np.array([[0.80, 0.18, 0.02], [0.12, 0.70, 0.18], [0.02, 0.22, 0.76]])
Map = Callable[[np.ndarray], np.ndarray]  # planes 4 h w of one camera to those of the other
OTHERS = ("no translation", "means", "means and spreads", "covariances")


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    scenes: int = 28  # of each camera
    asked: int = 10
    pretrain: int = 150
    steps: int = 400
    side: int = 64
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("rawformer", asdict(plan))
    photos = fallow.open(archive(data, "natural_photos")).where("\"set\" = 'bsds'")
    values = kept.seeds(plan.seeds, lambda seed: one_seed(photos, seed, plan))
    compared = [
        *((f"the translator comes nearer to the other camera than {other}", "translator", other)
          for other in OTHERS),
        ("pairs allow more than the translator does", "best linear map", "translator"),
    ]  # fmt: skip
    return by_row(
        values, compared, data={"name": "natural_photos", "images": len(photos)},
        budget=kept.budget(minutes, steps=plan.steps), settings=asdict(plan),
        observed={"dB": values},
    )  # fmt: skip


def other_sensor() -> Sensor:
    """A camera with less overlap between its filters, and more blue."""
    own = plain_sensor()
    neutral = np.array([0.62, 1.0, 0.78])
    from fallow.raw.colour import XYZ_TO_RGB

    matrix = neutral[:, None] * MIXED @ XYZ_TO_RGB
    return replace(own, neutral=neutral, matrices={21: matrix}, camera="another sensor")


def seen(raw: Raw) -> np.ndarray:
    """A frame as four planes of light.  4 h w"""
    return planes(raw.light(0, 1), PATTERN, ORDER)


def one_seed(photos: Any, seed: int, plan: Plan) -> dict[str, float]:
    """Decibels of every translation, mean over scenes nobody learnt from."""
    order = np.random.default_rng([seed, 127]).permutation(len(photos))
    mine, theirs, asked = np.split(order[: 2 * plan.scenes + plan.asked],
                                   [plan.scenes, 2 * plan.scenes])  # fmt: skip
    one, two = plain_sensor(), other_sensor()
    ours = [unprocessed(photos[int(row)], one) for row in mine]
    others = [unprocessed(photos[int(row)], two) for row in theirs]
    test = [(unprocessed(photos[int(row)], one), unprocessed(photos[int(row)], two))
            for row in asked]  # fmt: skip
    maps = ways(ours, others, plan, seed)
    pairs = [np.concatenate([seen(raw).reshape(4, -1)[:, ::7] for raw in side], 1)
             for side in zip(*test, strict=True)]  # fmt: skip
    maps["best linear map"] = linear(*pairs)
    return {name: judged([(way(seen(x)), seen(y)) for x, y in test]) for name, way in maps.items()}


def ways(ours: Sequence[Raw], others: Sequence[Raw], plan: Plan, seed: int) -> dict[str, Map]:
    """From one camera to the other, learnt from unpaired frames of both."""
    options = Options(side=plan.side, pretrain=plan.pretrain, steps=plan.steps)
    trainee = Rawformer(ours, others, options, seed=seed)
    train(trainee, steps=plan.pretrain + plan.steps)
    there = trainee.translation(0)
    a, b = (np.concatenate([seen(raw).reshape(4, -1)[:, ::7] for raw in pile], 1)
            for pile in (ours, others))  # fmt: skip
    return {
        "no translation": lambda x: x,
        "means": scaled(a, b, spreads=False),
        "means and spreads": scaled(a, b, spreads=True),
        "covariances": transported(a, b),
        "translator": lambda x: there.light(torch.from_numpy(x)).numpy(),
    }


def judged(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([psnr(truth, made.clip(0, 1), largest=1.0) for made, truth in pairs]))


def scaled(a: np.ndarray, b: np.ndarray, *, spreads: bool) -> Map:
    """Planes brought to the other camera's means, and spreads."""
    means = [x.mean(1)[:, None, None] for x in (a, b)]
    if not spreads:
        return lambda x: x * (means[1] / means[0])
    ratio = (b.std(1) / a.std(1))[:, None, None]
    return lambda x: (x - means[0]) * ratio + means[1]


def transported(a: np.ndarray, b: np.ndarray) -> Map:
    """The linear map that takes one camera's means and covariances to the other's."""
    from scipy.linalg import sqrtm

    one, two = (np.cov(x) + 1e-8 * np.eye(4) for x in (a, b))
    root = np.real(sqrtm(one))
    inverse = np.linalg.inv(root)
    matrix = inverse @ np.real(sqrtm(root @ two @ root)) @ inverse
    shift = b.mean(1) - matrix @ a.mean(1)
    return lambda x: np.einsum("ij,jhw->ihw", matrix, x) + shift[:, None, None]


def linear(a: np.ndarray, b: np.ndarray) -> Map:
    """The best linear map by pairs."""
    matrix = np.linalg.lstsq(a.T, b.T, rcond=None)[0].T
    return lambda x: np.einsum("ij,jhw->ihw", matrix, x)
