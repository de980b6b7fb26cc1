"""SimCLR training images per second beside lightly; the loop's own share; the loss curves."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.peer import Peer
from benchmarks.photos import archive, extract
from benchmarks.record import Line, alternate, line


@dataclass(frozen=True)
class Amount:
    batch: int = 256
    warm: int = 3  # steps before the clock starts
    steps: int = 8  # timed
    pairs: int = 3
    curve: int = 66  # steps of a loss curve
    seeds: int = 3


QUICK = Amount(batch=32, warm=1, steps=2, pairs=1, curve=4, seeds=2)


def run(data: Path, python: str, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    threads = os.cpu_count() or 1
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FALLOW_CACHE"] = f"{folder}/cache"
        extract(data, ("cifar10_subset",), Path(folder) / "pictures")
        with Peer(python, "simclr.py") as peer:
            peer.ask(
                do="prepare",
                folder=f"{folder}/pictures",
                batch=amount.batch,
                workers=2,
                threads=threads,
            )

            def theirs(fast: bool) -> float:
                asked = {"steps": amount.steps, "warm": amount.warm, "fast": fast, "seed": 0}
                return peer.ask(do="train", **asked)["rate"]

            runs: list[Watch] = []

            def ours() -> float:
                runs.append(fit(data, amount, amount.warm + amount.steps, seed=0))
                return runs[-1].rate(amount.steps, amount.batch)

            work = f"SimCLR training images/s, ResNet-18 CIFAR stem, batch {amount.batch}"
            for fast, name, target in (
                (False, "lightly, its defaults", 3.0),
                (True, "lightly, bf16 and channels last", 1.3),
            ):
                pairs = alternate(ours, lambda fast=fast: theirs(fast), amount.pairs)  # type: ignore[misc]
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                lines.append(line(work, name, peer.version, pairs, target, peak))

            shares = [(one.share(amount.steps), 1.0) for one in runs]
            lines.append(line("share of a step in model and views", "-", "", shares, 0.97))
            lines.append(curves(data, peer, amount))
    return lines


def curves(data: Path, peer: Peer, amount: Amount) -> Line:
    """Noise over difference of the late losses: at least 1 when the curves are equal within noise.

    Noise is twice the standard error of the difference, from the spread between seeds.
    """
    late = amount.curve // 2
    ours, theirs = [], []
    for seed in range(amount.seeds):
        ours.append(mean(fit(data, amount, amount.curve, seed=seed).losses[-late:]))
        answer = peer.ask(do="train", steps=amount.curve, warm=0, fast=True, seed=seed)
        theirs.append(mean(answer["losses"][-late:]))
    noise = 2 * ((stdev(ours) ** 2 + stdev(theirs) ** 2) / amount.seeds) ** 0.5
    difference = max(abs(mean(ours) - mean(theirs)), 1e-12)
    work = f"loss after {amount.curve} steps: noise over difference"
    return line(work, "lightly", peer.version, [(noise, difference)], 1.0)


def fit(data: Path, amount: Amount, steps: int, seed: int) -> Watch:
    """The one place that knows how fallow trains: SimCLR with the settings of lightly's example."""
    from fallow.methods.learn.simclr import SimCLR
    from fallow.train import fit as train

    import fallow

    images = fallow.open(archive(data, "cifar10_subset"))
    epochs = steps * amount.batch / len(images)
    method = SimCLR(
        SimCLR.Settings(
            batch=amount.batch,
            temperature=0.5,
            hidden=512,
            layers=2,
            dimension=128,
            optimiser="sgd",
            rate=0.06,
            momentum=0.0,
            decay=0.0,
            warmup=0.0,
            schedule="constant",
        )
    )
    with tempfile.TemporaryDirectory() as out, watch(method) as seen:
        train(method, images, encoder="resnet18", epochs=epochs, seed=seed, out=Path(out) / "run")
    return seen


@dataclass
class Watch:
    """What was seen of a run from outside: when each step ended, its loss, time in the parts."""

    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)  # model and views, seconds up to each end
    spent: float = 0.0

    def rate(self, steps: int, batch: int) -> float:
        return steps * batch / (self.ends[-1] - self.ends[-1 - steps])

    def share(self, steps: int) -> float:
        part = self.inside[-1] - self.inside[-1 - steps]
        return part / (self.ends[-1] - self.ends[-1 - steps])


@contextmanager
def watch(method: Any) -> Iterator[Watch]:
    """Time the method's loss, every backward and optimiser step, and rendering.

    Seen from outside, through torch's hooks, so that the loop cannot grade itself.
    """
    import torch
    from torch.optim import optimizer

    from fallow import views

    seen = Watch()
    begun = [0.0]
    plain = (method.loss, torch.Tensor.backward, views.render)

    def timed(function: Any) -> Any:
        def call(*words: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            result = function(*words, **options)
            seen.spent += time.perf_counter() - begin
            return result

        return call

    def backward(loss: torch.Tensor, *words: Any, **options: Any) -> None:
        begin = time.perf_counter()
        plain[1](loss, *words, **options)
        seen.spent += time.perf_counter() - begin
        last[0] = loss.detach()

    def before(*_: Any) -> None:
        begun[0] = time.perf_counter()

    def after(*_: Any) -> None:
        seen.ends.append(time.perf_counter())
        seen.spent += seen.ends[-1] - begun[0]
        seen.inside.append(seen.spent)
        seen.losses.append(last[0].item())

    last = [torch.zeros(())]
    hooks = [
        optimizer.register_optimizer_step_pre_hook(before),
        optimizer.register_optimizer_step_post_hook(after),
    ]
    method.loss, views.render = timed(method.loss), timed(views.render)
    torch.Tensor.backward = backward  # type: ignore[assignment,method-assign]
    try:
        yield seen
    finally:
        method.loss, torch.Tensor.backward, views.render = plain  # type: ignore[method-assign]
        for hook in hooks:
            hook.remove()
