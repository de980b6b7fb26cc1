"""GCDSS: do labels that spread between neighbours find new classes better than cluster centres?

The mechanism on scikit-learn's digits: seven known classes, 40 % of them labelled, three new. The
whole on `camvid`: two classes are held back from the masks of some train images, and the test
drives, which are other drives, are sorted; a seed draws images and rotates which classes are held
back. Regions are superpixels. Every comparison is one entry: accuracy ("v2") on the digits, IoU
over the data set on the pixels, of the method minus that of its baseline.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.record import Entry, budget, entry

IGNORE = 255
NAMES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
         "pedestrian", "bicyclist")  # fmt: skip
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    digit_seeds: int = 5
    pixel_seeds: int = 3
    # large classes, so that most drives hold them; each seed takes the next pair
    held_back: tuple[tuple[int, int], ...] = ((5, 8), (0, 3), (1, 4), (5, 3), (8, 4))
    labelled: int = 40  # images of camvid, at most; fewer where the minutes are short
    unlabelled: int = 40
    segmenter_minutes: float = 1.0  # each; 0 leaves training out
    segmenter: str = "unet/16"
    encoder: str = "tiny"


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    begin = time.monotonic()
    entries = digits(plan, minutes)
    left = minutes - (time.monotonic() - begin) / 60
    return entries + pixels(data, left, plan)


# --- digits ---


def digits(plan: Plan, minutes: float) -> list[Entry]:
    from fallow.images.samples import digits as images

    begin = time.monotonic()
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(plan.digit_seeds):
        for row, scores in digit_rows(seed).items():
            found.setdefault(row, []).append(scores)
    about = {
        "data": {"name": "digits", "images": len(images()), "fingerprint": images().fingerprint},
        "budget": budget(minutes, begin),
        "settings": {"known": 7, "labelled": 0.4, "neighbours": 10, "novel": 3},
        "observed": found,
    }
    return [
        entry(
            f"digits: {claim}", ours, theirs,
            seeds=[(a[measure], b[measure])
                   for a, b in zip(found[ours], found[theirs], strict=True)],
            **about,
        )
        for claim, ours, theirs, measure in DIGITS
    ]  # fmt: skip


# claim, method, baseline, measure: rows of what `digit_rows` returns
DIGITS = [
    ("neighbours sort better than cluster centres", "nerg", "k-means", "all"),
    ("neighbours sort new classes better than cluster centres", "nerg", "k-means", "new"),
    ("the reverse pass helps", "nerg", "no reverse pass", "all"),
    ("the reverse pass helps new classes", "nerg", "no reverse pass", "new"),
    ("falling votes help beside uniform ones", "nerg", "uniform votes", "all"),
    ("a threshold of 0.3 sorts new classes better than 0.1", "nerg", "threshold 0.1", "new"),
    ("a threshold of 0.3 sorts better than 0.5", "nerg", "threshold 0.5", "all"),
    ("a threshold chosen on known classes sorts better than 0.1", "chosen threshold",
     "threshold 0.1", "all"),
    ("as many groups as there are new classes help beside ten", "nerg", "ten groups", "new"),
]  # fmt: skip


def digit_rows(seed: int) -> dict[str, dict[str, float]]:
    from sklearn.datasets import load_digits

    from fallow.inventory.nearest import most_similar
    from fallow.measure.discovery import discovery_accuracy
    from fallow.methods.discover.gcdss import Settings, by_means, by_neighbours

    table = load_digits()
    vectors = (table.data / np.linalg.norm(table.data, axis=1, keepdims=True)).astype(np.float32)
    truth = table.target
    random = np.random.default_rng(seed)
    labelled = (truth < 7) & (random.random(len(truth)) < 0.4)
    known, labels = vectors[labelled], truth[labelled]
    free, answers = vectors[~labelled], truth[~labelled]
    ones = np.ones(len(free))
    near = most_similar(free, 10, known).rows

    def settings(**changes: Any) -> Settings:
        return Settings(**{"threshold": 0.3, "novel": 3, **changes})

    def scored(numbers: np.ndarray) -> dict[str, float]:
        accuracy = discovery_accuracy(answers, numbers, answers < 7)._asdict()
        new, said = answers >= 7, numbers >= 7
        both = float((new & said).sum())
        return {
            **accuracy,
            "new precision": both / max(1.0, float(said.sum())),
            "new recall": both / max(1.0, float(new.sum())),
        }

    def ours(**changes: Any) -> dict[str, float]:
        return scored(
            by_neighbours(
                known, labels, free, ones, settings(**changes), known=7, neighbours=near, seed=seed
            ).labels
        )

    means = by_means(
        known, labels, np.ones(len(known)), free, ones, settings(), known=7, neighbours=near,
        seed=seed,
    )  # fmt: skip
    return {
        "nerg": ours(),
        "chosen threshold": ours(threshold=None),
        "k-means": scored(means.labels),
        "no reverse pass": ours(reverse=False),
        "uniform votes": ours(decay=1.0),
        "ten groups": ours(novel=10),
        **{f"threshold {t:g}": ours(threshold=t) for t in THRESHOLDS},
    }


# --- pixels ---


def pixels(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    begin = time.monotonic()
    everything = fallow.open(archive(data, "camvid"))
    with own_cache():
        seconds = timed(everything, plan)
        spent = plan.pixel_seeds * plan.segmenter_minutes
        room = 60 * max(minutes - spent, 1.0) * 0.7 / plan.pixel_seeds
        share = min(1.0, room / (seconds * (plan.labelled + plan.unlabelled)))
        counts = [max(6, math.floor(share * n)) for n in (plan.labelled, plan.unlabelled)]
        found: dict[str, list[dict[str, Any]]] = {}
        for seed in range(plan.pixel_seeds):
            for row, scores in pixel_rows(everything, *counts, seed, plan).items():
                found.setdefault(row, []).append(scores)
    about = {
        "data": {"name": "camvid", "images": len(everything), "drawn": counts,
                 "fingerprint": everything.fingerprint},
        "budget": budget(minutes, begin),
        "settings": {**asdict(plan), "regions": "superpixels"},
        "observed": {row: [brief(one) for one in each] for row, each in found.items()},
    }  # fmt: skip
    compared = PIXELS + (TRAINED if plan.segmenter_minutes > 0 else [])
    return [
        entry(
            f"camvid: {claim}", ours, theirs,
            seeds=[(a["dataset"][measure], b["dataset"][measure])
                   for a, b in zip(found[ours], found[theirs], strict=True)],
            **about,
        )
        for claim, ours, theirs, measure in compared
    ]  # fmt: skip


def brief(scores: dict[str, Any]) -> dict[str, Any]:
    """Without the classes one by one, which would be written once for each entry."""
    return {name: value for name, value in scores.items() if name != "class"}


PIXELS = [
    ("neighbours find new classes better than cluster centres", "nerg", "k-means", "new"),
    ("neighbours sort all classes better than cluster centres", "nerg", "k-means", "all"),
    ("areas and labels help k-means to find new classes", "k-means", "plain k-means", "new"),
    ("the reverse pass helps new classes", "nerg", "no reverse pass", "new"),
    ("falling votes help new classes beside uniform ones", "nerg", "uniform votes", "new"),
    ("a threshold chosen on known classes finds new ones better than 0.1", "nerg",
     "threshold 0.1", "new"),
    ("a threshold chosen on known classes sorts better than 0.5", "nerg", "threshold 0.5", "all"),
    ("ten groups find new classes better than four", "nerg", "four groups", "new"),
    ("the encoder finds new classes better than mean colours", "nerg", "mean colours", "new"),
]  # fmt: skip
TRAINED = [
    ("a segmenter trained on the maps is better than the maps", "segmenter", "nerg", "all"),
    ("a segmenter trained on the maps finds new classes better", "segmenter", "nerg", "new"),
]


@contextlib.contextmanager
def own_cache() -> Iterator[None]:
    """Nothing that an earlier run has kept makes this one quicker."""
    before = os.environ.get("FALLOW_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FALLOW_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["FALLOW_CACHE"]
            if before is not None:
                os.environ["FALLOW_CACHE"] = before


def timed(everything: Any, plan: Plan) -> float:
    """Seconds for an image, from a few."""
    cutter = cutter_for(plan, None)
    cutter.cut(everything.where("split = 'val'").sample(2, seed=1))
    begin = time.monotonic()
    cutter.cut(everything.where("split = 'val'").sample(4, seed=2))
    return max((time.monotonic() - begin) / 4, 0.02)


def cutter_for(plan: Plan, encoder: Any) -> Any:
    import fallow
    from fallow.regions import proposer
    from fallow.regions.cutting import Cutter

    chosen = fallow.encoder(plan.encoder) if encoder is None else encoder
    return Cutter.of(proposer("superpixels"), chosen)


def drawn(everything: Any, labelled: int, unlabelled: int, held: tuple[int, ...], seed: int) -> Any:
    """Train images whose masks hide two classes, test images without masks, and their masks."""
    from fallow.images.masks import with_masks, without_masks

    train = everything.where("split = 'train'").sample(labelled, seed)
    test = everything.where("split = 'test'").sample(unlabelled, seed)
    masks = {}
    for row in range(len(train)):
        mask = train.mask(row).astype(np.uint8)
        mask[mask >= len(NAMES)] = IGNORE
        mask[np.isin(mask, held)] = IGNORE
        masks[row] = mask
    ids = test.table.column("id").to_pylist()
    truth = {ids[row]: test.mask(row).astype(np.uint8) for row in range(len(test))}
    for mask in truth.values():
        mask[mask >= len(NAMES)] = IGNORE
    return with_masks(train, masks), without_masks(test), truth


def pixel_rows(
    everything: Any, labelled: int, unlabelled: int, seed: int, plan: Plan
) -> dict[str, dict[str, Any]]:
    from fallow.images.classes import named_classes
    from fallow.inventory.semi import semi_kmeans
    from fallow.methods.discover.gcdss import Discovery, Settings
    from fallow.methods.shared.pixels import (
        SortedPixels,
        known_regions,
        measured,
        self_trained,
        sort_regions,
    )

    held = plan.held_back[seed % len(plan.held_back)]
    train, test, truth = drawn(everything, labelled, unlabelled, held, seed)
    classes = {name: code for code, name in enumerate(NAMES)}
    rows: dict[str, dict[str, Any]] = {}

    def looked(encoder: Any) -> tuple[Any, Any, Any]:
        cutter = cutter_for(plan, encoder)
        ours, theirs = cutter.cut(train), cutter.cut(test)
        return ours, theirs, known_regions(ours, named_classes(classes))

    here = _ours, theirs, known = looked(None)

    def scored(found: Discovery, seen: tuple[Any, Any, Any], learnt: Any = None) -> dict[str, Any]:
        done = SortedPixels(*seen[:2], found, seen[2].classes, learnt, [])
        return measured(done, truth, classes)["maps"]

    nerg = sort_regions(known, theirs, Settings(), "gcdss", seed)
    # what differs from it differs in one thing only
    same = {"threshold": nerg.threshold}
    variants: Mapping[str, tuple[str, dict[str, Any]]] = {
        "nerg": ("gcdss", same),
        "k-means": ("kmeans", {}),
        "no reverse pass": ("gcdss", {**same, "reverse": False}),
        "uniform votes": ("gcdss", {**same, "decay": 1.0}),
        "four groups": ("gcdss", {**same, "novel": 4}),
        **{f"threshold {t:g}": ("gcdss", {"threshold": t}) for t in THRESHOLDS},
    }
    for name, (method, changes) in variants.items():
        found = sort_regions(known, theirs, Settings(**changes), method, seed)
        maps = scored(found, here)
        rows[name] = maps["regions"]
        if name == "nerg":
            rows["best the regions allow"] = maps["best the regions allow"]
    # without areas and without labels: groups of everything, matched with new classes only
    blind = semi_kmeans(
        theirs.vectors, np.full(len(theirs.rows), -1), len(known.classes.names) + nerg.groups,
        starts=5, tolerance=0.0, seed=seed,
    )  # fmt: skip
    rows["plain k-means"] = scored(as_discovery(blind.member, theirs, known), here)["regions"]
    there = _, other, other_known = looked(mean_colours())
    found = sort_regions(other_known, other, Settings(**same), "gcdss", seed)
    rows["mean colours"] = scored(found, there)["regions"]
    if plan.segmenter_minutes > 0:
        import fallow

        learnt = self_trained(
            train, theirs, nerg, known.classes, trust=Settings().trust,
            network=fallow.encoder(plan.segmenter, seed=seed), minutes=plan.segmenter_minutes,
            seed=seed,
        )  # fmt: skip
        rows["segmenter"] = scored(nerg, here, learnt)["segmenter"]
    rows["held back"] = {
        "classes": [NAMES[k] for k in held], "regions": len(theirs.rows),
        "threshold": nerg.threshold,
    }  # fmt: skip
    return rows


def as_discovery(member: np.ndarray, regions: Any, known: Any) -> Any:
    """Blind groups, those most like a known class's mean under its number, the rest as new ones."""
    from scipy.optimize import linear_sum_assignment

    from fallow.methods.discover.gcdss import Discovery

    count, old = int(member.max()) + 1, len(known.classes.names)
    centres = np.stack([regions.vectors[member == k].mean(0) for k in range(count)])
    means = np.stack([
        known.vectors[known.codes == k].mean(0) if (known.codes == k).any()
        else np.zeros(centres.shape[1]) for k in range(old)
    ])  # fmt: skip
    away = ((centres[:, None] - means[None]) ** 2).sum(2)
    groups, classes = linear_sum_assignment(away)
    names = np.full(count, -1)
    names[groups] = classes
    loose = np.flatnonzero(names < 0)
    names[loose] = old + np.arange(len(loose))
    return Discovery(names[member], np.ones(len(member)), old, len(loose))


def mean_colours() -> Any:
    """The simplest features there are: mean and spread of colour in the region's box."""
    import torch

    from fallow.encoders import Encoder
    from fallow.encoders.base import Preprocessing

    class Colours(torch.nn.Module):
        dimension = 6

        def __init__(self) -> None:
            super().__init__()
            self.still = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)

    return Encoder(Colours(), name="mean colours", preprocessing=Preprocessing(32, 32))
