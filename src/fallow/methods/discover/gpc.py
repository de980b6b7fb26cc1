"""GPC: a mixture says how many classes there are, and what it finds teaches the encoder.

The number is counted by what known classes say (`inventory.counting`); with preset="paper" by the
published mixture, whose components split and merge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fallow.distributed import from_first
from fallow.encoders import Encoder
from fallow.encoders.heads import dino_head
from fallow.inventory.axes import evened
from fallow.inventory.borders import clearest
from fallow.inventory.counting import RULE, Count, Rule, count_classes
from fallow.inventory.discovered import Discovery, discovered, likeness
from fallow.inventory.mixture import settle
from fallow.inventory.normals import Prior, responsibilities
from fallow.inventory.rehearsal import calibrate
from fallow.inventory.rounded import rounded
from fallow.inventory.semi import semi_kmeans
from fallow.inventory.splits import split_and_merge
from fallow.losses.contrastive import nt_xent, supcon
from fallow.losses.prototypes import prototype_contrast
from fallow.measure.discovery import discovery_accuracy
from fallow.methods.discover import Discoverer
from fallow.methods.discover import Settings as BaseSettings
from fallow.parts.clusters import vectors
from fallow.problems import Problem, SettingProblem
from fallow.train import Batch, Loss, Now, make_settings
from fallow.vectors.space import unit

if TYPE_CHECKING:
    from fallow.images import Images


ENOUGH = 5  # labels of a class from which on the number is seldom off by a factor of two
MORE_LABELS = f"At least {ENOUGH} labels of each known class narrow this most."
MORE_CLASSES = "Labels for one more class, or more labels of each, narrow this most."


class GPC(Discoverer):
    """Learn a semi-supervised Gaussian mixture and features for each other (Zhao et al. 2023)."""

    predicts = "the class, known or new, of a view of an image"

    class Settings(BaseSettings):
        counted: Literal["by known classes", "by mixture"] = Field(
            "by known classes", description="how classes are counted and images sorted"
        )
        dimensions: int = Field(
            16, gt=0, description="main axes the mixture works on; few, for its test to mean much"
        )
        roundness: float = Field(
            0.3, ge=0, le=1, description="how little classes' own spread is evened out; 1: not"
        )
        starts: int = Field(4, ge=1, description="numbers of classes to begin from")
        rounds: int = Field(20, ge=1, description="rounds of splitting and merging from a start")
        least: int = Field(5, ge=1, description="images that either half of a split must exceed")
        most: int = Field(1000, gt=1, description="classes there may be at most")
        alpha: float | None = Field(
            None, gt=0, description="above 1 favours splitting; none: from the labelled classes"
        )
        kappa: float = Field(1e-4, gt=0, description="how many images the prior's mean is worth")
        freedom: float | None = Field(
            None, gt=0, description="how many its scatter is worth; none: 10 a dimension"
        )
        wait: int = Field(1, ge=0, description="epochs without prototypes")
        refresh: int = Field(1, ge=1, description="epochs between two looks at all images")
        tightness: float = Field(1.0, gt=0, description="mean temperature of the prototypes")

    presets: ClassVar = {
        # the authors' script for fine-grained birds, with a transformer they got pre-trained
        "paper": {
            "counted": "by mixture",
            "size": 224,
            "batch": 256,
            "epochs": 60,
            "warmup": 0.0,
            "learning_rate": 0.1,
            "final_rate": 1e-3,
            "weight_decay": 5e-5,
            "hidden": 2048,
            "last": 1,
        },
    }

    assigned: Tensor  # N, -1 before the first look
    prototypes: Tensor  # most F, unit rows
    density: Tensor  # most
    count: Tensor

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if self.facts.classes < 1:
            raise Problem("gpc needs some labelled classes: give them with labels")
        if self.facts.classes >= s.most:
            raise SettingProblem(
                f"{self.facts.classes} classes are labelled, so most must be above {s.most}"
            )
        super().build(encoder)
        self.head = dino_head(encoder.dimension, output=128, hidden=s.hidden)
        room = min(s.most, self.facts.count)
        self.register_buffer("assigned", torch.full((self.facts.count,), -1))
        self.register_buffer("prototypes", torch.zeros(room, encoder.dimension))
        self.register_buffer("density", torch.ones(room))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def before_epoch(self, now: Now, images: Images) -> None:
        """Look at all images: sort them with the features of now, and make prototypes of that."""
        super().before_epoch(now, images)
        s, known = self.settings, self.known(images)
        if now.epoch < s.wait or (now.epoch - s.wait) % s.refresh:
            return
        seen = unit(vectors(self, images))  # N F
        before = self.assigned[: len(seen)].cpu().numpy() if int(self.count) else None
        member = from_first(sort_again(seen, known, s, before, seed=now.epoch))
        centres, density = prototypes(seen, member, s.tightness)
        found = len(centres)
        self.assigned[: len(seen)] = torch.from_numpy(member)
        self.prototypes[:found] = torch.from_numpy(centres)
        self.density[:found] = torch.from_numpy(density)
        self.count.fill_(found)

    def loss(self, batch: Batch, now: Now) -> Loss:
        s = self.settings
        features = self.encoder(batch.groups[0])  # 2B F
        z = self.head(features)
        known = batch.labels >= 0
        one, two = z.chunk(2)
        alone = nt_xent(one, two, s.temperature)
        taught = supcon(z, batch.labels.repeat(2), s.class_temperature, used=known.repeat(2))
        total = (1 - s.balance) * alone + s.balance * taught
        parts: dict[str, Tensor | float] = {"views": alone.detach(), "labels": taught.detach()}
        if (found := int(self.count)) > 0:
            target = self.assigned[batch.index].repeat(2)
            drawn = prototype_contrast(
                features, self.prototypes[:found], self.density[:found], target
            )
            total = total + drawn
            parts |= {"prototypes": drawn.detach(), "classes": float(found)}
        return Loss(total, parts, embedding=features[: len(batch)])

    def discover(self, seen: np.ndarray, known: np.ndarray, seed: int = 0) -> Discovery:
        """Sort images by the trained encoder's vectors (N F)."""
        return discover(seen, known, self.settings, seed)


