"""UC against nothing, chance and label-aware noise, under label maps it never saw.

Per data set a SimCLR encoder is trained on the images without labels; a seed then draws UC's
patterns, random signs for the same clusters, error-minimising patterns made with the true classes,
and the strangers. Every stranger is a small ResNet trained from scratch on one kind of copy under
one label map and asked about clean test images. What is compared is the accuracy it lost beside
a stranger who had the originals: more is better protection. `--minutes` sets the time of surrogate
and patterns and, from a timed training, how long strangers train.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.photos import archive
from torch import Tensor, nn

from claims.record import Entry, budget, entry, over_sets

SIDES = {"cifar10_subset": 32, "tiny_imagenet50": 64, "clothing_cc0": 64}
ROWS = ("clean", "random signs", "error-minimising", "uc")
MAPS = ("classes", "pairs of classes", "thirds", "halves")
OTHERS = ("JPEG 90", "crop + flip")  # of the classes


@dataclass(frozen=True)
class Plan:
    """What all rows share; UC's own settings are fallow's defaults but for these."""

    sets: tuple[str, ...] = tuple(SIDES)
    images: int = 1500  # that strangers learn from, at most
    asked: int = 1000
    surrogate: str = "resnet8/16"
    clusters: int = 10
    eps: float = 16.0
    batch: int = 64
    width: int = 16  # of the generators and of the strangers
    blocks: int = 2
    epochs: int = 15  # of a stranger, at most
    fewest: int = 4
    seeds: int = 3
    surrogate_share: float = 0.1  # of the minutes of a data set
    patterns_share: float = 0.2  # of them, for UC of all seeds


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return over_sets(plan.sets, minutes, lambda name, share: one_set(data, name, share, plan))


@dataclass(frozen=True)
class Pictures:
    """uint8 pictures of one size, N S S 3, and their classes."""

    pixels: np.ndarray
    labels: np.ndarray

    @property
    def tensor(self) -> Tensor:
        return torch.from_numpy(self.pixels).permute(0, 3, 1, 2)


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    begin = time.monotonic()
    everything = fallow.open(archive(data, name))
    names = everything.labels[1]
    train = drawn(everything.where("split = 'train'"), plan.images, SIDES[name], names)
    test = drawn(everything.where("split = 'test'"), plan.asked, SIDES[name], names)
    images = fallow.open(list(train.pixels))
    encoder = surrogate(images, plan, SIDES[name], minutes * plan.surrogate_share)
    results, about = [], []
    epochs = 0
    for seed in range(plan.seeds):
        each = minutes * plan.patterns_share / plan.seeds
        method, members = patterns(images, encoder, plan, SIDES[name], seed, each)
        if not epochs:
            left = 60 * minutes - (time.monotonic() - begin)
            left -= 60 * each * (plan.seeds - 1)
            epochs = affordable(train, test, plan, left)
        copies = made(train, method, members, plan, seed)
        results.append(strangers(train, test, copies, plan, epochs, seed))
        about.append(facts(train, copies["uc"], members))
    shared = {
        "data": {"name": name, "images": len(train.pixels), "asked": len(test.pixels),
                 "fingerprint": everything.fingerprint},
        "budget": budget(minutes, begin, stranger_epochs=epochs),
        "settings": asdict(plan) | {"side": SIDES[name], "uc": method.settings.model_dump()},
        "observed": {"accuracies": results, "of the copies": about},
    }  # fmt: skip
    return [
        entry(
            f"{name}: {claim}", ours, theirs,
            seeds=[(lost(one, ours, column), lost(one, theirs, column)) for one in results],
            **shared,
        )
        for claim, ours, theirs, column in compared()
    ]  # fmt: skip


def compared() -> Iterator[tuple[str, str, str, str]]:
    """Claim, method, baseline and column of every entry."""
    for column in MAPS:
        yield f"UC lowers what a stranger learns ({column})", "uc", "clean", column
    for column in MAPS:
        yield f"UC lowers it more than random signs ({column})", "uc", "random signs", column
    for column in MAPS[1:]:
        yield (
            f"UC lowers it more than label-aware noise for other labels ({column})",
            "uc", "error-minimising", column,
        )  # fmt: skip
    yield (
        "label-aware noise lowers its own labels more than UC (classes)",
        "error-minimising", "uc", "classes",
    )  # fmt: skip
    for column in OTHERS:
        yield f"UC lowers it against {column} (classes)", "uc", "clean", column


def lost(result: dict[str, dict[str, float]], row: str, column: str) -> float:
    """Accuracy lost beside a stranger who had the originals, trained in the same way."""
    return result["clean"][column] - result[row][column]


def drawn(images: Any, count: int, side: int, names: list[str]) -> Pictures:
    """At most `count` pictures, central squares of one side."""
    from fallow.encoders import Preprocessing

    some = images.sample(count, seed=0)
    codes = np.searchsorted(names, np.array(some.column("label"), str))
    rows, pixels = [], []
    for row, small in some.map(Preprocessing(side, side).fit, side=side):
        if isinstance(small, Tensor):
            rows.append(row)
            pixels.append(small.permute(1, 2, 0).numpy())
    return Pictures(np.stack(pixels), codes[rows])


def surrogate(images: Any, plan: Plan, side: int, minutes: float) -> Any:
    """An encoder of these very images, trained without labels."""
    import fallow
    from fallow.methods import find
    from fallow.train import fit, make_settings

    kind = find("learn", "simclr")
    settings = make_settings(
        kind.Settings, {"minutes": minutes, "size": side, "batch": min(128, len(images) // 2)}
    )
    fresh = fallow.encoder(plan.surrogate, seed=0, size=side)
    return fit(kind, images, encoder=fresh, settings=settings).encoder


def patterns(
    images: Any, encoder: Any, plan: Plan, side: int, seed: int, minutes: float
) -> tuple[Any, np.ndarray]:
    """UC, trained; and the cluster of each image."""
    from fallow.methods import find
    from fallow.train import fit, make_settings

    kind: Any = find("protect", "uc")
    values = {name: getattr(plan, name) for name in ("clusters", "eps", "batch", "width", "blocks")}
    settings = make_settings(kind.Settings, values | {"minutes": minutes, "size": side})
    method: Any = fit(kind, images, encoder=encoder, settings=settings, seed=seed).method
    return method, method.members[: len(images)].numpy()


def made(
    train: Pictures, method: Any, members: np.ndarray, plan: Plan, seed: int
) -> dict[str, np.ndarray]:
    """The copies of every row, N S S 3."""
    from fallow.views.perturb import random_signs, stepped, steps_at

    side, count = train.pixels.shape[1], len(method.centres)
    size = (side, side)
    aware = error_minimising(train, method.budget, plan, seed)
    chosen = {
        "random signs": (random_signs(count, size, method.budget, seed), members),
        "error-minimising": (aware, train.labels),
        "uc": (method.all_patterns(), members),
    }
    copies = {"clean": train.pixels}
    for row, (each, group) in chosen.items():
        changes = np.stack([steps_at(one, size, method.budget) for one in each])
        copies[row] = stepped(train.pixels, changes[group])
    return copies


def error_minimising(
    train: Pictures, budget: Any, plan: Plan, seed: int, turns: int = 10
) -> Tensor:
    """A pattern for each class that makes its pictures easy: network and patterns take turns."""
    from fallow.encoders.resnet import resnet
    from fallow.views.perturb import added

    torch.manual_seed(seed)
    body = resnet("resnet8", width=plan.width, stem="small" if train.pixels.shape[1] <= 32
                  else "imagenet")  # fmt: skip
    model = nn.Sequential(body, nn.Linear(body.dimension, int(train.labels.max()) + 1))
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    pictures, labels = train.tensor, torch.from_numpy(train.labels)
    side = pictures.shape[2]
    noise = torch.zeros(int(labels.max()) + 1, 3, side, side)
    for turn in range(turns):
        for part in torch.randperm(len(labels)).split(plan.batch)[: 20 * 2]:
            moves = len(part) > 1 and turn % 2 == 0
            noise.requires_grad_(not moves)
            x = added(pictures[part].float() / 255, noise[labels[part]])
            loss = F.cross_entropy(model(2 * x - 1), labels[part])
            if moves:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            else:
                (slope,) = torch.autograd.grad(loss, noise)
                with torch.no_grad():
                    noise = budget.clamped(noise - budget.limit / 10 * slope.sign())
    return noise.detach()


def strangers(
    train: Pictures,
    test: Pictures,
    copies: dict[str, np.ndarray],
    plan: Plan,
    epochs: int,
    seed: int,
    others: Sequence[str] = OTHERS,
) -> dict[str, dict[str, float]]:
    """Accuracy of a stranger for every kind of copies and column."""
    from fallow.measure.stranger import jpeg, label_maps

    maps = {one.name: one for one in label_maps(int(train.labels.max()) + 1, seed)}
    found: dict[str, dict[str, float]] = {}
    for row in copies:
        pixels = torch.from_numpy(copies[row]).permute(0, 3, 1, 2)
        told = {name: one_stranger(pixels, train, test, maps[name], plan, epochs, seed)
                for name in MAPS}  # fmt: skip
        classes = maps["classes"]
        if "JPEG 90" in others:
            packed = torch.from_numpy(np.stack([jpeg(one) for one in copies[row]]))
            packed = packed.permute(0, 3, 1, 2)
            told["JPEG 90"] = one_stranger(packed, train, test, classes, plan, epochs, seed)
        if "crop + flip" in others:
            flipped = one_stranger(pixels, train, test, classes, plan, epochs, seed, True)
            told["crop + flip"] = flipped
        found[row] = told
    return found


def one_stranger(
    pixels: Tensor,
    train: Pictures,
    test: Pictures,
    how: Any,
    plan: Plan,
    epochs: int,
    seed: int,
    augment: bool = False,
) -> float:
    from fallow.measure.stranger import trained_by_stranger

    return trained_by_stranger(
        pixels, how.groups[train.labels], test.tensor, how.groups[test.labels],
        classes=how.count, epochs=epochs, width=plan.width, augment=augment, seed=seed,
    )  # fmt: skip


def affordable(train: Pictures, test: Pictures, plan: Plan, seconds: float) -> int:
    """Epochs of a stranger that fit, from one timed epoch."""
    from fallow.measure.stranger import label_maps

    how = label_maps(int(train.labels.max()) + 1)[0]
    begin = time.monotonic()
    one_stranger(train.tensor, train, test, how, plan, 1, 0)
    epoch = time.monotonic() - begin
    trainings = plan.seeds * len(ROWS) * (len(MAPS) + len(OTHERS))
    return int(np.clip(0.9 * seconds / trainings / epoch, plan.fewest, plan.epochs))


def facts(train: Pictures, copies: np.ndarray, members: np.ndarray) -> dict[str, float]:
    """Purity of the clusters in true classes, and how much was changed."""
    from fallow.measure import psnr, ssim

    shared = np.zeros((members.max() + 1, train.labels.max() + 1))
    np.add.at(shared, (members, train.labels), 1)
    some = range(0, len(copies), max(1, len(copies) // 50))
    return {
        "purity": float(shared.max(1).sum() / len(members)),
        "psnr": float(np.median([psnr(train.pixels[i], copies[i]) for i in some])),
        "ssim": float(np.median([ssim(train.pixels[i], copies[i]) for i in some])),
    }
