"""Day2night: are made nights like real ones, and do they teach more than darkening by gamma?

*Histograms*: nights made from day photos are brought to the darkness of some real night photos, and
compared with others of them by brightness, beside gamma darkening of the same mean brightness.
*Told apart*: how often a probe on an encoder that saw neither tells made nights from real ones;
less is better. *Taught*: a probe on patches learns the classes of road scenes by day, and with dusk
made of them; it is asked about real dusk, beside gamma darkening, the day alone, and real dusk,
which is of the same drive as what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive
from PIL import Image

from claims.kept import Kept
from claims.record import Entry, by_row, entry
from fallow.measure.darkness import apart, brightness, histogram
from fallow.methods.develop.day2night import PRESETS, Settings, night_of_photo
from fallow.methods.shared.nights import matched
from fallow.train import make_settings

Picture = np.ndarray
CLASSES = 11
SIDES = ("made nights", "gamma")


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    encoder: str = "tiny"
    side: int = 256  # long side of the photos whose histograms are compared
    days: int = 30
    frames: int = 40  # of the road scenes by day
    patches: int = 2000  # that a probe learns from
    size: int = 192  # of the frames as the encoder sees them
    seeds: int = 4


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return [*like_nights(data, minutes, plan), *taught(data, minutes, plan)]


def by_gamma(pixels: Picture, mean: float) -> Picture:
    """The power that brings a picture to a mean brightness.

    >>> round(float(brightness(by_gamma(np.full((4, 4, 3), 128, np.uint8), 0.2)).mean()), 2)
    0.2
    """
    some, low, high = pixels[::2, ::2] / 255.0, 0.1, 12.0
    for _ in range(20):
        middle = (low + high) / 2
        shown = brightness(some**middle * 255).mean()
        low, high = (middle, high) if shown > mean else (low, middle)
    return np.rint((pixels / 255.0) ** low * 255).astype(np.uint8)


# --- like nights ---


def like_nights(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    kept = Kept("day2night", asdict(plan))
    nights = fallow.open(archive(data, "night_lowlight")).where(
        "\"set\" = 'llvip' and modality = 'visible'"
    )
    real = [shrunk(pixels, plan.side) for _, pixels in nights.map(np.asarray)]
    scenes = fallow.open(archive(data, "camvid")).where("time = 'day'")
    found = [kept(f"nights {seed}", partial(one_night, real, scenes, seed, plan))
             for seed in range(plan.seeds)]  # fmt: skip
    near = {side: [one["near"][side] for one in found] for side in SIDES}
    hidden = {side: [one["hidden"][side] for one in found] for side in SIDES}
    chosen = [one["settings"] for one in found]
    about = {
        "data": {"name": "night_lowlight", "images": len(real), "by day": "camvid"},
        "budget": kept.budget(minutes),
        "settings": asdict(plan),
        "observed": {"distance": near, "told apart": hidden, "settings": chosen},
    }
    return [
        entry(claim, *SIDES, seeds=list(zip(*map(table.get, SIDES), strict=True)), **about)
        for claim, table in (
            ("the brightness of made nights is nearer to that of real nights than by gamma", near),
            ("made nights are told from real ones less often than darkened days", hidden),
        )
    ]  # fmt: skip


def one_night(real: Sequence[Picture], scenes: Any, seed: int, plan: Plan) -> dict[str, Any]:
    """How near made nights come to real ones, by brightness and to a probe; less apart is more."""
    import fallow

    draw = np.random.default_rng([seed, 59])
    order = draw.permutation(len(real))
    known, other = ([real[row] for row in part] for part in np.array_split(order, 2))
    drawn = scenes.sample(plan.days, seed=seed)
    days = [shrunk(pixels, plan.side) for _, pixels in drawn.map(np.asarray)]
    settings, _ = matched(days[:6], known, seed=seed, steps=4)
    mean = float(np.mean([brightness(one).mean() for one in known]))
    made = {
        "made nights": [night_of_photo(one, settings, 100 * seed + number).noisy
                        for number, one in enumerate(days)],
        "gamma": [by_gamma(one, mean) for one in days],
    }  # fmt: skip
    encoder = fallow.encoder(plan.encoder)
    return {
        "near": {name: -apart(histogram(some), histogram(other)) for name, some in made.items()},
        "hidden": {name: -told_apart(encoder, some, real, seed) for name, some in made.items()},
        "settings": {"dim": settings.dim, "ambient": settings.ambient},
    }


def shrunk(pixels: Picture, side: int) -> Picture:
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture)


def told_apart(encoder: Any, made: Sequence[Picture], real: Sequence[Picture], seed: int) -> float:
    """Accuracy of a probe that tells made from real, learnt from half of both."""
    from fallow.measure import logistic_probe

    vectors = encoder.embed([*made, *real])
    codes = np.repeat([0, 1], [len(made), len(real)])
    half = np.random.default_rng([seed, 61]).random(len(codes)) < 0.5
    return logistic_probe(vectors[half], codes[half], vectors[~half], codes[~half], seed=seed).top1


# --- taught ---


def taught(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    kept = Kept("day2night", asdict(plan))
    scenes = fallow.open(archive(data, "camvid"))
    day, dusk = (scenes.where(f"time = '{when}'") for when in ("day", "dusk"))
    asked, other = (dusk.where(f"split = '{split}'") for split in ("test", "train"))
    values = kept.seeds(plan.seeds, lambda seed: one_dusk(day, other, asked, seed, plan), of="dusk")
    about = {
        "data": {"name": "camvid", "images": len(day) + len(dusk), "asked": len(asked)},
        "budget": kept.budget(minutes),
        "settings": asdict(plan) | {"preset": PRESETS["dusk"]},
        "observed": {"mean accuracy of a class": values},
    }
    said = "patches at dusk are told better after learning from {ours} than from {theirs}"
    compared = [("made dusk", "day alone"), ("made dusk", "gamma"), ("gamma", "day alone"),
                ("real dusk", "made dusk")]  # fmt: skip
    return by_row(values, [(said, *pair) for pair in compared], **about)


def one_dusk(day: Any, other: Any, asked: Any, seed: int, plan: Plan) -> dict[str, float]:
    """What a probe on patches makes of real dusk, after each thing it may learn from."""
    import fallow

    encoder = fallow.encoder(plan.encoder)
    draw = np.random.default_rng([seed, 67])
    some = day.sample(plan.frames, seed=seed)
    mean = float(np.mean([brightness(one).mean() for _, one in other.map(np.asarray)]))
    dim = make_settings(Settings, PRESETS["dusk"])
    truth, bright = patches(encoder, asked, plan), patches(encoder, some, plan)
    made = patches(encoder, some, plan, lambda p, k: night_of_photo(p, dim, 1000 * seed + k).noisy)
    darker = patches(encoder, some, plan, lambda p, k: by_gamma(p, mean))
    rows = {
        "day alone": [bright],
        "real dusk": [patches(encoder, other, plan)],
        "made dusk": [bright, made],
        "gamma": [bright, darker],
    }
    return {name: learnt(parts, truth, draw, plan) for name, parts in rows.items()}


def patches(
    encoder: Any, images: Any, plan: Plan, way: Callable[[Picture, int], Picture] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Features of places on a grid, and the class that lies in the middle of each."""
    from fallow.encoders.maps import look, sight

    pixels = [one if way is None else way(one, k) for k, (_, one) in
              enumerate(images.map(np.asarray))]  # fmt: skip
    how = sight(encoder, size=plan.size, side=24)
    maps = [np.concatenate([one.numpy() for one in seen.maps], -1)
            for seen in look(encoder, pixels, how)]  # fmt: skip
    features = np.concatenate(maps)  # N h w C
    height, width = features.shape[1:3]
    codes = []
    for row in range(len(images)):
        mask = images.mask(row)
        y = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
        x = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
        codes.append(mask[y][:, x])
    known = np.stack(codes) < CLASSES
    return features[known], np.stack(codes)[known]


def learnt(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], truth: tuple[np.ndarray, np.ndarray],
    draw: np.random.Generator, plan: Plan,
) -> float:  # fmt: skip
    """Mean accuracy of a class at dusk, of a ridge on as many patches however many parts."""
    from fallow.measure.groups import macro_recall
    from fallow.measure.ridge import ridge

    features, codes = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    rows = draw.choice(len(codes), min(plan.patches, len(codes)), replace=False)
    model = ridge(features[rows].astype(np.float64), np.eye(CLASSES)[codes[rows]])
    return float(macro_recall(model(truth[0]).argmax(1), truth[1]))
