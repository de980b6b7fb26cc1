"""SemiOVS: foreign images labelled by somebody else, by the student, or not there at all.

Nothing here is open-vocabulary: no text-prompted model labels anything. On road scenes the target
is one drive; the foreign images are another drive, labelled by a segmenter that was trained on two
further drives and never saw the target's. On cell nuclei the target is histology and the foreign
images are fluorescence, labelled by a classical threshold. Labels are also made worse at a known
rate. Labelled frames are neighbours in their drive, so that few of them show little of it.

All rows of a seed start from the same weights and make the same number of steps, chosen from a
few timed ones so that the minutes suffice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive
from torch import nn

from claims.masks import Timed, labelled_rows, predicted, timed
from claims.record import Entry, budget, entry, over_sets
from fallow.losses.segmentation import masked_cross_entropy
from fallow.methods.segment.semiovs import SemiOVS
from fallow.methods.shared.segment import SegmentMethod
from fallow.train import Loss, Now

CAMVID = [
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
]  # fmt: skip
LONGER = 8  # times as many steps for the external labeller


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    sets: tuple[str, ...] = ("camvid", "nuclei_cc0")
    encoder: str = "tiny"
    size: int = 64
    batch: int = 4
    learning_rate: float = 1.28
    few: int = 4  # labelled images, the decisive count
    more: int = 16  # and a comfortable one
    worse: float = 0.3  # share of the foreign images' area with a wrong label
    most_steps: int = 1500
    least_steps: int = 8
    seeds: int = 3


@dataclass(frozen=True)
class Scene:
    """One data set in its parts; every image has its mask, which only some rows may see."""

    train: Any
    test: Any
    foreign: Any
    classes: int
    label: Callable[[int], Any]  # steps -> the foreign images with the external labels
    neighbours: bool  # the labelled ones are neighbours


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return over_sets(plan.sets, minutes, lambda name, share: one_set(data, name, share, plan))


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    begin = time.monotonic()
    scene = SCENES[name](data, plan)
    few, more = (min(count, len(scene.train) // 2) for count in (plan.few, plan.more))
    quick = trial(plan, scene, few)
    mark = time.monotonic()
    mean_iou(quick.run.method, scene.test, scene.classes)
    rows = 8 * plan.seeds + 2  # the labeller's many steps are cheap
    once = quick.setup + time.monotonic() - mark
    left = 60 * minutes - (time.monotonic() - begin) - rows * once
    steps = int(min(plan.most_steps, max(plan.least_steps, left / (rows * quick.step))))
    external = scene.label(steps)
    worse = spoiled(external, plan.worse, scene.classes)
    found: dict[str, list[float]] = {}
    quality = {
        "external": agreement(external, scene.foreign, scene.classes),
        "worse": agreement(worse, scene.foreign, scene.classes),
    }
    students = []
    for seed in range(plan.seeds):
        row, student = rows_of(plan, scene, external, worse, (few, more), seed, steps)
        students.append(student)
        for key, value in row.items():
            found.setdefault(key, []).append(value)
    quality["student"] = float(np.mean(students))
    about = {
        "data": {"name": name, "images": len(scene.train), "test": len(scene.test),
                 "foreign": len(scene.foreign), "fingerprint": scene.train.fingerprint},
        "budget": budget(minutes, begin, steps=steps),
        "settings": asdict(plan) | {"labelled": [few, more]},
        "observed": {"mean_iou": found, "labels_of_foreign_images": quality},
    }  # fmt: skip
    return [
        entry(f"{name}: {claim}", ours, theirs,
              seeds=list(zip(found[ours], found[theirs], strict=True)), **about)
        for claim, ours, theirs in COMPARED
    ]  # fmt: skip


# claim, method, baseline: rows of what `rows_of` returns
COMPARED = [
    ("foreign images help when somebody else labels them, few masks", "external", "none"),
    ("labels from elsewhere are better than the student's own", "external", "student"),
    ("foreign images help also when the student labels them", "student", "none"),
    ("foreign images help with many masks, too", "external, more", "none, more"),
    ("foreign images help more the fewer masks there are", "gain, few", "gain, more"),
    ("labels that are wrong at a known rate still help", "worse", "none"),
    ("unlabelled images help without foreign ones", "none", "supervised only"),
]


def rows_of(
    plan: Plan,
    scene: Scene,
    external: Any,
    worse: Any,
    counts: tuple[int, int],
    seed: int,
    steps: int,
) -> tuple[dict[str, float], float]:
    """Mean IoU on the test images of every row, and of the student's labels of foreign images."""
    from fallow.images.masks import without_masks

    bare = without_masks(scene.foreign)
    few, more = (drawn(scene, count, seed) for count in counts)

    def trained(labelled: np.ndarray, foreign: Any = None, **values: Any) -> Any:
        streams = parts(scene, labelled)
        if foreign is not None:
            streams["foreign"] = foreign
        return fitted(SemiOVS, plan, streams, scene.classes, seed, steps, **values)

    def score(run: Any) -> float:
        return mean_iou(run.method, scene.test, scene.classes)

    none = trained(few)
    found = {
        "supervised only": score(
            fitted(Supervised, plan, parts(scene, few), scene.classes, seed, steps)
        ),
        "none": score(none),
        "student": score(trained(few, bare, foreign_labels="student")),
        "external": score(trained(few, external)),
        "worse": score(trained(few, worse)),
        "none, more": score(trained(more)),
        "external, more": score(trained(more, external)),
        "fully supervised": score(
            fitted(
                Supervised, plan, parts(scene, np.arange(len(scene.train))), scene.classes, seed,
                steps,
            )
        ),
    }  # fmt: skip
    found["gain, few"] = found["external"] - found["none"]
    found["gain, more"] = found["external, more"] - found["none, more"]
    return found, mean_iou(none.method, scene.foreign, scene.classes)


