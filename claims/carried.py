"""What claims about segmenters in other light share: road scenes by day, a made night, real dusk.

Frames of camvid in six classes, all at one small size. A made night is darker by a power, bluer,
noisy, and seen from a few pixels to the right; its reference is the same scene by day, as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive
from torch.nn import functional as F

from claims.kept import Kept
from claims.record import Entry, by_measure

CLASSES = {0: "sky", 1: "building", 3: "road", 4: "pavement", 5: "tree", 8: "car"}
MOVING = 5  # cars, by place in CLASSES
IGNORE = 255
SHIFT = 3


MEASURES = {"night": "made night", "dusk": "real dusk"}
BEFORE = "by day"  # the segmenter as it was

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What all rows of a claim share."""

    encoder: str = "unet/8"
    side: int = 64
    labelled: int = 50
    bare: int = 40
    asked: int = 30
    day_steps: int = 300
    epochs: float = 15
    batch: int = 4
    seeds: int = 3


def entries(
    slug: str,
    rows: Rows,
    compared: Sequence[tuple[str, str, str]],
    carry: Callable[[Any, Town, Mapping[str, Any], int], Any],
    data: Path,
    minutes: float,
    plan: Plan,
) -> list[Entry]:
    """Every claim of `compared` (words, ours, theirs) on made nights and on real dusk.

    `carry` takes the segmenter by day, the scenes, what a row sets and the seed.
    """

    def one_seed(seed: int) -> dict[str, dict[str, float]]:
        place = town(data, seed, plan.side, plan.labelled, plan.bare, plan.asked)
        model = by_day(place, plan.encoder, plan.day_steps, seed)
        models = {BEFORE: model} | {
            name: carry(model, place, more, seed) for name, more in rows.items()
        }
        return {
            name: {"night": mean_overlap(one, model.encoder, place.nights),
                   "dusk": mean_overlap(one, model.encoder, place.dusk)}
            for name, one in models.items()
        }  # fmt: skip

    settings = asdict(plan) | {"rows": rows}
    kept = Kept(slug, settings)
    return by_measure(
        kept.seeds(plan.seeds, one_seed), compared, MEASURES, settings=settings,
        data={"name": "camvid", "images": plan.labelled + plan.bare + plan.asked},
        budget=kept.budget(minutes, epochs=plan.epochs),
    )  # fmt: skip


@dataclass(frozen=True)
class Town:
    """Labelled day, bare nights with references, and what is asked: nights and dusk with truth."""

    day: Any
    pairs: Any
    nights: list[tuple[np.ndarray, np.ndarray]]
    dusk: list[tuple[np.ndarray, np.ndarray]]


def town(data: Path, seed: int, side: int, labelled: int, bare: int, asked: int) -> Town:
    """Scenes drawn by the seed; frames that teach the segmenter, are carried over and are asked."""
    import fallow
    from fallow.images.masks import with_masks, without_masks
    from fallow.images.pairs import paired

    scenes = fallow.open(archive(data, "camvid"))
    bright = scenes.where("time = 'day'")
    order = np.random.default_rng([seed, 113]).permutation(len(bright))
    known, carried, kept = np.split(order[: labelled + bare + asked], [labelled, labelled + bare])
    day, others, tests = (
        [small(bright, int(row), side) for row in rows] for rows in (known, carried, kept)
    )
    late = scenes.where("time = 'dusk' and split = 'test'")
    masked = with_masks(fallow.images.open([one for one, _ in day]),
                        {row: mask for row, (_, mask) in enumerate(day)})  # fmt: skip
    nights = fallow.images.open([dark(one, 1000 * seed + k) for k, (one, _) in enumerate(others)])
    references = without_masks(fallow.images.open([one for one, _ in others]))
    return Town(
        masked,
        paired(nights, references, np.arange(bare)),
        [(dark(one, 5000 + 1000 * seed + k), np.roll(mask, -SHIFT, 1))
         for k, (one, mask) in enumerate(tests)],
        [small(late, row, side) for row in range(len(late))],
    )  # fmt: skip


def small(images: Any, row: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame and its mask of places in CLASSES, with that short side."""
    from PIL import Image

    pixels, mask = images[row], images.mask(row)
    scale = side / min(pixels.shape[:2])
    size = tuple(round(length * scale) for length in pixels.shape[1::-1])
    codes = np.full(256, IGNORE, np.uint8)
    codes[list(CLASSES)] = np.arange(len(CLASSES))
    shrunk = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BOX)
    return np.asarray(picture), codes[np.asarray(shrunk)]


def dark(pixels: np.ndarray, seed: int) -> np.ndarray:
    """The scene by night."""
    draw = np.random.default_rng(seed)
    moved = np.roll(pixels, -SHIFT, 1) / 255.0
    light = 0.5 * moved**1.8 * np.array([0.75, 0.85, 1.15])
    noisy = light + draw.normal(0, 0.02, light.shape)
    return np.rint(noisy.clip(0, 1) * 255).astype(np.uint8)


def by_day(place: Town, encoder: str, steps: int, seed: int, batch: int = 8) -> Any:
    """A segmenter that learnt from the labelled day alone."""
    import fallow
    from fallow.encoders.segmenter import Segmenter
    from fallow.losses.segmentation import masked_cross_entropy
    from fallow.methods.shared.segment import on_stage

    torch.manual_seed(seed)
    model = Segmenter(fallow.encoder(encoder, seed=seed), len(CLASSES))
    day = place.day
    side = min(day[0].shape[:2])
    x = torch.cat([on_stage(model.encoder, day[row], side) for row in range(len(day))])
    y = torch.stack([torch.from_numpy(day.mask(row).astype(np.int64)) for row in range(len(day))])
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    draw = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,), generator=draw)
        optimiser.zero_grad()
        masked_cross_entropy(model(x[rows]), y[rows], over="valid").backward()
        optimiser.step()
    return model.eval()


def carried(method: type, model: Any, streams: Any, told: Any, seed: int) -> Any:
    """What a method makes of a copy of the segmenter."""
    from fallow.encoders.headed import encoder_of
    from fallow.train import fit, make_settings

    model = copy.deepcopy(model)
    kind: Any = method.beginning_with(model)  # type: ignore[attr-defined]
    learnt: Any = fit(kind, streams, encoder=encoder_of(model), seed=seed,
                      settings=make_settings(kind.Settings, told)).method  # fmt: skip
    return learnt.predictor().eval()


@torch.inference_mode()
def mean_overlap(model: Any, encoder: Any, asked: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean IoU over all pixels of some pictures."""
    from fallow.measure.segmentation import confusion, mean_iou
    from fallow.methods.shared.segment import on_stage

    total = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for pixels, truth in asked:
        logits = model(on_stage(encoder, pixels, min(pixels.shape[:2])))
        said = F.interpolate(logits, truth.shape, mode="bilinear", align_corners=False)
        total += confusion(said.argmax(1)[0].numpy(), truth, len(CLASSES))
    return mean_iou(total, absent="untrue")
