"""SimCLR training images per second beside lightly; the loop's own share; the loss curves."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.peer import Peer
from benchmarks.photos import archive, extract
from benchmarks.record import Line, alternate, line, most_held

RATE, TEMPERATURE = 0.06, 0.5  # of lightly's example and of its loss


@dataclass(frozen=True)
class Amount:
    batch: int = 256
    warm: int = 1  # steps before the clock starts
    steps: int = 4  # timed
    pairs: int = 3
    curve: int = 20  # steps of a loss curve
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
                asked |= {"rate": RATE * amount.batch / 256, "temperature": TEMPERATURE}
                return peer.ask(do="train", **asked)["rate"]

            runs: list[Watched] = []

            def ours() -> float:
                runs.append(fit(data, amount, amount.warm + amount.steps, seed=0))
                return amount.batch * runs[-1].rate(amount.steps)

            work = f"SimCLR training images/s, ResNet-18 CIFAR stem, batch {amount.batch}"
            for fast, name, target in (
                (False, "lightly, its defaults", 3.0),
                (True, "lightly, bf16 and channels last", 1.3),
            ):
                pairs = alternate(ours, lambda fast=fast: theirs(fast), amount.pairs)  # type: ignore[misc]
                peak = most_held()
                lines.append(line(work, name, peer.version, pairs, target, peak))

            shares = [(one.share, 1.0) for one in runs]
            lines.append(line("share of a step in model and views", "-", "", shares, 0.97))
            lines.append(roofline(amount, mean(one.rate(amount.steps) for one in runs), threads))
            lines.append(curves(data, peer, amount))
    return lines


def roofline(amount: Amount, rate: float, threads: int) -> Line:
    """Arithmetic a second of a whole step beside a bare product of matrices, both in bf16.

    A step's are the multiplications and additions of its convolutions and linear layers, forward
    and backward, as torch counts them; what is neither (norms, ReLU, views, the optimiser) makes
    the share smaller. 1 would be a step that does nothing but multiply.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        bare = [matmul_rate() for _ in range(amount.pairs)]
    finally:
        torch.set_num_threads(before)
    done = rate * operations(amount.batch) / 1e9
    work = "SimCLR step, 10^9 operations/s of its layers"
    return line(work, "bare bf16 matmul", "", [(done, one) for one in bare], None)


def operations(batch: int) -> int:
    """Multiplications and additions of one step's layers, forward and backward."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    import fallow
    from fallow.methods.learn.simclr import SimCLR
    from fallow.train.method import Facts

    few = 2  # pictures; the count grows with them
    encoder = fallow.encoder("resnet18", size=32)
    method = SimCLR(encoder, SimCLR.Settings(size=32, batch=few), Facts(few, 32))
    counter = FlopCounterMode(display=False)
    with counter:
        method.head(encoder(torch.randn(2 * few, 3, 32, 32))).sum().backward()
    return counter.get_total_flops() * batch // few


def matmul_rate(side: int = 2048, seconds: float = 2.0) -> float:
    """10^9 operations a second of a loop that does nothing but multiply two matrices."""
    import torch

    one = torch.randn(side, side).bfloat16()
    other, out = one.clone(), one.clone()
    torch.matmul(one, other, out=out)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        torch.matmul(one, other, out=out)
        count += 1
    return count * 2 * side**3 / (time.perf_counter() - begin) / 1e9


def curves(data: Path, peer: Peer, amount: Amount) -> Line:
    """Noise over difference of the late losses: at least 1 when the curves are equal within noise.

    Noise is twice the standard error of the difference, from the spread between seeds.
    """
    late = amount.curve // 2
    ours, theirs = [], []
    for seed in range(amount.seeds):
        ours.append(mean(fit(data, amount, amount.curve, seed=seed).losses[-late:]))
        asked = {"steps": amount.curve, "warm": 0, "fast": True, "seed": seed}
        asked |= {"rate": RATE * amount.batch / 256, "temperature": TEMPERATURE}
        answer = peer.ask(do="train", **asked)
        theirs.append(mean(answer["losses"][-late:]))
    noise = 2 * ((stdev(ours) ** 2 + stdev(theirs) ** 2) / amount.seeds) ** 0.5
    difference = max(abs(mean(ours) - mean(theirs)), 1e-12)
    work = f"loss after {amount.curve} steps: noise over difference"
    return line(work, "lightly", peer.version, [(noise, difference)], 1.0)


def fit(data: Path, amount: Amount, steps: int, seed: int) -> Watched:
    """The one place that knows how fallow trains: SimCLR with the settings of lightly's example."""
    import fallow
    from fallow import train
    from fallow.methods.learn.simclr import SimCLR

    ends: list[float] = []
    losses: list[Any] = []

    class Observed(SimCLR):
        """SimCLR that notes when each step ended, and its loss."""

        def loss(self, batch: Any, now: Any) -> Any:
            found = super().loss(batch, now)
            losses.append(found.total.detach())
            return found

        def after_step(self, now: Any) -> None:
            super().after_step(now)
            ends.append(time.perf_counter())

    images = fallow.open(archive(data, "cifar10_subset"))
    settings = SimCLR.Settings(
        epochs=steps / (len(images) // amount.batch),
        size=32,
        batch=amount.batch,
        optimiser="sgd",
        learning_rate=RATE,
        momentum=0.0,
        weight_decay=0.0,
        warmup=0.0,
        final_rate=1.0,  # the peer's rate does not fall
        temperature=TEMPERATURE,
    )
    encoder = fallow.encoder("resnet18", seed=seed, size=32)
    run = train.fit(Observed, images, encoder=encoder, settings=settings, seed=seed)
    inside = (run.timing["model"] + run.timing["waiting"]) / run.timing["total"]
    # the loop also asks for losses while it tries precisions, before the first step
    return Watched(ends, [float(loss) for loss in losses[-len(ends) :]], inside)


@dataclass(frozen=True)
class Watched:
    """What was seen of one run of fallow."""

    ends: list[float]  # when each step ended
    losses: list[float]
    share: float  # of the run's time: in the model, or waiting for views

    def rate(self, steps: int) -> float:
        """Steps a second of the last so many."""
        return steps / (self.ends[-1] - self.ends[-1 - steps])
