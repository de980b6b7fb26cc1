"""UHD-IQA: how good a photo is, of any size, without a reference (Hosu et al., ECCV-W 2024).

Nothing is shrunk, as that would remove what is to be judged. Three tiers, each to be had alone:
statistics of normalised luma against a model of the user's own sharp photos (NIQE); the same
statistics fitted to ratings (BRISQUE), with plain measures beside them; and an encoder that has
learnt to tell kinds of damage apart on the user's own photos (`ARNIQA`, Agnolucci et al. 2024),
fitted to ratings, too. What decided can be shown: the least natural blocks, the lowest crops.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from fallow.encoders import Encoder
from fallow.encoders.heads import mlp
from fallow.images.stores import FileProblem
from fallow.inventory import naturalness
from fallow.inventory.naturalness import BLOCK, Blocks, Natural
from fallow.inventory.statistics import MEASURES, describe
from fallow.losses.contrastive import nt_xent
from fallow.measure.opinion import Agreement, agreement, agreement_after_fit, constant
from fallow.measure.ridge import Ridge, ridge
from fallow.problems import Problem, SettingProblem
from fallow.train import Batch, Loss, Method, Now, make_settings
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.views import Recipe
from fallow.views.damage import composed, spoilt
from fallow.views.fragments import Box, five_crops, tiles
from fallow.views.recipe import View

if TYPE_CHECKING:
    from fallow.images import Images

BUDGET = 50e9  # multiplications a photo, with all its crops: the challenge's limit
SHARPEST = 0.5  # share of the photos that the natural model is made of, if none are named


# --- the encoder ---


class ARNIQA(Method):
    """Crops of other photos spoilt alike attract, all others repel (Agnolucci et al. 2024)."""

    family = "contrastive"
    predicts = "which crop of another photo was spoilt in the same way"

    class Settings(BaseSettings):
        size: int = Field(96, ge=32, description="side of the crops, at full and at half size")
        side: int = Field(768, ge=64, description="short side photos are reduced to in training")
        batch: int = Field(64, ge=4, description="photos a step, in pairs that are spoilt alike")
        damages: int = Field(4, ge=1, le=7, description="kinds of damage at most, of seven groups")
        pristine: float = Field(0.05, ge=0, lt=1, description="share of pairs left as they are")
        temperature: float = Field(0.1, gt=0)
        hidden: int = Field(512, gt=0, description="width of the projection head")
        projection: int = Field(128, gt=0, description="dimension the loss works in")
        optimiser: Optimiser = Field("adamw", description="sgd in the paper, for longer runs")
        learning_rate: float = Field(0.02, gt=0, description="at batch 256")
        weight_decay: float = 1e-4

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "size": 224,
            "batch": 32,  # 16 pairs
            "epochs": 10,
            "hidden": 2048,
            "optimiser": "sgd",
            "learning_rate": 1e-3 * 256 / 32,
            "warmup": 0.0,
        },
    }

    def recipe(self) -> Recipe:
        whole = View(self.settings.size, zoom=(1.0, 1.0), role="full")
        half = replace(whole, zoom=(0.5, 0.5), role="half")
        return Recipe((whole, half), side=self.settings.side)

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if self.facts.side < 2 * s.size:
            raise SettingProblem(
                f"crops of {s.size} at half size need photos of {2 * s.size} pixels, and these "
                f"have about {self.facts.side}: use size {self.facts.side // 2} or less"
            )
        if s.batch % 2:
            raise SettingProblem(f"photos are spoilt in pairs: use an even batch, not {s.batch}")
        self.head = mlp([encoder.dimension, s.hidden, s.projection])

    def prepare(self, name: str, batch: Batch, draw: np.random.Generator) -> Batch:
        """The two photos of a pair, half a batch apart, are spoilt alike, and so at both sizes."""
        mean, std = (np.array(v, np.float32) for v in (self.encoder.mean, self.encoder.std))
        count, pairs = len(batch), len(batch) // 2
        plans = [
            [] if draw.random() < self.settings.pristine else composed(draw, self.settings.damages)
            for _ in range(pairs)
        ]
        groups = [group.clone() for group in batch.groups]
        for group in groups:
            for row, pixels in enumerate(group):
                photo = row % count
                picture = pixels.permute(1, 2, 0).numpy() * std + mean
                plan = plans[photo % pairs] if photo < 2 * pairs else []
                made = (spoilt(np.clip(picture, 0, 1), plan) - mean) / std
                pixels.copy_(torch.from_numpy(made).permute(2, 0, 1))
        views = [view for group in groups for view in group.split(count)]
        return replace(batch, groups=groups, views=views)

    def loss(self, batch: Batch, now: Now) -> Loss:
        pairs = len(batch) // 2
        features = self.encoder(batch.groups[0])  # 2B D: full size, then half
        sizes = self.head(features).split(len(batch))
        ones = torch.cat([size[:pairs] for size in sizes])
        others = torch.cat([size[pairs : 2 * pairs] for size in sizes])
        total = nt_xent(ones, others, self.settings.temperature)
        return Loss(total, embedding=features[: len(batch)])


# --- photos ---


class Settings(BaseModel):
    """What the judge of quality can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block: int = Field(BLOCK, ge=32, multiple_of=2, description="side of the blocks of statistics")
    crop: int = Field(96, ge=32, description="side of the crops an encoder sees")
    crops: Literal["five", "tiles"] = Field(
        "tiles", description="centre and corners as in ARNIQA, or tiles spread over the photo"
    )
    most: int = Field(16, ge=1, description="tiles of a photo, at each of both sizes")
    shown: int = Field(3, ge=1, description="crops of a photo that are shown as its worst")
    folds: int = Field(5, ge=2, description="parts the rated photos are cut into to be judged")
    seed: int = 0


