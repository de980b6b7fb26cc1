"""Naturalness of large photos on one core, beside pyiqa; the memory it takes at rising sizes.

Everything here runs in one thread, so the clock counts the seconds its core worked.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer import Peer, told_by
from benchmarks.photos import sheet
from benchmarks.record import Line, alternate, line, most_held, pin
from fallow.inventory.naturalness import FEATURES, Natural, blocks, brisque, niqe

SPEED, FLAT = 3.0, 0.8
PLAIN = Natural(np.zeros(FEATURES), np.eye(FEATURES))


@dataclass(frozen=True)
class Amount:
    size: tuple[int, int] = (3000, 4000)
    large: tuple[int, int] = (6000, 8000)
    pairs: int = 5


QUICK = Amount((480, 640), (960, 1280), pairs=1)


def run(data: Path, python: str, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    core = pin()
    photo = grained(sheet(data, *amount.size))
    lines = []
    with tempfile.TemporaryDirectory() as folder, Peer(python, "quality.py", core=core) as peer:
        stored = str(Path(folder) / "photo.npy")
        np.save(stored, photo)
        peer.ask(do="prepare", stored=stored)
        works: dict[str, Callable[[], Any]] = {
            "niqe": lambda: niqe(blocks(photo), PLAIN),
            "brisque": lambda: brisque(photo),
        }
        for name, work in works.items():
            compare(work(), peer.ask(do="once", name=name)["values"])
            pairs = alternate(
                partial(pixels_a_second, work, photo[..., 0].size),
                lambda name=name: peer.ask(do="rate", name=name)["rate"],  # type: ignore[misc]
                amount.pairs,
            )
            what = f"{name}, {photo[..., 0].size / 1e6:.0f} MP: MP/s"
            lines.append(line(what, "pyiqa", peer.version, pairs, SPEED, most_held()))
    small, large = (peak(*size) for size in (amount.size, amount.large))
    what = f"memory beyond the photo: {amount.size} over {amount.large}"
    lines.append(
        line(what, "fallow, the smaller", "", [(max(small, 1), max(large, 1))], FLAT, large)
    )
    return lines


def grained(photo: np.ndarray) -> np.ndarray:
    """With grain, so that no block is flat: fallow leaves flat ones out, which pyiqa does not."""
    grain = np.random.default_rng(0).integers(-2, 3, photo.shape)
    return (photo + grain).clip(0, 255).astype(np.uint8)


def compare(ours: Any, theirs: list[float]) -> None:
    """Both sides must do the same work; pyiqa halves in single precision."""
    np.testing.assert_allclose(np.ravel(ours), theirs, rtol=0.02, atol=0.01)


def pixels_a_second(work: Callable[[], Any], pixels: int) -> float:
    """Megapixels per second of this core."""
    begin = time.process_time()
    work()
    return pixels / 1e6 / (time.process_time() - begin)


def peak(tall: int, wide: int) -> float:
    """Megabytes a fresh process needs for both, beyond the photo it holds."""
    return told_by("quality", tall, wide)


def _peak_here() -> None:
    tall, wide = map(int, sys.argv[1:])
    photo = np.random.default_rng(0).integers(0, 255, (tall, wide, 3), np.uint8)
    for work in (brisque, blocks):
        work(photo[:300, :300])
    before = most_held()
    for work in (brisque, blocks):
        work(photo)
    print(json.dumps(most_held() - before))


if __name__ == "__main__":
    _peak_here()
