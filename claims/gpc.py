"""GPC: does it count classes nobody named, and does it sort better than what it builds on?

Digits come with scikit-learn; the other sets bring a column gcd that says which labels may be
seen. A seed draws nine tenths of the images (of the digits also which are labelled) and all that
is random in the methods, the same for both sides. The count begins once below the truth and once
above. All, Old and New are shares of unlabelled images under one matching. The encoder is the
built-in one. What `--minutes` leaves after the methods
that need no training is shared by those that do, on the sets named in the plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.record import Entry, budget, entry

ALLOWED = 0.15  # of the true number of classes


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    sets: tuple[str, ...] = ("digits", "tiny_imagenet50", "grocery", "omniglot_small1")
    trained: tuple[str, ...] = ("digits", "grocery")
    share: float = 0.9  # of the images, drawn by the seed
    below: float = 0.6  # of the true number of classes, where the count begins
    above: float = 1.6
    seeds: int = 3
    epochs: float | None = None  # of the trained rows, instead of what the minutes allow
    encoder: str = "tiny"


@dataclass(frozen=True)
class Set:
    """One drawing of a set: images whose label is known only where the method may see it."""

    images: Any
    known: np.ndarray  # code, or -1
    truth: np.ndarray  # code; old classes first
    old: int
    classes: int


@dataclass
class Outcome:
    """What one method said: how many classes, and how well it sorted."""

    count: int
    all: float
    old: float
    new: float

    def error(self, classes: int) -> float:
        return abs(self.count - classes) / classes


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    begin = time.monotonic()
    drawn = {name: [draw(data, name, seed, plan) for seed in range(plan.seeds)]
             for name in plan.sets}  # fmt: skip
    found: dict[str, dict[str, list[Outcome]]] = {}
    for name, each in drawn.items():
        rows: dict[str, list[Outcome]] = {}
        for seed, one in enumerate(each):
            for row, outcome in frozen(one, seed, plan).items():
                rows.setdefault(row, []).append(outcome)
        found[name] = rows
    left = minutes - (time.monotonic() - begin) / 60
    runs = 2 * plan.seeds * len(plan.trained)
    for name in plan.trained:
        for seed, one in enumerate(drawn[name]):
            for row, outcome in taught(one, seed, max(0.2, left / max(runs, 1)), plan).items():
                found[name].setdefault(row, []).append(outcome)
    spent = budget(minutes, begin)
    entries: list[Entry] = []
    for name, each in drawn.items():
        first = each[0]
        about = {
            "data": {"name": name, "images": len(first.images), "classes": first.classes,
                     "old": first.old, "fingerprint": first.images.fingerprint},
            "budget": spent,
            "settings": asdict(plan),
            "observed": {row: [asdict(one) for one in many] for row, many in found[name].items()},
        }  # fmt: skip
        entries += compared(name, found[name], [one.classes for one in each], about)
    return entries


def compared(
    name: str, rows: dict[str, list[Outcome]], classes: list[int], about: dict[str, Any]
) -> list[Entry]:
    """The entries of one set."""

    def errors(row: str) -> list[float]:
        return [one.error(count) for one, count in zip(rows[row], classes, strict=True)]

    made = [
        entry(
            f"{name}: GPC's count is within {ALLOWED:.0%} of the truth, {side}",
            f"gpc, {side}", f"an error of {ALLOWED}",
            seeds=[(ALLOWED - one, 0.0) for one in errors(f"gpc, {side}")], **about,
        )
        for side in ("from below", "from above", "from all starts")
    ]  # fmt: skip
    made.append(
        entry(
            f"{name}: GPC counts better than a search by labelled accuracy",
            "gpc, from all starts", "gcd, search",
            seeds=[(-a, -b) for a, b in zip(errors("gpc, from all starts"), errors("gcd, search"),
                                            strict=True)],
            **about,
        )
    )  # fmt: skip
    for ours, theirs, measure in COMPARED:
        if ours in rows and theirs in rows:
            made.append(
                entry(
                    f"{name}: {ours} sorts better than {theirs}, {measure}", ours, theirs,
                    seeds=[(getattr(a, measure), getattr(b, measure))
                           for a, b in zip(rows[ours], rows[theirs], strict=True)],
                    **about,
                )
            )  # fmt: skip
    return made


COMPARED = [
    *(("gpc, from all starts", "k-means, true count", m) for m in ("all", "old", "new")),
    *(("gpc, true count", "gcd, true count", m) for m in ("all", "old", "new")),
    *(("gcd, true count", "k-means, true count", m) for m in ("all", "old", "new")),
    *(("gpc, trained", "gpc, from all starts", m) for m in ("all", "old", "new")),
    *(("gpc, trained", "simgcd, trained", m) for m in ("all", "old", "new")),
]


# --- rows ---


def frozen(one: Set, seed: int, plan: Plan) -> dict[str, Outcome]:
    """The methods that take the encoder as it is."""
    from fallow.inventory.semi import semi_kmeans
    from fallow.methods.discover import gcd, gpc
    from fallow.vectors.space import unit

    seen = made(plan.encoder).embed(one.images)
    blind = np.full(len(seen), -1)
    low = max(one.old + 1, round(plan.below * one.classes))
    high = round(plan.above * one.classes)
    rows: dict[str, Callable[[], np.ndarray]] = {
        "gpc, from below": lambda: counted(seen, one.known, low, seed),
        "gpc, from above": lambda: counted(seen, one.known, high, seed),
        "gpc, from all starts": lambda: gpc.discover(seen, one.known, None, seed).member,
        "gpc, true count": lambda: (
            gpc.discover(seen, one.known, gpc.GPC.Settings(classes=one.classes), seed).member
        ),
        "gcd, search": lambda: (
            gcd.discover(seen, one.known, gcd.Settings(most=4 * one.classes), seed).member
        ),
        "gcd, true count": lambda: (
            gcd.discover(seen, one.known, gcd.Settings(classes=one.classes), seed).member
        ),
        "k-means, true count": lambda: (
            semi_kmeans(unit(seen), blind, one.classes, starts=20, seed=seed).member
        ),
    }
    return {row: judged(one, make()) for row, make in rows.items()}


def counted(seen: np.ndarray, known: np.ndarray, begin: int, seed: int) -> np.ndarray:
    """GPC from one number of classes."""
    from fallow.inventory.mixture import settle
    from fallow.methods.discover import gpc
    from fallow.vectors.space import unit

    look = gpc.look_at(unit(seen), known, gpc.GPC.Settings(), seed)
    return settle(look.points, known, begin, look.prior, log_alpha=look.log_alpha, seed=seed).member


def taught(one: Set, seed: int, minutes: float, plan: Plan) -> dict[str, Outcome]:
    """The methods that train, each for so long; SimGCD is told the true number."""
    from fallow.methods import find
    from fallow.train import fit, make_settings

    rows = {}
    for slug, more in (("gpc", {}), ("simgcd", {"classes": one.classes})):
        kind = find("discover", slug)
        network = made(plan.encoder)
        budget = {"epochs": plan.epochs} if plan.epochs else {"minutes": minutes}
        values = {"size": min(network.size, 64), "batch": 128, **budget, **more}
        fitted = fit(kind, labelled(one), encoder=network,
                     settings=make_settings(kind.Settings, values), seed=seed)  # fmt: skip
        seen = fitted.encoder.embed(one.images)
        rows[f"{slug}, trained"] = judged(one, fitted.method.discover(seen, one.known, seed).member)  # type: ignore[operator]
    return rows


def judged(one: Set, member: np.ndarray) -> Outcome:
    from fallow.measure import discovery_accuracy

    free = one.known < 0
    accuracy = discovery_accuracy(one.truth[free], member[free], one.truth[free] < one.old)
    return Outcome(len(np.unique(member)), *accuracy)


# --- images and encoders ---


def draw(data: Path, name: str, seed: int, plan: Plan) -> Set:
    """Nine tenths of a set, and what a method may know of it."""
    import fallow
    from fallow.images.samples import digits

    random = np.random.default_rng(seed)
    if name == "digits":
        everything = digits()
    else:
        everything = fallow.open(archive(data, name)).where("gcd is not null")
    images = everything.sample(round(plan.share * len(everything)), seed)
    codes, names = images.labels
    if name == "digits":
        seen = (codes < 5) & (random.random(len(codes)) < 0.5)
    else:
        seen = images.column("gcd") == "labelled"
    old = [names[code] for code in np.unique(codes[seen])]
    order = {label: place for place, label in
             enumerate([*old, *sorted({names[code] for code in codes} - set(old))])}  # fmt: skip
    truth = np.array([order[names[code]] for code in codes])
    return Set(images, np.where(seen, truth, -1), truth, len(old), len(order))


def labelled(one: Set) -> Any:
    """The images with only the labels a method may see."""
    import pyarrow as pa

    names = [f"{code:04d}" if code >= 0 else None for code in one.known.tolist()]
    table = pa.table({"path": one.images.table.column("path"),
                      "label": pa.array(names, pa.string())})  # fmt: skip
    return one.images.join(table)


def made(name: str) -> Any:
    import fallow

    return fallow.encoder(name)