# --- what is done without training ---


def discover(
    seen: np.ndarray, known: np.ndarray, settings: GPC.Settings | None = None, seed: int = 0
) -> Discovery:
    """Sort images by vectors (N F) as they are; `known` is a class from 0, or -1.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(6).repeat(40)
    >>> seen = np.eye(6)[truth] + 0.1 * draw.normal(size=(240, 6))
    >>> known = np.where((truth < 3) & (draw.random(240) < 0.5), truth, -1)
    >>> found = discover(seen, known)
    >>> low, high = found.interval
    >>> found.count, low <= 6 <= high, bool(found.chance.min() > 0.9)
    (6, True, True)
    """
    s = make_settings(GPC.Settings, {}) if settings is None else settings
    old = int(known.max()) + 1
    if s.classes is not None and s.classes < old:
        raise SettingProblem(f"{old} classes are labelled, more than the {s.classes} asked for")
    seen = unit(seen)
    if s.counted == "by mixture":
        return by_mixture(seen, known, s, seed)
    return by_known_classes(seen, known, s.classes, most=s.most, seed=seed)


def by_known_classes(
    seen: np.ndarray,
    known: np.ndarray,
    classes: int | None,
    *,
    most: int,
    seed: int = 0,
    rule: Rule = RULE,
) -> Discovery:
    """As many classes as the known ones say (or as are given), by k-means where those are round."""
    old = int(known.max()) + 1
    points = rounded(seen, known)
    if classes is None:
        count = clearest(points, known, count_classes(seen, known, seed=seed, rule=rule), seed=seed)
    else:
        count = Count(classes, classes, classes)
    member = semi_kmeans(points, known, min(count.classes, max(most, old)), seed=seed).member

    def likely(group: np.ndarray) -> np.ndarray:
        centres = np.zeros((int(group.max()) + 1, points.shape[1]))
        np.add.at(centres, group, points)
        centres /= np.maximum(np.bincount(group), 1)[:, None]
        return np.log(likeness(points, centres) + 1e-300)

    chances = honest_chances(points, known, member, likely, seed)
    notes = overlapping(again(points, known, seed))
    if count.open:
        few = (known >= 0).sum() < ENOUGH * old
        notes.append(
            f"How many classes there are cannot be said well: {count.low} and {count.high} are "
            f"both likely. {MORE_LABELS if few else MORE_CLASSES}"
        )
    found = discovered(points, member, old, chances, [count.classes], notes)
    return replace(found, likely=(count.low, count.high) if classes is None else None)


