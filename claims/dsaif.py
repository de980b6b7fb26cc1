"""DSAIF on real pictures with a few masks: what the filters add, and whether errors stay apart.

Per data set and seed a few training pictures have masks: those of whole videos, drives or slices
where the set has such, drawn by the seed otherwise. Four runs of equal length share them, the
first weights and the order of pictures: *filtered* (the method), *unfiltered* (the same two
networks, views and contrast changes, but no tree), *supervised* (as unfiltered, but the networks
learn from the few masks alone) and *all masks* (likewise, from every training mask). Pictures are
small, 85 pixels on the short side; the membranes' are quarters of slices at 170.
Dice is that of each class over all test pixels, mean over classes without the background, mean
over both networks. Where the two networks err is compared on the training pictures without a
mask, as they are: twice the pixels both get wrong over the sum of the pixels each gets wrong.
`--minutes` sets the steps of every run, from a timed first few.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.masks import SETS, labelled_rows, timed
from claims.record import Entry, budget, entry

SIDE = 85  # of the pictures; views of 64 are cut from it
ROWS = ("filtered", "unfiltered", "supervised", "all masks")


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    # two networks that see everything twice take 0.3 s a step: minutes are enough for two sets
    sets: tuple[str, ...] = ("white_blood_cells", "membrane_em")
    encoder: str = "unet/8"
    size: int = 64
    batch: int = 4  # with a mask, and as many without
    learning_rate: float = 2.56  # 0.04 at batch 4: the method's own needs longer runs
    steps: int = 1500  # at most; fewer where the minutes are short
    least: int = 12
    seeds: int = 3
    most: int | None = None  # pictures of a split


@dataclass(frozen=True)
class Outcome:
    """Test Dice of both networks, and how much of their errors they share."""

    dice: float
    each: list[float]  # first and second network
    classes: list[float]
    overlap: float  # on the training pictures without a mask
    overlap_test: float
    wrong: list[float]  # share of those training pixels each network gets wrong


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    begin = time.monotonic()
    sets = {name: Few(data, name, plan) for name in plan.sets}
    steps = affordable(plan, sets, minutes, begin)
    return [one for few in sets.values() for one in one_set(few, plan, steps, minutes)]


def affordable(plan: Plan, sets: dict[str, Few], minutes: float, begin: float) -> int:
    """Steps of a run, so that all runs and looking at their results fit into the minutes."""
    few = next(iter(sets.values()))
    quick = timed(lambda steps: trained(plan, few, "filtered", 0, steps))
    mark = time.monotonic()
    judged(quick.run.method, few, 0)
    look = (time.monotonic() - mark) / len(few)
    runs = len(ROWS) * plan.seeds
    left = 60 * minutes - (time.monotonic() - begin)
    left -= runs * sum(quick.setup + look * len(each) for each in sets.values())
    return int(max(plan.least, min(plan.steps, left / (runs * len(sets) * quick.step))))


def one_set(few: Few, plan: Plan, steps: int, minutes: float) -> list[Entry]:
    begin = time.monotonic()
    found: dict[str, list[Outcome]] = {row: [] for row in ROWS}
    for seed in range(plan.seeds):
        for row in ROWS:
            found[row].append(judged(trained(plan, few, row, seed, steps).method, few, seed))
    about = {
        "data": {
            "name": few.name, "images": len(few.train), "labelled": few.about.labelled,
            "test": len(few.test), "fingerprint": few.fingerprint,
        },
        "budget": budget(minutes, begin, steps=steps),
        "settings": asdict(plan) | {"side": SIDE, "classes": few.about.classes},
        "observed": {row: [asdict(one) for one in each] for row, each in found.items()},
    }  # fmt: skip
    return [
        entry(
            f"{few.name}: {claim}", ours, theirs,
            seeds=[(value(a), value(b)) for a, b in zip(found[ours], found[theirs], strict=True)],
            **about,
        )
        for claim, ours, theirs, value in COMPARED
    ]  # fmt: skip


def dice_of_run(one: Outcome) -> float:
    return one.dice


def apart(one: Outcome) -> float:
    """Part of the errors that the networks do not share: more is better."""
    return 1 - one.overlap


COMPARED = [
    ("filtered views teach better than unfiltered ones (Dice)", "filtered", "unfiltered",
     dice_of_run),
    ("filtering keeps the two networks' errors apart (1 - overlap)", "filtered", "unfiltered",
     apart),
    ("two networks and bare pictures beat the few masks alone (Dice)", "filtered", "supervised",
     dice_of_run),
    ("two networks without filters beat the few masks alone (Dice)", "unfiltered", "supervised",
     dice_of_run),
    ("masks for everything beat a few (Dice)", "all masks", "filtered", dice_of_run),
]  # fmt: skip


# --- pictures ---


class Few:
    """A set in small: pixels and codes of its training and test pictures, and their groups."""

    def __init__(self, data: Path, name: str, plan: Plan) -> None:
        import fallow

        self.name, self.about = name, SETS[name]
        everything = fallow.open(archive(data, name))
        self.fingerprint = everything.fingerprint
        self.train, self.groups = self.small(everything.where("split = 'train'"), plan)
        self.test, _ = self.small(everything.where("split = 'test'"), plan)

    def __len__(self) -> int:
        return len(self.train) + len(self.test)

    def small(self, images: Any, plan: Plan) -> tuple[list[tuple[np.ndarray, np.ndarray]], Any]:
        """Pixels (h w 3) and codes (h w) of every picture."""
        from fallow.images.masks import resized

        made, groups = [], []
        names = images.column(self.about.group) if self.about.group else np.arange(len(images))
        for row in range(len(images) if plan.most is None else min(plan.most, len(images))):
            pixels = images.read(row, side=SIDE * (2 if self.about.quarters else 1))
            codes = self.about.codes(images.mask(row)).astype(np.uint8)
            codes = resized(codes, pixels.shape[:2])
            parts = quartered(pixels, codes) if self.about.quarters else [(pixels, codes)]
            made += parts
            groups += [names[row]] * len(parts)
        return made, np.array(groups)

    def draw(self, seed: int) -> np.ndarray:
        """Rows of the training pictures that have a mask."""
        return labelled_rows(self.groups, self.about.labelled, seed)


def quartered(pixels: np.ndarray, codes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    middle = [side // 2 for side in codes.shape]
    halves = [(slice(0, at), slice(at, 2 * at)) for at in middle]
    return [(pixels[y, x], codes[y, x]) for y in halves[0] for x in halves[1]]


def streams(few: Few, row: str, seed: int) -> dict[str, Any]:
    """Every training picture without its mask, and those that keep it."""
    import fallow
    from fallow.images.masks import with_masks

    bare = fallow.open([pixels for pixels, _ in few.train])
    chosen = np.arange(len(few.train)) if row == "all masks" else few.draw(seed)
    known = {place: few.train[old][1] for place, old in enumerate(chosen)}
    return {"unlabelled": bare, "labelled": with_masks(bare.select(chosen), known)}


# --- runs ---


@cache
def unfiltered() -> Any:
    """The method with the same contrast changes and 8 bits, but without its trees."""
    from fallow.methods.segment.dsaif import DSAIF

    class Unfiltered(DSAIF):
        def view(self, unit: np.ndarray, tree: Any, draw: np.random.Generator) -> np.ndarray:
            s = self.settings
            gamma = draw.uniform(*s.gamma) if draw.random() < s.bent else 1.0
            return np.floor(unit**gamma * 255) / 255

    return Unfiltered


def trained(plan: Plan, few: Few, row: str, seed: int, steps: int) -> Any:
    """One run; rows differ in what is said here and in nothing else."""
    import fallow
    from fallow.methods.segment.dsaif import DSAIF
    from fallow.train import fit

    alone = {"mutual": 0.0} if row in ("supervised", "all masks") else {}
    settings = DSAIF.Settings(
        classes=len(few.about.classes),
        size=plan.size,
        batch=plan.batch,
        learning_rate=plan.learning_rate,
        epochs=steps / (len(few.train) // plan.batch),
        precision="32",
        **alone,
    )
    kind = DSAIF if row == "filtered" else unfiltered()
    encoder = fallow.encoder(plan.encoder, seed=seed)
    return fit(kind, streams(few, row, seed), encoder=encoder, settings=settings, seed=seed)


def judged(method: Any, few: Few, seed: int) -> Outcome:
    from fallow.measure.segmentation import confusion, dice_of
    from fallow.methods.shared.segment import enlarged, look

    networks = method.opinions()
    classes = len(few.about.classes)
    taken = set(few.draw(seed).tolist())
    bare = [pair for row, pair in enumerate(few.train) if row not in taken]
    counts = np.zeros((len(networks), classes, classes), np.int64)
    shared = {}
    for name, pictures in (("bare", bare), ("test", few.test)):
        wrong, both, total = np.zeros(len(networks)), 0, 0
        for pixels, codes in pictures:
            found = [enlarged(each, codes.shape) for each in look(method, pixels, networks)]
            if name == "test":
                counts += [confusion(one, codes, classes) for one in found]
            errors = [(one != codes) & (codes != 255) for one in found]
            wrong += [one.sum() for one in errors]
            both += int((errors[0] & errors[1]).sum())
            total += int((codes != 255).sum())
        shared[name] = (2 * both / max(1, wrong.sum()), (wrong / max(1, total)).tolist())
    first = 1 if few.about.background else 0
    there = counts[0].sum(1) > 0  # a class the test pictures do not have is not judged
    there[:first] = False
    each = np.stack([dice_of(one) for one in counts])  # networks, classes
    return Outcome(
        dice=float(each[:, there].mean()),
        each=each[:, there].mean(1).tolist(),
        classes=each.mean(0).tolist(),
        overlap=float(shared["bare"][0]),
        overlap_test=float(shared["test"][0]),
        wrong=shared["bare"][1],
    )