presets: dict[str, dict[str, Any]] = {"paper": {"crops": "five", "crop": 224}}


@dataclass(frozen=True)
class Looked:
    """What is known of each photo; a row of NaN where it could not be looked at."""

    natural: np.ndarray  # N 36, of normalised luma
    plain: np.ndarray  # N 8, brightness, contrast, sharpness and others
    blocks: list[Blocks | None]
    learned: np.ndarray | None  # N 2D
    skipped: dict[int, str]  # row -> why
    megapixels: float
    seconds: float


def look(
    images: Images,
    encoder: Encoder | None = None,
    settings: Settings | None = None,
    threads: int = 2,
) -> Looked:
    """Statistics of every photo at its own size, and what an encoder makes of its crops."""
    s = settings or make_settings(Settings, {})
    count = len(images)
    natural = np.full((count, naturalness.FEATURES), np.nan)
    plain = np.full((count, len(MEASURES)), np.nan)
    found: list[Blocks | None] = [None] * count
    learned = np.full((count, 2 * (encoder.dimension if encoder else 0)), np.nan)
    skipped: dict[int, str] = {}
    pixels_seen, start = 0, time.perf_counter()

    def see(pixels: np.ndarray) -> Any:
        try:
            crops = _crops(pixels, s) if encoder else ()
            numbers = naturalness.brisque(pixels), naturalness.blocks(pixels, s.block)
        except Problem as error:
            return str(error)
        return pixels.shape[0] * pixels.shape[1], *numbers, _plain(pixels), crops

    for row, answer in images.map(see, threads=threads):
        if isinstance(answer, (str, FileProblem)):
            skipped[row] = answer if isinstance(answer, str) else answer.reason
            continue
        size, natural[row], found[row], plain[row], crops = answer
        pixels_seen += size
        if encoder:
            learned[row] = np.concatenate([_vectors(encoder, each).mean(0) for each in crops])
    seconds = time.perf_counter() - start
    return Looked(natural, plain, found, learned if encoder else None, skipped,
                  pixels_seen / 1e6, seconds)  # fmt: skip


def _plain(pixels: np.ndarray) -> np.ndarray:
    """What can be measured without a model; sharpness and focus as logarithms."""
    found = describe(pixels).measures.astype(np.float64)
    for name in ("sharpness", "focus"):
        place = MEASURES.index(name)
        found[place] = np.log(found[place] + 1e-3)
    return found


