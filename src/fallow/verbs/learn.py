"""Train an encoder on unlabelled images, and say how much it learnt."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.methods import find
from fallow.problems import Problem, SettingProblem, did_you_mean
from fallow.result import Result
from fallow.train import Run, Settings, fit, launch, make_settings

if TYPE_CHECKING:
    from fallow.images import Images

MINUTES = 10.0  # the budget when none is given
# forward and backward of both 32-px views through a ResNet-18 of width 64, images/s on two cores
CPU_SPEED = 150.0
GPU_SPEED = 8000.0


@dataclass(frozen=True)
class Plan:
    """What `learn` chose for a folder, each with a reason."""

    size: int
    encoder: str
    batch: int
    reasons: tuple[str, ...]


def choose(images: Images, minutes: float | None, gpu: bool = False) -> Plan:
    """View size, encoder and batch for a collection and a budget.

    >>> from fallow.images.samples import shapes
    >>> plan = choose(shapes(300, seed=0, side=32), minutes=2)
    >>> plan.size, plan.batch
    (32, 128)
    """
    side = int(np.median(np.minimum(images.column("width"), images.column("height"))))
    sizes = (32, 64, 128, 224) if gpu else (32, 64)
    size = max([s for s in sizes if s <= side] or [32])
    count = len(images)
    batch = 256 if count >= 2048 else 128 if count >= 256 else max(2, count // 2)
    seconds = 60 * (minutes or MINUTES)
    width, passes = 64, 0.0
    for width in (64, 32, 16):
        speed = (GPU_SPEED if gpu else CPU_SPEED) * (64 / width) ** 1.6 * (32 / size) ** 2
        passes = speed * seconds / count
        if passes >= 40:  # contrastive learning needs dozens of passes before it pays
            break
    stem = "small" if size <= 64 else "imagenet"
    reasons = (
        f"views of {size} px: the images are {side} px on their short side"
        + ("" if gpu or side <= 64 else ", and larger views are too slow without a GPU"),
        f"ResNet-18 of width {width}, {stem} stem: about {passes:.0f} passes fit the budget",
        f"batches of {batch}: there are {count} images",
    )
    return Plan(size, f"resnet18/{width}", batch, reasons)


def learn(
    source: Any,
    *,
    method: str = "simclr",
    encoder: str | None = None,
    labels: Any = None,
    minutes: float | None = None,
    epochs: float | None = None,
    out: str | Path | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = False,
) -> Learnt:
    """Train `method` on the images of `source` for some minutes or epochs.

    With labels the result says how well nearest neighbours predict them, beside the untrained
    encoder; without, its report shows clusters and neighbours. A run whose `out` folder holds a
    checkpoint goes on from there.

    >>> from fallow.images.samples import shapes
    >>> run = learn(shapes(32, seed=0, side=24), epochs=1, encoder="resnet8/8")
    >>> run.run.steps
    2
    """
    import torch

    import fallow
    from fallow.images import Images
    from fallow.images import open as open_images

    images = source if isinstance(source, Images) else open_images(source, labels=labels)
    kind = find("learn", method)
    given = dict(settings or {})
    if preset is not None:
        if preset not in kind.presets:
            hint = did_you_mean(preset, kind.presets)
            raise SettingProblem(f"{method} has no preset {preset!r}: {hint}")
        given = kind.presets[preset] | given
    if epochs is not None or minutes is not None:
        given = {k: v for k, v in given.items() if k not in ("epochs", "minutes")}
        given |= {"epochs": epochs, "minutes": minutes}
    elif "epochs" not in given and "minutes" not in given:
        given["minutes"] = MINUTES
    make_settings(kind.Settings, given)  # a mistake must show before any image is read
    plan = choose(images, given.get("minutes"), torch.cuda.is_available())
    chosen = make_settings(kind.Settings, {"size": plan.size, "batch": plan.batch} | given)
    name = encoder or plan.encoder
    fabric = launch()
    first = fabric.global_rank == 0
    reasons = list(plan.reasons)
    if encoder is not None:
        reasons[1] = f"encoder {encoder}: as asked"
    if "size" in given:
        reasons[0] = f"views of {chosen.size} px: as asked"
    if "batch" in given:
        reasons[2] = f"batches of {chosen.batch}: as asked"
    for line in reasons if first else ():
        tell(line)
    build = {"size": chosen.size} if "/" in name or name.startswith("resnet") else {}
    untrained = fallow.encoder(name, seed=seed, **build)
    run = fit(
        kind,
        images,
        encoder=fallow.encoder(name, seed=seed, **build),
        settings=chosen,
        out=out,
        seed=seed,
        fabric=fabric,
        tell=tell,
        progress_bar=progress_bar,
    )
    scores = _scores(run, images, untrained, seed) if first and "label" in images.columns else []
    result = Learnt(run, images, method, reasons, scores)
    if first and run.folder is not None:
        result.save(run.folder)
    return result