def drawn(scene: Scene, count: int, seed: int) -> np.ndarray:
    """Which training images are labelled; the first of more are the same ones."""
    if not scene.neighbours:
        return labelled_rows(np.arange(len(scene.train)), count, seed)
    start = int(np.random.default_rng(seed).integers(len(scene.train)))
    return (start + np.arange(count)) % len(scene.train)


def parts(scene: Scene, labelled: np.ndarray) -> dict[str, Any]:
    from fallow.images.masks import without_masks

    bare = without_masks(scene.train)
    return {"unlabelled": bare, "labelled": scene.train.select(labelled), "mix": bare}


class Supervised(SegmentMethod):
    """What the masks alone teach: the same views of the labelled images, the same steps."""

    def build(self, encoder: Any) -> None:
        from fallow.encoders.segmenter import Segmenter

        self.student = Segmenter(encoder, self.settings.classes)

    def loss(self, batch: Any, now: Now) -> Loss:
        one = batch["labelled"]
        return Loss(masked_cross_entropy(self.student(one.views[0]), one.masks[0], over="valid"))

    def predictor(self) -> nn.Module:
        return self.student

    def opinions(self) -> list[nn.Module]:
        return [self.student]


def fitted(
    kind: type[SegmentMethod],
    plan: Plan,
    streams: dict[str, Any],
    classes: int,
    seed: int,
    steps: int,
    **values: Any,
) -> Any:
    import fallow
    from fallow.train import fit

    batch = min(plan.batch, len(streams["unlabelled"]))
    settings = kind.Settings(
        classes=classes,
        size=plan.size,
        batch=batch,
        learning_rate=plan.learning_rate,
        epochs=steps / max(1, len(streams["unlabelled"]) // batch),
        compile="off",
        **values,
    )
    encoder = fallow.encoder(plan.encoder, seed=seed)
    return fit(kind, streams, encoder=encoder, settings=settings, seed=seed)


def trial(plan: Plan, scene: Scene, count: int) -> Timed:
    """What a step of the largest row takes."""
    streams = parts(scene, drawn(scene, count, 0)) | {"foreign": scene.foreign}
    return timed(lambda steps: fitted(SemiOVS, plan, streams, scene.classes, 0, steps))


def mean_iou(method: Any, images: Any, classes: int) -> float:
    """Over the pixels of all images together; a class that is nowhere is left out."""
    from fallow.measure import segmentation as measure

    table = sum(
        measure.confusion(predicted(method, images[row]), images.mask(row), classes)
        for row in range(len(images))
    )
    return measure.mean_iou(table)


def agreement(labelled: Any, truth: Any, classes: int) -> float:
    """Mean IoU of given labels with the true masks."""
    from fallow.measure import segmentation as measure

    table = sum(
        measure.confusion(labelled.mask(row), truth.mask(row), classes) for row in range(len(truth))
    )
    return measure.mean_iou(table)


def spoiled(images: Any, rate: float, classes: int, seed: int = 0) -> Any:
    """The same images with a share of their labels wrong, block by block."""
    from fallow.images.masks import IGNORE, resized, with_masks

    masks = {}
    for row in range(len(images)):
        random = np.random.default_rng((seed, row))
        mask = images.mask(row)
        blocks = random.random((8, 8)) < rate
        shift = resized(random.integers(1, classes, (8, 8)), mask.shape)
        wrong = resized(blocks, mask.shape) & (mask != IGNORE)
        masks[row] = np.where(wrong, (mask + shift) % classes, mask).astype(np.uint8)
    return with_masks(images, masks)


# --- data sets ---


def camvid(data: Path, plan: Plan) -> Scene:
    """Target 0016E5; foreign 0006R0; the labeller learns from 0001TP (dusk) and Seq05VD."""
    import fallow
    from fallow.images.masks import read_masks

    everything = fallow.open(archive(data, "camvid"))
    named = {name: value for value, name in enumerate(CAMVID)}
    every = read_masks(everything, None, named, [11]).labelled
    train, test = (
        every.where(f"sequence = '0016E5' and split = '{split}'") for split in ("train", "val")
    )
    foreign = every.where("sequence = '0006R0'")
    others = every.where("sequence = '0001TP' or sequence = 'Seq05VD'")

    def label(steps: int) -> Any:
        from fallow.images.masks import with_masks, without_masks

        bare = {"unlabelled": without_masks(others), "labelled": others}
        # it costs a fraction of the others' steps and is trained once: it may learn in peace
        teacher = fitted(Supervised, plan, bare, len(CAMVID), plan.seeds, LONGER * steps)
        masks = {row: predicted(teacher.method, foreign[row]) for row in range(len(foreign))}
        return with_masks(foreign, masks)

    return Scene(train, test, foreign, len(CAMVID), label, neighbours=True)


def nuclei(data: Path, plan: Plan) -> Scene:
    """Target histology; foreign fluorescence, labelled by what is brighter than a threshold."""
    import fallow
    from fallow.images.masks import read_masks

    everything = fallow.open(archive(data, "nuclei_cc0"))
    masks = {
        key: (everything.mask(row) > 0).astype(np.uint8)
        for row, key in enumerate(everything.column("id"))
    }
    every = read_masks(everything, masks, ["background", "nucleus"]).labelled
    train, test = (
        every.where(f"kind = 'histology' and split = '{split}'") for split in ("train", "test")
    )
    foreign = every.where("kind = 'fluorescence' and split = 'train'")

    def label(steps: int) -> Any:
        from fallow.images.masks import with_masks

        return with_masks(
            foreign, {row: above_threshold(foreign[row]) for row in range(len(foreign))}
        )

    return Scene(train, test, foreign, 2, label, neighbours=False)


def above_threshold(image: np.ndarray) -> np.ndarray:
    """1 where a picture is brighter than the threshold that splits its grey values best (Otsu)."""
    grey = image.mean(2)
    counts = np.bincount(grey.astype(np.int64).ravel(), minlength=256).astype(float)
    below, levels = counts.cumsum(), np.arange(256)
    sums = (counts * levels).cumsum()
    above = counts.sum() - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return (grey > np.nanargmax(apart)).astype(np.uint8)


SCENES: dict[str, Callable[[Path, Plan], Scene]] = {"camvid": camvid, "nuclei_cc0": nuclei}
