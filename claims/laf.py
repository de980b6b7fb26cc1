"""LAF on photos: a class or scattered images are removed, without labels, in eight rows.

Per seed one classifier is trained, and retrained without the forgotten images. The other rows edit
the trained one: LAF, LAF without either of its updates, LAF with a few labels to repair the head,
and two that need all labels: further training on the kept images, gradient ascent on the forgotten
ones. Class removal forgets the first class; random removal 40 % of each of the last half of the
classes. `--minutes` sets how many images are drawn from each set, from a timed first training.

Two measures are compared, more is better: *closeness*, 1 - the mean distance of the accuracies
(kept, forgotten, test; for a class both parts of the test) to those of the retrained model, and
*secrecy*, 1 - the distance of the membership attack's AUROC to that on the retrained model.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.photos import archive

from claims.record import Entry, budget, entry, over_sets

SIZES = {"cifar10_subset": 32, "tiny_imagenet50": 32, "clothing_cc0": 32}
TASKS = ("class", "random")
LABELS = "with all labels"


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    sets: tuple[str, ...] = tuple(SIZES)
    encoder: str = "resnet8/8"
    side: int = 32  # at which it looks
    epochs: float = 30
    batch: int = 64
    learning_rate: float = 0.4
    smallest: float = 0.8  # share of an image that crops keep: little, so that images are learnt
    images: int = 2000  # for training, at most; fewer where the minutes are short
    classes: int = 10  # at most: the first by name
    share: float = 0.4  # of each of the last half of the classes, for random removal
    steps: int = 300  # of every row that edits, in both tasks
    edited: int = 16  # images a step
    autoencoder_steps: int = 1000
    repair: int = 10  # labels of each class
    tuning_rate: float = 1e-4  # of the rows with labels
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return over_sets(plan.sets, minutes, lambda name, share: one_set(data, name, share, plan))


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    everything = first_classes(data, name, plan.classes)
    train, test = (everything.where(f"split = '{part}'") for part in ("train", "test"))
    count = affordable(train, test, minutes, plan)
    begin = time.monotonic()
    found: dict[str, dict[str, list[dict[str, Any]]]] = {task: {} for task in TASKS}
    for seed in range(plan.seeds):
        drawn = train.sample(count, seed=seed)
        original, _ = trained(drawn, plan, seed)
        for task in TASKS:
            for row in rows(original, drawn, test, task, plan, seed):
                found[task].setdefault(row["model"], []).append(row)
    spent = budget(minutes, begin)
    return [
        one
        for task in TASKS
        for one in compared(found[task], f"{name}, {task} removal", plan, {
            "data": {"name": name, "images": len(train), "drawn": count, "test": len(test),
                     "fingerprint": everything.fingerprint},
            "budget": spent,
        })
    ]  # fmt: skip


def first_classes(data: Path, name: str, count: int) -> Any:
    import fallow

    images = fallow.open(archive(data, name))
    codes, _ = images.labels
    return images.select(codes < count)


def affordable(train: Any, test: Any, minutes: float, plan: Plan) -> int:
    """How many images a set's minutes allow, from one seed of everything on a few of them."""
    few = train.sample(min(len(train), 40 * plan.classes), seed=1000)
    begin = time.monotonic()
    original, once = trained(few, plan, 1000)
    for task in TASKS:
        rows(original, few, test, task, plan, 1000)
    whole = time.monotonic() - begin
    # trainings (three of a seed) grow with the images; the other rows have a fixed number of steps
    fixed = max(0.0, whole - 3 * once)
    spare = 60 * minutes - whole - plan.seeds * fixed
    count = int(len(few) * spare / (plan.seeds * 3 * once))
    return max(min(len(few), len(train)), min(plan.images, len(train), count))


# --- rows ---


def rows(
    original: Any,
    images: Any,
    test: Any,
    task: str,
    plan: Plan,
    seed: int,
    variants: Collection[str] | None = None,  # none: all
    labelled: bool = True,
) -> list[dict[str, Any]]:
    """Measures of all eight models on one draw, or of some variants and none that needs labels."""
    from fallow.measure.forgetting import Judge
    from fallow.methods.forget import laf
    from fallow.methods.shared.forgetting import parts_of, pool_of, shelves_of

    device = torch.device("cpu")
    doomed = doomed_rows(images, task, plan, seed)
    # the test images are another collection, and no column tells the drawn ones apart
    parts = parts_of(images.column("path")[doomed].tolist(), images, test)
    shelves = shelves_of(parts, original.preprocessing)
    pools = {name: pool_of(shelf, original, device) for name, shelf in shelves.items()}
    codes = {
        name: part.labels_in(original.names)[shelves[name].rows]
        for name, part in parts.each.items()
    }
    judge = Judge(parts, shelves, device, seed)
    made = [judge.row("original", original)]
    retrained, seconds = trained(parts.kept, plan, seed)
    made.append(judge.row("retrained", retrained, seconds))
    for name in VARIANTS if variants is None else variants:
        options = VARIANTS[name]
        begin = time.monotonic()
        settings = laf.Settings(
            steps=plan.steps,
            batch=plan.edited,
            repair=plan.repair,
            autoencoder_steps=plan.autoencoder_steps,
            **options,
        )
        edited = laf.erase(original, pools["kept"], pools["forgotten"], settings, seed=seed)
        made.append(judge.row(name, edited.model, time.monotonic() - begin))
        if name == "LAF" and labelled:
            few = laf.few_of_each(codes["kept"], plan.repair, seed)
            look = pools["kept"].look
            pool = laf.Pool(len(few), lambda places, few=few, look=look: look(few[places]))
            fixed = copy.deepcopy(edited.model)
            laf.repair(fixed, pool, codes["kept"][few], settings, seed=seed)
            made.append(judge.row("LAF, repaired", fixed, time.monotonic() - begin))
    tuned_ways = (("further training", "kept", 1), ("ascent", "forgotten", -1))
    for name, which, sign in tuned_ways if labelled else ():
        begin = time.monotonic()
        tuned = descended(original, pools[which], codes[which], sign, plan, seed)
        made.append(judge.row(f"{name}, {LABELS}", tuned, time.monotonic() - begin))
    return made