def again(points: np.ndarray, known: np.ndarray, seed: int = 0) -> float:
    """The share of labelled images that k-means sorts rightly when it does not know their labels.

    >>> again(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0, 0, 1, 1]))
    1.0
    """
    labelled = known >= 0
    names = known[labelled]
    old = int(names.max()) + 1
    blind = np.full(len(names), -1)
    member = semi_kmeans(points[labelled], blind, min(old, len(names)), starts=5, seed=seed).member
    return discovery_accuracy(names, member, names >= 0).all


def overlapping(share: float) -> list[str]:
    """What to know where less than half of the labelled images are found `again`."""
    if share >= 0.5:
        return []
    return [
        "The labelled classes overlap in these features: with their labels hidden, only "
        f"{share:.0%} of their images were sorted rightly, so groups and their number are rough."
    ]


def by_mixture(seen: np.ndarray, known: np.ndarray, s: Any, seed: int = 0) -> Discovery:
    """The published way: a mixture that begins from several numbers of classes.

    The estimate is the median of where it ends, and of the starts that end there the likeliest
    sorts the images.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(6).repeat(40)
    >>> seen = np.eye(6)[truth] + 0.1 * draw.normal(size=(240, 6))
    >>> known = np.where((truth < 3) & (draw.random(240) < 0.5), truth, -1)
    >>> found = by_mixture(seen, known, GPC.Settings())
    >>> found.count, found.interval, bool(found.chance.min() > 0.9)
    (6, (6, 6), True)
    """
    old = int(known.max()) + 1
    look = look_at(seen, known, s, seed)
    if s.classes is not None:
        member = semi_kmeans(look.points, known, s.classes, starts=20, seed=seed).member
        chances = mixture_chances(look, known, member, seed)
        return discovered(look.points, member, old, chances, [s.classes], look.notes)
    begun = begin_from(old, len(seen), s)
    for _ in range(3):
        ends = [
            settle(
                look.points, known, count, look.prior, rounds=s.rounds, least=s.least, most=s.most,
                log_alpha=look.log_alpha, seed=seed + 100 * place,
            )
            for place, count in enumerate(begun)
        ]  # fmt: skip
        counts = [end.count for end in ends]
        believed, thought = float(np.median(counts)), float(look.classes)
        if max(believed, thought) < 1.25 * min(believed, thought):
            break
        look = look_at(seen, known, s, seed, round(believed))  # another size of classes: again
    middle = float(np.median(counts))
    best = min(ends, key=lambda end: (abs(end.count - middle), -end.evidence))
    chances = mixture_chances(look, known, best.member, seed)
    return discovered(look.points, best.member, old, chances, counts, look.notes)


class Look(NamedTuple):
    """Where the mixture works, and what it expects of components there."""

    points: np.ndarray
    prior: Prior
    log_alpha: float
    classes: int  # as many as were thought of
    notes: list[str]


def look_at(
    seen: np.ndarray, known: np.ndarray, s: Any, seed: int, classes: int | None = None
) -> Look:
    """Main axes on which labelled classes are round, and the prior that fits them.

    `classes` is what is thought of their number, at first twice the known ones: it says how many
    images a class has for each labelled one.
    """
    old = int(known.max()) + 1
    points = evened(seen, known, s.dimensions, shrink=s.roundness)
    classes = s.classes or classes or 2 * old
    ratio = max(1.0, len(seen) / classes / ((known >= 0).sum() / old))
    fit = calibrate(
        points, known, ratio=ratio, freedom=s.freedom, kappa=s.kappa, alpha=s.alpha,
        least=s.least, seed=seed,
    )  # fmt: skip
    return Look(points, fit.before, fit.log_alpha, classes, overlapping(fit.again))


