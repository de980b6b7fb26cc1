"""SimCLR views per second on one core, beside torchvision, kornia and albumentations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peer import Peer
from benchmarks.photos import squares
from benchmarks.record import Line, alternate, line, most_held, pin, rate

SIZES = {32: 32, 96: 96, 224: 256}  # view -> source
TARGETS = {  # times the rate of the peer; the first three peers share a column
    "torchvision PIL": {32: 20, 96: 8, 224: 4},
    "torchvision v2": {32: 20, 96: 8, 224: 4},
    "kornia": {32: 20, 96: 8, 224: 4},
    "albumentations": {32: 6, 96: 2, 224: 1.2},
}


@dataclass(frozen=True)
class Amount:
    pictures: int = 256
    batch: int = 64
    seconds: float = 3.0
    pairs: int = 7


QUICK = Amount(pictures=32, batch=16, seconds=0.2, pairs=1)


def run(data: Path, python: str, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    core = pin()
    lines = []
    for size, side in SIZES.items():
        sources = squares(data, side, amount.pictures)
        fallow, jitter, blur = prepare(sources, size, amount)
        with tempfile.TemporaryDirectory() as folder:
            stored = str(Path(folder) / "sources.npy")
            np.save(stored, sources)
            for name, targets in TARGETS.items():
                with Peer(python, "augment.py", core=core) as peer:
                    about = peer.ask(
                        do="prepare",
                        peer=name,
                        sources=stored,
                        size=size,
                        jitter=jitter,
                        blur=blur,
                        batch=amount.batch,
                    )

                    def theirs(peer: Peer = peer) -> float:
                        return peer.ask(do="rate", seconds=amount.seconds)["rate"]

                    pairs = alternate(lambda f=fallow: f(), theirs, amount.pairs)  # type: ignore[misc]
                work = f"SimCLR views/s per core, {size} px from {side} px"
                peak = most_held()
                lines.append(line(work, name, about["version"], pairs, targets[size], peak))
    return lines


def prepare(
    sources: np.ndarray, size: int, amount: Amount
) -> tuple[Callable[[], float], tuple[float, float, float, float], float]:
    """fallow's rate over the same pictures; and the recipe's colours and blur, for the peers."""
    from fallow import views

    recipe = views.simclr(size)
    pack = views.pack_arrays(sources)
    generator = np.random.default_rng(0)

    def batch(epoch: int) -> int:
        rows = generator.integers(0, len(pack), amount.batch)
        rendered = views.render(pack, rows, recipe, seed=0, epoch=epoch, threads=1)
        return sum(len(group) for group in rendered.groups)

    batch(0)  # compiles
    return lambda: rate(batch, amount.seconds), recipe.views[0].jitter, recipe.views[0].blur