VARIANTS: dict[str, dict[str, float]] = {
    "LAF": {},
    "LAF without unlearning": {"unlearning_rate": 0.0},
    "LAF without alignment": {"alignment_rate": 0.0},
}


def doomed_rows(images: Any, task: str, plan: Plan, seed: int) -> np.ndarray:
    """Which rows are to be forgotten."""
    codes, names = images.labels
    if task == "class":
        return np.flatnonzero(codes == 0)
    random = np.random.default_rng([seed, 5])
    last = range(len(names) // 2, len(names))
    drawn = [random.permutation(np.flatnonzero(codes == code)) for code in last]
    return np.sort(np.concatenate([rows[: round(plan.share * len(rows))] for rows in drawn]))


def trained(images: Any, plan: Plan, seed: int) -> tuple[Any, float]:
    """A classifier of these images, and its seconds."""
    import fallow
    from fallow.encoders.lite import Lite
    from fallow.methods.learn.supervised import Supervised
    from fallow.train import fit

    settings = Supervised.Settings(
        epochs=plan.epochs, size=plan.side, batch=plan.batch, smallest=plan.smallest,
        learning_rate=plan.learning_rate,
        precision="32", compile="off",
    )  # fmt: skip
    begin = time.monotonic()
    encoder = fallow.encoder(plan.encoder, seed=seed, size=plan.side)
    if isinstance(encoder.network, Lite):
        encoder.network.hold()
    fitted = fit(Supervised, images, encoder=encoder, settings=settings, seed=seed)
    method: Any = fitted.method
    return method.classifier.eval(), time.monotonic() - begin


def descended(model: Any, pool: Any, codes: np.ndarray, sign: int, plan: Plan, seed: int) -> Any:
    """A copy after as many cross-entropy steps, down (1) or up (-1), in eval mode as LAF's."""
    from fallow.train.loader import other_rows

    copied = copy.deepcopy(model).eval()
    adam = torch.optim.Adam(copied.parameters(), plan.tuning_rate)
    truth = torch.from_numpy(codes)
    for step in range(plan.steps):
        places, _ = other_rows(pool.count, min(plan.edited, pool.count), step, seed)
        loss = sign * F.cross_entropy(copied(pool.look(places)), truth[places])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return copied


# --- comparisons ---


def closeness(row: Mapping[str, Any], retrained: Mapping[str, Any]) -> float:
    """1 - the mean distance of the accuracies to the retrained model's.

    >>> one = {
    ...     "kept": 0.9,
    ...     "forgotten": 0.2,
    ...     "test": 0.7,
    ...     "test_kept": None,
    ...     "test_forgotten": None,
    ... }
    >>> round(closeness(one, one | {"forgotten": 0.5}), 4)
    0.9
    """
    whole = row["test_forgotten"] is None
    keys = ("kept", "forgotten", *(("test",) if whole else ("test_kept", "test_forgotten")))
    return 1 - float(np.mean([abs(row[key] - retrained[key]) for key in keys]))


def secrecy(row: Mapping[str, Any], retrained: Mapping[str, Any]) -> float:
    return 1 - abs(row["membership_auroc"] - retrained["membership_auroc"])


# claim, method, baseline, measure
COMPARED = [
    ("LAF is closer to retraining than no change", "LAF", "original", closeness),
    ("LAF is closer than further training", "LAF", f"further training, {LABELS}", closeness),
    ("LAF is closer than gradient ascent", "LAF", f"ascent, {LABELS}", closeness),
    ("the unlearning update helps", "LAF", "LAF without unlearning", closeness),
    ("the alignment update helps", "LAF", "LAF without alignment", closeness),
    ("a few labels bring LAF closer", "LAF, repaired", "LAF", closeness),
    ("LAF answers an attacker more like retraining", "LAF", "original", secrecy),
]


def compared(
    found: Mapping[str, list[dict[str, Any]]], what: str, plan: Plan, about: dict[str, Any]
) -> list[Entry]:
    """One entry for each claim, and one for the time."""
    again = found["retrained"]
    entries = [
        entry(
            f"{what}: {claim}", ours, theirs,
            seeds=[
                (measure(one, last), measure(other, last))
                for one, other, last in zip(found[ours], found[theirs], again, strict=True)
            ],
            settings=asdict(plan) | {"measure": measure.__name__},
            observed=dict(found) if number == 0 else None,  # all rows, once
            **about,
        )
        for number, (claim, ours, theirs, measure) in enumerate(COMPARED)
    ]  # fmt: skip
    rates = [(1 / a["seconds"], 1 / b["seconds"]) for a, b in zip(found["LAF"], again, strict=True)]
    entries.append(
        entry(
            f"{what}: LAF takes less time than retraining", "LAF", "retrained", seeds=rates,
            settings=asdict(plan) | {"measure": "runs per second"}, **about,
        )
    )  # fmt: skip
    return entries