def _crops(pixels: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Crops of a photo at its own and at half its size.  n S S 3 each"""
    from PIL import Image

    height, width = pixels.shape[:2]
    half = Image.fromarray(pixels).resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    return _cut(pixels, settings), _cut(np.asarray(half), settings)


def _cut(pixels: np.ndarray, settings: Settings) -> np.ndarray:
    boxes = crop_boxes(pixels.shape[0], pixels.shape[1], settings)
    return np.stack([pixels[y : y + h, x : x + w] for y, x, h, w in boxes])


def crop_boxes(height: int, width: int, settings: Settings) -> list[Box]:
    """Which crops of a photo an encoder sees."""
    if settings.crops == "five":
        return five_crops(height, width, settings.crop)
    return tiles(height, width, settings.crop, settings.most)


@torch.inference_mode()
def _vectors(encoder: Encoder, crops: np.ndarray) -> np.ndarray:
    """Vectors of crops, each of length 1; the crops are taken as they are.  n D"""
    training = encoder.training
    encoder.eval()
    x = encoder.preprocessing.normalise(torch.from_numpy(crops).permute(0, 3, 1, 2))
    vectors = torch.nn.functional.normalize(encoder(x.to(encoder.device)).float(), dim=1)
    encoder.train(training)
    return vectors.cpu().numpy()


def multiplications(encoder: Encoder, settings: Settings) -> float:
    """How many a photo costs with all its crops at both sizes; the challenge allows BUDGET."""
    from torch.utils.flop_counter import FlopCounterMode

    side = settings.crop
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder(torch.zeros(1, 3, side, side, device=encoder.device))
    crops = 2 * (5 if settings.crops == "five" else settings.most)
    return counter.get_total_flops() / 2 * crops  # an addition goes with each


def natural_of(looked: Looked, rows: Sequence[int] | None = None, block: int = BLOCK) -> Natural:
    """The model of natural blocks from good photos; without `rows` from the sharpest half."""
    chosen = range(len(looked.blocks)) if rows is None else rows
    known = [one for row in chosen if (one := looked.blocks[row]) is not None]
    if rows is None:
        sharp = np.array([np.median(one.sharpness) for one in known])
        best = np.argsort(-sharp, kind="stable")[: max(1, round(SHARPEST * len(known)))]
        known = [known[k] for k in best]
    return naturalness.natural(known, block)


# --- scores ---


@dataclass(frozen=True)
class Scores:
    """A number for each photo, which way it points, and how it agrees with ratings."""

    name: str
    values: np.ndarray  # N, NaN where there is none
    higher_is_better: bool
    agreement: Agreement | None = None  # on photos it was not fitted to, as the numbers are
    after_fit: Agreement | None = None  # bent to those very ratings, as challenges print it

    def order(self) -> np.ndarray:
        """Rows from the best photo to the worst; those without a score come last."""
        badness = -self.values if self.higher_is_better else self.values
        return np.argsort(np.where(np.isnan(badness), np.inf, badness), kind="stable")


@dataclass(frozen=True)
class Judged:
    """The scores of every tier there was something for, and what none of them may lose to."""

    tiers: list[Scores]
    rated: int
    floor: Agreement | None  # of predicting the mean rating
    natural: Natural
    models: dict[str, Ridge] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Scores:
        """The tier with most to go by."""
        return self.tiers[-1]


def judge(
    looked: Looked,
    ratings: Any = None,
    groups: Any = None,
    natural: Natural | None = None,
    settings: Settings | None = None,
) -> Judged:
    """Scores of every tier there is something for; `ratings` (N) are NaN where there are none.

    Rated photos of one group (a burst, near-duplicates) are never on both sides of a fit.
    """
    s = settings or make_settings(Settings, {})
    notes: list[str] = []
    model = natural or natural_of(looked, block=s.block)
    if natural is None:
        notes.append("what is natural was learnt from the sharpest half of these photos themselves")
    values = np.array(
        [np.nan if one is None else naturalness.niqe(one, model) for one in looked.blocks]
    )
    rated = np.full(len(values), np.nan) if ratings is None else np.asarray(ratings, np.float64)
    if len(rated) != len(values):
        raise Problem(f"{len(rated)} ratings do not fit {len(values)} photos.")
    tiers = [_compared(Scores("niqe", values, higher_is_better=False), rated)]
    models: dict[str, Ridge] = {}
    whole = np.concatenate([looked.natural, looked.plain], 1)
    inputs = {"brisque": looked.natural, "statistics": whole}
    if looked.learned is not None:
        inputs["learned"] = looked.learned
        inputs["both"] = np.concatenate([whole, looked.learned], 1)
    usable = rated[np.isfinite(rated) & np.isfinite(whole).all(1)]
    if len(usable) and np.ptp(usable) == 0:
        raise Problem("all ratings are the same: nothing can be learnt from one level of quality.")
    if 0 < len(usable) < 2 * s.folds:
        notes.append(f"{len(usable)} ratings are too few to learn from: rate {2 * s.folds} or more")
    elif len(usable):
        for name, features in inputs.items():
            scores, models[name] = calibrated(name, features, rated, groups, s)
            tiers.append(scores)
    floor = constant(usable) if len(usable) > 1 else None
    return Judged(tiers, len(usable), floor, model, models, tuple(notes))


def calibrated(
    name: str,
    features: np.ndarray,
    ratings: np.ndarray,
    groups: Any = None,
    settings: Settings | None = None,
) -> tuple[Scores, Ridge]:
    """A ridge on ratings, judged on photos it has not seen; all photos get a score.

    A rated photo's score comes from the fit of the other folds, so that it may be compared.
    """
    s = settings or make_settings(Settings, {})
    known = np.isfinite(features).all(1)
    rated = np.flatnonzero(known & np.isfinite(ratings))
    together = np.arange(len(features)) if groups is None else np.asarray(groups)
    values = np.full(len(features), np.nan)
    for fold in _folds(together[rated], s.folds, s.seed):
        rest = np.setdiff1d(rated, rated[fold])
        values[rated[fold]] = ridge(features[rest], ratings[rest])(features[rated[fold]])
    model = ridge(features[rated], ratings[rated])
    others = np.setdiff1d(np.flatnonzero(known), rated)
    values[others] = model(features[others])
    return _compared(Scores(name, values, higher_is_better=True), ratings), model


def _folds(groups: np.ndarray, folds: int, seed: int) -> Iterator[np.ndarray]:
    """Places of each fold; a group lies in one of them."""
    names, which = np.unique(groups, return_inverse=True)
    if len(names) < folds:
        raise Problem(f"{len(names)} groups of rated photos cannot be cut into {folds} folds.")
    lots = np.random.default_rng(seed).permutation(len(names)) % folds
    for fold in range(folds):
        yield np.flatnonzero(lots[which] == fold)


def _compared(scores: Scores, ratings: np.ndarray) -> Scores:
    both = np.isfinite(scores.values) & np.isfinite(ratings)
    if both.sum() < 3:
        return scores
    x, y = scores.values[both], ratings[both]
    x = x if scores.higher_is_better else -x
    return replace(scores, agreement=agreement(x, y), after_fit=agreement_after_fit(x, y))


# --- what decided ---


def worst_blocks(
    looked: Looked, row: int, model: Natural, count: int = 3
) -> list[tuple[Box, float]]:
    """The least natural blocks of a photo, and how far they lie from natural."""
    found = looked.blocks[row]
    if found is None:
        return []
    away = naturalness.unnatural(found, model).reshape(-1)
    order = np.argsort(np.where(np.isnan(away), np.inf, -away), kind="stable")[:count]
    side, columns = model.block, found.shape[1]
    return [
        ((k // columns * side, k % columns * side, side, side), float(away[k]))
        for k in order.tolist()
        if not np.isnan(away[k])
    ]


def worst_crops(
    pixels: np.ndarray, encoder: Encoder, model: Ridge, settings: Settings
) -> list[tuple[Box, float]]:
    """Crops of a photo and the score each would give it alone, the lowest first.

    `model` is the ridge on what the encoder has learnt, which is a mean over crops.
    """
    full, half = (_vectors(encoder, crops) for crops in _crops(pixels, settings))
    alone = np.concatenate([full, np.repeat(half.mean(0)[None], len(full), 0)], 1)
    boxes = crop_boxes(pixels.shape[0], pixels.shape[1], settings)
    scores = model(alone).tolist()
    return sorted(zip(boxes, scores, strict=True), key=lambda one: one[1])[: settings.shown]


def told(judged: Judged) -> list[dict[str, Any]]:
    """A row for each tier, as the numbers are and after the fit, and one for the mean rating.

    A distance is on no scale of ratings: its errors mean nothing before the fit.
    """
    rows: list[dict[str, Any]] = []
    for tier in judged.tiers:
        row: dict[str, Any] = {"tier": tier.name, "higher_is_better": tier.higher_is_better}
        if tier.agreement is not None and tier.after_fit is not None:
            row |= {"srcc": tier.agreement.srcc, "krcc": tier.agreement.krcc}
            row |= _errors(tier.after_fit, "after_fit")
            row |= _errors(tier.agreement, "raw") if tier.name in judged.models else {}
        rows.append(row)
    if judged.floor is not None:
        rows.append({"tier": "mean rating", "srcc": 0.0, **_errors(judged.floor, "raw")})
    return rows


def _errors(found: Agreement, what: str) -> dict[str, float]:
    return {f"{name}_{what}": getattr(found, name) for name in ("plcc", "rmse", "mae")}