def honest_chances(
    points: np.ndarray,
    known: np.ndarray,
    member: np.ndarray,
    likely: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> np.ndarray:
    """The groups' chances of every row (N K), flattened until they hold for hidden labels.

    Groups fitted to the very rows they judge are too sure of themselves. `likely` gives the
    logarithms of chances by the group each row is in. Half of the labels are hidden, everything is
    sorted again, and the power is taken under which the chances of the hidden labels are largest.
    """
    draw = np.random.default_rng(seed)
    shown = known.copy()
    for one in range(int(known.max()) + 1):
        own = draw.permutation(np.flatnonzero(known == one))
        shown[own[: len(own) // 2]] = -1
    hidden = np.flatnonzero((known >= 0) & (shown < 0))
    power = 1.0
    if len(hidden):
        again = semi_kmeans(points, shown, int(member.max()) + 1, starts=1, seed=seed).member
        judged = likely(again)[hidden]
        said = {}
        for tried in np.geomspace(0.01, 1, 25):
            flat = tried * judged
            flat = flat - np.logaddexp.reduce(flat, 1)[:, None]
            said[float(tried)] = float(flat[np.arange(len(hidden)), known[hidden]].mean())
        power = max(said, key=lambda tried: said[tried])
    table = np.exp(power * likely(member))
    return table / table.sum(1, keepdims=True)


def mixture_chances(look: Look, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    """Honest chances (N K) of the mixture's components."""

    def likely(group: np.ndarray) -> np.ndarray:
        return np.log(responsibilities(look.points, group, look.prior) + 1e-300)

    return honest_chances(look.points, known, member, likely, seed)


def begin_from(old: int, images: int, s: Any) -> list[int]:
    """Numbers of classes to begin from: from hardly any new ones to twice as many as old ones.

    >>> begin_from(10, 1000, GPC.Settings(starts=3))
    [11, 18, 30]
    """
    high = max(old + 2, min(3 * old, images // 4, s.most))
    steps = np.geomspace(old + 1, high, s.starts) if s.starts > 1 else [1.5 * old + 1]
    return [round(float(step)) for step in steps]


def sort_again(
    seen: np.ndarray, known: np.ndarray, s: Any, before: np.ndarray | None, seed: int
) -> np.ndarray:
    """The E-step: one round of splitting and merging from where the last one stopped."""
    if before is None or s.counted == "by known classes":
        return discover(seen, known, s, seed).member
    look = look_at(seen, known, s, seed)
    sums = np.zeros((int(before.max()) + 1, look.points.shape[1]))
    np.add.at(sums, before, look.points)
    centres = sums / np.maximum(np.bincount(before), 1)[:, None]
    if s.classes is not None:
        return semi_kmeans(look.points, known, len(centres), start=centres).member
    member = semi_kmeans(look.points, known, len(centres), start=centres).member
    centres, _ = split_and_merge(
        look.points, member, known, look.prior, np.random.default_rng(seed),
        least=s.least, most=s.most, log_alpha=look.log_alpha,
    )  # fmt: skip
    return semi_kmeans(look.points, known, len(centres), start=centres).member


def prototypes(
    seen: np.ndarray, member: np.ndarray, tightness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Unit centres (K F) of the groups, and how tight each is, as its temperature.

    >>> centres, density = prototypes(np.eye(2, dtype=np.float32), np.array([0, 1]), 0.5)
    >>> centres.tolist(), density.tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5])
    """
    centres = np.zeros((int(member.max()) + 1, seen.shape[1]))
    np.add.at(centres, member, seen)
    centres /= np.maximum(np.bincount(member), 1)[:, None]
    density = concentration(seen, centres, member, tightness)
    return unit(centres), density.astype(np.float32)


def concentration(
    seen: np.ndarray, centres: np.ndarray, member: np.ndarray, tightness: float
) -> np.ndarray:
    """Mean distance to the centre over ln(size + 10), clipped and scaled to a mean of `tightness`.

    Groups of one image count as the loosest.
    """
    away = np.linalg.norm(seen - centres[member], axis=1)
    sizes = np.bincount(member, minlength=len(centres))
    total = np.bincount(member, away, minlength=len(centres))
    density = total / np.maximum(sizes, 1) / np.log(sizes + 10)
    density[sizes <= 1] = density.max()
    density = density.clip(*np.percentile(density, (10, 90)))
    mean = density.mean()
    return tightness * density / mean if mean > 0 else np.full(len(density), tightness)
