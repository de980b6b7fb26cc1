"""FYI on DM and DSA at 1 and 10 images per class, and digits, where mirroring must not help.

Per data set, host, number per class and seed three sets are distilled with the same steps: with
mirror images (FYI), with as many randomly flipped ones, and with neither. Fresh networks are
trained on each, all in the same way and with the same augmentation: on photos it mirrors, on
digits it never does. A seed draws the images that a set begins as and everything after; the three
rows of a seed begin as the same images. `--minutes` sets the steps, from a few timed ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.photos import archive

from claims.record import Entry, budget, entry

PHOTOS, DIGITS = "cifar10_subset", "digits"
COPIES = {"fyi": "mirror", "random flips": "random", "host": "none"}


@dataclass(frozen=True)
class Cell:
    """One host on one data set."""

    data: str
    host: str
    per_class: int
    share: float  # of the minutes
    most: int  # steps
    settings: tuple[tuple[str, Any], ...] = ()
    depth: int = 3

    @property
    def name(self) -> str:
        return f"{self.host} at {self.per_class} per class on {self.data}"


# few matches a step for DSA at 10 per class: the published 10 x 50 epochs take days on a CPU
SHORT = (("matches", 4), ("epochs", 5))
CELLS = (
    Cell(DIGITS, "dm", 1, 0.04, 1000, depth=2),
    Cell(DIGITS, "dm", 10, 0.05, 1000, depth=2),
    Cell(DIGITS, "dsa", 1, 0.04, 400, depth=2),
    Cell(DIGITS, "dsa", 10, 0.06, 100, SHORT, depth=2),
    Cell(PHOTOS, "dm", 1, 0.11, 1000),
    Cell(PHOTOS, "dsa", 1, 0.15, 400),
    Cell(PHOTOS, "dm", 10, 0.2, 1000),
    Cell(PHOTOS, "dsa", 10, 0.35, 100, SHORT),
)


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    cells: tuple[Cell, ...] = CELLS
    width: int = 32
    real: int = 64
    networks: int = 2  # trained on each set
    judged: int = 600  # epochs times images per class; the published 1000 epochs take hours
    longest: int = 200  # epochs, at most
    seeds: int = 3
    fewest: int = 12  # steps, also where the minutes are too few for that


@dataclass(frozen=True)
class Row:
    """One distilled set: what networks trained on it get right, and its asymmetry."""

    accuracy: float
    asymmetry: float


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    entries: list[Entry] = []
    loaded: dict[str, Any] = {}
    total = sum(cell.share for cell in plan.cells)
    begin = time.monotonic()
    shares = 0.0
    for cell in plan.cells:
        if cell.data not in loaded:
            loaded[cell.data] = images(data, cell.data)
        left = minutes - (time.monotonic() - begin) / 60
        entries += compare(plan, cell, loaded[cell.data], left * cell.share / (total - shares))
        shares += cell.share
    return entries


def images(data: Path, name: str) -> tuple[Any, Any, dict[str, Any]]:
    """Real images to distil, held-out ones, and what they are."""
    import torch

    import fallow
    from fallow.images.samples import digits
    from fallow.methods.shared.tiny import Real, squares

    if name == DIGITS:
        teach, ask = digits().split(0.7, seed=0)
        size = 8
    else:
        everything = fallow.open(archive(data, name))
        teach, ask = (everything.where(f"split = '{part}'") for part in ("train", "test"))
        size = 32
    parts: list[Any] = []
    for part in (teach, ask):
        rows, pixels = squares(part, size)
        codes, names = part.labels
        space = parts[0].space if parts else None
        parts.append(Real.of(pixels, torch.from_numpy(codes[rows]), names, space=space))
    about = {"name": name, "images": len(teach), "held_out": len(ask),
             "fingerprint": teach.fingerprint}  # fmt: skip
    return parts[0], parts[1], about


def compare(plan: Plan, cell: Cell, loaded: tuple[Any, Any, Any], minutes: float) -> list[Entry]:
    """All rows of one cell, and the entries made of them."""
    real, held, about = loaded
    mirror = cell.data != DIGITS
    begin = time.monotonic()
    began = start(plan, cell, real, 0)
    judging = timed(lambda: judged(plan, cell, real, held, mirror, began, 0, 1))
    few = 3
    distilling = timed(lambda: distilled(plan, cell, real, "mirror", mirror, 0, few)) / few
    sets = plan.seeds * len(COPIES)
    # random real images are judged too; the rows without copies cost less than the timed one
    spare = 60 * minutes - (time.monotonic() - begin)
    spare -= plan.networks * judging * (sets + plan.seeds)
    steps = int(max(plan.fewest, min(cell.most, spare / (sets * distilling))))
    found: dict[str, list[Row]] = {}
    for seed in range(plan.seeds):
        for row, copies in COPIES.items():
            made = distilled(plan, cell, real, copies, mirror, seed, steps)
            found.setdefault(row, []).append(
                judged(plan, cell, real, held, mirror, made, seed, plan.networks)
            )
        began = start(plan, cell, real, seed)
        found.setdefault("random real", []).append(
            judged(plan, cell, real, held, mirror, began, seed, plan.networks)
        )
    spent = budget(minutes, begin, steps=steps)
    observed = {
        row: {key: [asdict(one)[key] for one in rows] for key in ("accuracy", "asymmetry")}
        for row, rows in found.items()
    }
    pairs = (
        [(f"FYI improves {cell.name}", "fyi", "host"),
         (f"FYI improves {cell.name} more than random flips", "fyi", "random flips")]
        if mirror
        else [(f"FYI harms {cell.name}", "host", "fyi")]
    )  # fmt: skip
    pairs.append((f"{cell.name} beats random real images", "host", "random real"))
    return [
        entry(
            claim, ours, theirs,
            data=about,
            budget=spent,
            seeds=[(a.accuracy, b.accuracy)
                   for a, b in zip(found[ours], found[theirs], strict=True)],
            settings=asdict(replace(plan, cells=(cell,))) | {"evaluation_mirrors": mirror},
            observed=observed,
        )
        for claim, ours, theirs in pairs
    ]  # fmt: skip


def host(plan: Plan, cell: Cell, real: Any, copies: str, mirror: bool, seed: int) -> Any:
    from fallow.methods.distil import find_host
    from fallow.train.method import make_settings

    kind = find_host(cell.host)
    settings = make_settings(
        kind.Settings,
        {
            "width": plan.width, "real": plan.real, "depth": cell.depth, "copies": copies,
            "flip": "always" if mirror else "never", **dict(cell.settings),
        },
    )  # fmt: skip
    return kind(real, cell.per_class, settings, seed=seed)


def distilled(
    plan: Plan, cell: Cell, real: Any, copies: str, mirror: bool, seed: int, steps: int
) -> Any:
    from fallow.methods.shared.tiny import refine

    return refine(host(plan, cell, real, copies, mirror, seed), steps=steps).pixels


def start(plan: Plan, cell: Cell, real: Any, seed: int) -> Any:
    """The real images that all sets of a seed begin as."""
    return host(plan, cell, real, "none", True, seed).pixels.detach()


def judged(
    plan: Plan,
    cell: Cell,
    real: Any,
    held: Any,
    mirror: bool,
    pixels: Any,
    seed: int,
    networks: int,
) -> Row:
    """Held-out accuracy of fresh networks; the same initial weights for every row of a seed."""
    import torch

    from fallow.methods.distil.fyi import asymmetry
    from fallow.methods.shared.coreset import accuracy_of, trained

    classes = len(real.names)
    epochs = min(plan.longest, plan.judged // cell.per_class)
    labels = torch.arange(classes).repeat_interleave(cell.per_class)
    scores = [
        accuracy_of(
            trained(
                pixels, labels, classes, seed=1000 * seed + number, epochs=epochs,
                mirror=mirror, width=plan.width, depth=cell.depth,
            ),
            held,
        )
        for number in range(networks)
    ]  # fmt: skip
    return Row(mean(scores), float(asymmetry(pixels).mean()))


def timed(work: Callable[[], Any]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin
