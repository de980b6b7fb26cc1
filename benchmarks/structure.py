"""The structure filter, on one core, beside the same filter on higra's and scikit-image's trees."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.peer import Peer
from benchmarks.photos import squares
from benchmarks.record import Line, alternate, line, most_held, pin
from fallow.views.structure import structure_filter

AREA = 50
EACH = 3  # images the time is taken over


@dataclass(frozen=True)
class Work:
    """What is filtered, by whom else, and the target."""

    side: int
    volume: bool
    peer: str
    target: float | None


WORK = (
    Work(256, False, "higra", 1.0),
    Work(512, False, "higra", 1.0),
    Work(256, False, "higra, as published", 1.0),
    Work(256, False, "scikit-image", None),
    Work(96, True, "scikit-image", 2.0),
    Work(96, True, "higra", None),
)


@dataclass(frozen=True)
class Amount:
    shrink: int = 1
    seconds: float = 1.0
    pairs: int = 7
    slow_pairs: int = 3  # of volumes


QUICK = Amount(shrink=4, seconds=0.1, pairs=1, slow_pairs=1)


def run(data: Path, python: str, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    core = pin()
    lines = []
    with tempfile.TemporaryDirectory() as folder, Peer(python, "structure.py", core=core) as peer:
        for work in WORK:
            side = work.side // amount.shrink
            images = volumes(side, EACH) if work.volume else photos(data, side, EACH)
            stored, answer = str(Path(folder) / "images.npy"), str(Path(folder) / "answer.npy")
            np.save(stored, images)
            about = peer.ask(do="prepare", peer=work.peer, stored=stored, area=AREA)
            for tree in ("max", "min"):
                peer.ask(do="once", place=0, tree=tree, target=answer)
                expected = structure_filter(images[0], tree, area=AREA)  # type: ignore[arg-type]
                np.testing.assert_array_equal(np.load(answer), expected)
            pairs = alternate(
                timed(images, amount.seconds),
                lambda: peer.ask(do="rate", seconds=amount.seconds)["rate"],
                amount.slow_pairs if work.volume else amount.pairs,
            )
            what = f"volumes/s, {side}^3" if work.volume else f"pictures/s, {side} x {side}"
            peak = most_held()
            lines.append(line(what, work.peer, about["version"], pairs, work.target, peak))
    return [*lines, *growth(data, amount)]


def growth(data: Path, amount: Amount) -> list[Line]:
    """Pixels a second at rising sizes, each with the one before as its peer."""
    sides = [side // amount.shrink for side in (128, 256, 512)]
    rates = {side: timed(photos(data, side, EACH), amount.seconds)() * side**2 for side in sides}
    return [
        line(f"growth: pixels/s at {large} x {large} beside {small} x {small}",
             f"fallow, {small} x {small}", "", [(rates[large], rates[small])], None)
        for small, large in pairwise(sides)
    ]  # fmt: skip


def timed(images: np.ndarray, seconds: float) -> Callable[[], float]:
    """Images per second, bright and dark in turn."""

    def rate() -> float:
        done, begin = 0, time.perf_counter()
        while done < 2 or time.perf_counter() - begin < seconds:
            tree = "min" if done % 2 else "max"
            structure_filter(images[done // 2 % len(images)], tree, area=AREA)  # type: ignore[arg-type]
            done += 1
        return done / (time.perf_counter() - begin)

    return rate


def photos(data: Path, side: int, count: int) -> np.ndarray:
    """Grey photos, count side side."""
    return squares(data, side, count).astype(np.float32).mean(-1).astype(np.uint8)


def volumes(side: int, count: int) -> np.ndarray:
    """Blobs of two sizes under the grain of a scanner, count side side side."""
    from scipy.ndimage import gaussian_filter

    draw = np.random.default_rng(0)
    made = []
    for _ in range(count):
        large, small = (gaussian_filter(draw.normal(size=(side,) * 3), s) for s in (side / 12, 2))
        body = 2 * large / large.std() + small / small.std()
        body = body + 0.3 * draw.normal(size=body.shape)
        low, high = np.percentile(body, [0.5, 99.5])
        made.append((np.clip((body - low) / (high - low), 0, 1) * 255).astype(np.uint8))
    return np.stack(made)
