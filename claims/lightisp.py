"""LightISP: does learning from unrelated photos give a camera their look, and by which parts?

Photos are un-processed to the mosaics of a made-up sensor, and a fixed look - warmer, with more
contrast - is laid over other photos, which are the only ones shown. On photos nobody learnt from
the same look is known exactly: PSNR, SSIM and the mean difference of colours (CIEDE2000). Beside it
the plain rendering that content is compared with, and the same network taught by pairs, the bound.
The frozen features behind critics and content are those of a small network of chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, by_measure
from fallow.measure.fidelity import psnr, ssim
from fallow.methods.develop.lightisp import PATTERN, LightISP, Options, anchor
from fallow.methods.shared.camera import train
from fallow.raw.sensor import Raw
from fallow.raw.unprocess import plain_sensor, unprocessed

WARMER = np.array([[1.05, 0.05, -0.02], [0.02, 0.95, 0.02], [0.0, 0.05, 0.78]])
ROWS: Mapping[str, dict[str, Any]] = {
    "all parts": {},
    "from random weights": {"begin": 0},
    "summed losses": {"pull": "plain"},
    "no colour critic": {"colour": 0.0},
    "no critics": {"texture": 0.0, "colour": 0.0},
}
COMPARED = (
    ("critics give more of the look than content alone", "all parts", "no critics"),
    ("the critic of colours helps", "all parts", "no colour critic"),
    ("losses of equal pull serve better than their sum", "all parts", "summed losses"),
    ("beginning as a plain rendering helps", "all parts", "from random weights"),
    ("learning beats the plain rendering", "all parts", "plain rendering"),
    ("learning by summed losses beats the plain rendering", "summed losses", "plain rendering"),
    ("pairs teach more than unrelated photos", "pairs", "all parts"),
)
MEASURES = {"psnr": "by PSNR", "ssim": "by structure", "colour": "by colour"}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    frames: int = 28
    asked: int = 10
    begin: int = 200
    steps: int = 400  # these among them
    batch: int = 4
    side: int = 64
    features: str = "resnet8/16"
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("lightisp", asdict(plan) | {"rows": ROWS})
    photos = fallow.open(archive(data, "natural_photos")).where("\"set\" = 'bsds'")
    values: dict[str, list[dict[str, float]]] = {}
    for seed in range(plan.seeds):
        scenes = Scenes.drawn(photos, seed, plan)
        for name in (*ROWS, "pairs", "plain rendering"):
            made = kept(f"{name} {seed}", partial(one_row, name, scenes, seed, plan))
            values.setdefault(name, []).append(made)
    return by_measure(
        values, COMPARED, MEASURES, "{claim}, {words}",
        data={"name": "natural_photos", "images": len(photos)},
        budget=kept.budget(minutes, steps=plan.steps),
        settings=asdict(plan) | {"rows": ROWS},
    )  # fmt: skip


@dataclass(frozen=True)
class Scenes:
    """Frames to learn from, photos of other scenes in the look, and scenes that are asked."""

    raws: list[Raw]
    wanted: list[np.ndarray]
    shown: list[np.ndarray]
    test: list[tuple[Raw, np.ndarray]]

    @classmethod
    def drawn(cls, photos: Any, seed: int, plan: Plan) -> Scenes:
        order = np.random.default_rng([seed, 73]).permutation(len(photos))
        mine, asked, others = (
            [photos[int(row)] for row in rows]
            for rows in np.split(order, [plan.frames, plan.frames + plan.asked])
        )
        raws, test = ([unprocessed(one, plain_sensor()) for one in some] for some in (mine, asked))
        return cls(
            raws, [look(one) for one in mine], [look(one) for one in others],
            list(zip(test, [look(one) for one in asked], strict=True)),
        )  # fmt: skip


def one_row(name: str, scenes: Scenes, seed: int, plan: Plan) -> dict[str, float]:
    """How near scenes nobody learnt from come to the look."""
    trainee = LightISP(scenes.raws, scenes.shown, options(ROWS.get(name, {}), plan), seed=seed)
    if name == "plain rendering":
        made = [rendered(raw, trainee.gains) for raw, _ in scenes.test]
        return judged(made, scenes.test)
    if name == "pairs":
        taught(trainee, scenes.wanted, plan)
    else:
        train(trainee, steps=plan.steps)
    isp = trainee.isp()
    return judged([isp.developed(raw) for raw, _ in scenes.test], scenes.test)


def look(pixels: np.ndarray) -> np.ndarray:
    """The look that is to be learnt: warmer, and steeper in the middle."""
    warm = (pixels / 255.0 @ WARMER.T).clip(0, 1)
    return np.rint((0.5 * warm + 0.5 * warm * warm * (3 - 2 * warm)) * 255).astype(np.uint8)


def options(told: Mapping[str, Any], plan: Plan) -> Options:
    shared = {"features": plan.features, "batch": plan.batch, "side": plan.side,
              "colour_side": plan.side, "hidden": 64, "begin": plan.begin,
              "pull": "equal"}  # fmt: skip
    return Options(**{**shared, **told})


def taught(trainee: LightISP, wanted: list[np.ndarray], plan: Plan) -> None:
    """The same network and steps, told for each crop what it should be."""
    trainee.anchors = [torch.from_numpy(one.astype(np.float16) / 255) for one in wanted]
    for _ in range(plan.steps):
        x, truth, _ = trainee.crops()
        loss = (trainee.network(x) - truth).abs().mean()
        trainee.beginner.zero_grad()
        loss.backward()
        trainee.beginner.step()


def rendered(raw: Raw, gains: Any) -> np.ndarray:
    return np.rint(anchor(raw.light(), PATTERN, gains, 0.999) * 255).astype(np.uint8)


def judged(made: list[np.ndarray], test: list[tuple[Raw, np.ndarray]]) -> dict[str, float]:
    """Means over photos; colours as how little they differ."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    near, formed, colours = [], [], []
    for one, (_, truth) in zip(made, test, strict=True):
        height, width = (min(a, b) for a, b in zip(one.shape[:2], truth.shape[:2], strict=True))
        one, truth = one[:height, :width], truth[:height, :width]
        near.append(psnr(truth, one))
        formed.append(ssim(truth, one))
        colours.append(deltaE_ciede2000(rgb2lab(truth[::2, ::2]), rgb2lab(one[::2, ::2])).mean())
    means = [float(np.mean(values)) for values in (near, formed, colours)]
    return {"psnr": means[0], "ssim": means[1], "colour": -means[2]}
