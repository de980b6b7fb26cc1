"""Several trainings that differ in one thing, over paired seeds: what claims of `learn` share.

All arms of a seed start from the same weights and see the same images. Each trains for the same
epochs, chosen from a few timed steps so that everything fits into the minutes (at least one), or
for as many minutes as another arm took. Judged on the archive's test images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.record import Entry, entry

NEIGHBOURS, TEMPERATURE = 20, 0.07


@dataclass(frozen=True)
class Plan:
    """What all arms share."""

    archive: str = "cifar10_subset"
    encoder: str = "resnet8/16"  # small enough for some epochs in minutes on a CPU
    images: int = 5000
    asked: int | None = None  # of the test images; none: all
    size: int = 32
    batch: int = 128
    seeds: int = 3
    minutes: float | None = None  # of every run; none: equal epochs


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a method (slug, class, or None: no training) and its settings."""

    method: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    minutes_of: str | None = None  # train as long as this arm did, not for as many epochs
    rates: tuple[float, ...] = ()  # learning rates to choose from, on training images alone


@dataclass(frozen=True)
class Outcome:
    """One training: what it is judged by, what it cost, what was seen on the way."""

    knn: float  # weighted k-NN, train labels to test images
    probe: float  # linear probe
    epochs: float
    minutes: float
    seen: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What is left of a run, for whatever else a claim wants to know."""

    encoder: Any
    history: Sequence[Mapping[str, float]]
    vectors: np.ndarray  # of the training images
    method: Any = None
    seed: int = 0


Watch = Callable[[Any, Any], dict[str, float]]  # method, now -> what to log after an epoch
Observe = Callable[[Trained], dict[str, Any]]


@dataclass(frozen=True)
class Trials:
    """All outcomes of all arms, and what they rest on."""

    plan: Plan
    arms: dict[str, Arm]
    outcomes: dict[str, list[Outcome]]
    floors: dict[str, Any]
    bank: Any
    minutes: float
    spent: float

    def compare(self, claim: str, ours: str, theirs: str, measure: str = "knn") -> Entry:
        """The entry of one comparison between two arms."""
        sides = [self.outcomes[ours], self.outcomes[theirs]]
        told = {name: dict(self.arms[name].settings) for name in (ours, theirs)}
        return entry(
            claim,
            ours,
            theirs,
            data={
                "name": self.plan.archive,
                "images": len(self.bank),
                "fingerprint": self.bank.fingerprint,
            },
            budget={
                "minutes_asked": self.minutes,
                "minutes_spent": self.spent,
                "epochs": [mean(one.epochs for one in side) for side in sides],
                "minutes_per_run": [mean(one.minutes for one in side) for side in sides],
            },
            seeds=[
                (_measured(a, measure), _measured(b, measure)) for a, b in zip(*sides, strict=True)
            ],
            settings=asdict(self.plan) | {"measure": measure, "arms": told},
            observed={
                "floors": self.floors,
                "outcomes": {
                    name: [asdict(one) for one in side]
                    for name, side in zip((ours, theirs), sides, strict=True)
                },
            },
        )


def _measured(outcome: Outcome, measure: str) -> float:
    if measure in ("knn", "probe"):
        return float(getattr(outcome, measure))
    return float(outcome.seen[measure])


def run(
    data: Path,
    minutes: float,
    arms: Mapping[str, Arm],
    plan: Plan | None = None,
    *,
    watch: Callable[[Any], Watch] | None = None,
    observe: Observe = lambda trained: {},
) -> Trials:
    """Train every arm once per seed."""
    import fallow

    plan = plan or Plan()
    begin = time.monotonic()
    everything = fallow.open(archive(data, plan.archive))
    bank = everything.where("split = 'train'").sample(plan.images, seed=0)
    test = asked(everything, plan)
    see = watch(bank) if watch else None
    floors: dict[str, Any] = {
        "raw pixels": judged(pixels(bank, plan.size), bank, pixels(test, plan.size), test)
    }
    mark = time.monotonic()
    floors["untrained"] = [untrained(plan, bank, test, seed) for seed in range(plan.seeds)]
    judging = (time.monotonic() - mark) / plan.seeds
    few = bank.sample(min(6 * plan.batch, len(bank)), seed=0)
    chosen = {name: tuned(plan, arm, bank) for name, arm in arms.items()}
    costs: dict[str, float] = {}
    for name, arm in chosen.items() if plan.minutes is None else ():
        train(plan, arm, few, test, 0, epochs=1)  # the first one compiles
        costs[name] = train(plan, arm, few, test, 0, epochs=1).minutes * len(bank) / len(few)
    left = minutes - (time.monotonic() - begin + judging * plan.seeds * len(arms)) / 60
    an_epoch = sum(costs.get(arm.minutes_of or name, 0.0) for name, arm in chosen.items())
    epochs = max(1, int(left / (plan.seeds * max(an_epoch, 1e-9))))
    outcomes: dict[str, list[Outcome]] = {name: [] for name in chosen}
    for seed in range(plan.seeds):
        for name, arm in chosen.items():
            budget: dict[str, Any] = {"epochs": epochs}
            if plan.minutes is not None:
                budget = {"minutes": plan.minutes}
            elif arm.minutes_of:
                budget = {"minutes": outcomes[arm.minutes_of][-1].minutes}
            one = train(plan, arm, bank, test, seed, watch=see, observe=observe, **budget)
            outcomes[name].append(one)
            print(f"{name}, seed {seed}: k-NN {one.knn:.4f}, probe {one.probe:.4f}", flush=True)
    spent = (time.monotonic() - begin) / 60
    return Trials(plan, chosen, outcomes, floors, bank, minutes, spent)


def asked(everything: Any, plan: Plan) -> Any:
    """The test images."""
    test = everything.where("split = 'test'")
    return test if plan.asked is None else test.sample(plan.asked, seed=0)


def tuned(plan: Plan, arm: Arm, bank: Any) -> Arm:
    """The arm with the rate that does best on training images kept aside, after two passes."""
    if not arm.rates:
        return arm
    teach, ask = bank.split(0.8, seed=7)
    tried = {}
    for rate in arm.rates:
        given = replace(arm, settings={**arm.settings, "learning_rate": rate})
        tried[rate] = train(plan, given, teach, ask, seed=100, epochs=2).knn
    best = max(tried, key=lambda rate: tried[rate])
    return replace(arm, settings={**arm.settings, "learning_rate": best}, rates=())


def train(
    plan: Plan,
    arm: Arm,
    bank: Any,
    test: Any,
    seed: int,
    *,
    watch: Watch | None = None,
    observe: Observe = lambda trained: {},
    **budget: float,
) -> Outcome:
    """The one place that knows how fallow trains."""
    import fallow
    from fallow.methods import find
    from fallow.train import fit, make_settings

    encoder = fallow.encoder(plan.encoder, seed=seed, size=plan.size)
    kept: dict[str, Any] = {"history": [], "seed": seed}
    warned: list[str] = []
    steps, seconds = 0, 0.0
    if arm.method is not None:
        kind = find("learn", arm.method) if isinstance(arm.method, str) else arm.method
        told = {"size": plan.size, "batch": plan.batch, **arm.settings, **budget}
        settings = make_settings(kind.Settings, told)
        fitted = fit(kind, bank, encoder=encoder, settings=settings, seed=seed, each_epoch=watch)
        kept |= {"history": fitted.history, "method": fitted.method}
        encoder, steps, seconds = fitted.encoder, fitted.steps, fitted.seconds
        warned = fitted.warnings
    vectors = encoder.embed(bank)
    scores = judged(vectors, bank, encoder.embed(test), test)
    return Outcome(
        **scores,
        epochs=steps * plan.batch / len(bank),
        minutes=seconds / 60,
        seen=late(kept["history"])
        | {"warnings": warned}
        | observe(Trained(encoder, vectors=vectors, **kept)),
    )


def late(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of what was logged over the last fifth of the steps."""
    names = {name for line in history for name in line} - {"step", "epoch", "rate"}
    means = {}
    for name in sorted(names):
        values = [line[name] for line in history if name in line]
        means[name] = float(np.mean(values[-max(1, len(values) // 5) :]))
    return means


def untrained(plan: Plan, bank: Any, test: Any, seed: int) -> dict[str, float]:
    import fallow

    fresh = fallow.encoder(plan.encoder, seed=seed, size=plan.size)
    return judged(fresh.embed(bank), bank, fresh.embed(test), test)


def pixels(images: Any, side: int) -> np.ndarray:
    from fallow.measure.scores import raw_pixels

    return raw_pixels(images, side)


def judged(bank: np.ndarray, banked: Any, queries: np.ndarray, queried: Any) -> dict[str, float]:
    """k-NN and linear probe from the bank's labels."""
    from fallow.measure import knn_accuracy, logistic_probe

    labels, names = banked.labels
    wanted = queried.labels_in(names)
    near = knn_accuracy(bank, labels, queries, wanted, NEIGHBOURS, TEMPERATURE)
    return {"knn": near.top1, "probe": logistic_probe(bank, labels, queries, wanted).top1}
