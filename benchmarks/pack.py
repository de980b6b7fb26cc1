"""The second epoch from JPEG files: a pack beside ImageFolder and a DataLoader."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peer import Peer
from benchmarks.photos import crops
from benchmarks.record import Line, alternate, line, most_held

BATCH = 256


def run(data: Path, python: str, quick: bool) -> list[Line]:
    count, repeats = (300, 1) if quick else (5000, 5)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        crops(data, 256, count, pictures)
        os.environ["FALLOW_CACHE"] = str(Path(folder) / "cache")
        with Peer(python, "folder.py") as peer:
            peer.ask(do="prepare", folder=str(pictures), batch=BATCH, workers=2)
            peer.ask(do="epoch")  # starts the workers, fills the page cache
            fallow = second_epoch(pictures)
            pairs = alternate(fallow, lambda: peer.ask(do="epoch")["rate"], repeats)
            work = f"second epoch from {count:,} JPEGs of 256 px, images/s"
            peak = most_held()
            return [line(work, "ImageFolder + DataLoader", peer.version, pairs, 10, peak)]


def second_epoch(pictures: Path):  # type: ignore[no-untyped-def]
    """A function that reads one shuffled epoch of uint8 batches from the pack: images/s."""
    import torch

    import fallow

    pack = fallow.open(pictures).pack(side=256)
    generator = np.random.default_rng(0)

    def epoch() -> float:
        begin, done = time.perf_counter(), 0
        order = generator.permutation(len(pack))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = torch.from_numpy(np.stack([pack[int(row)] for row in rows]))  # B H W 3
            assert batch.shape[1:] == (256, 256, 3), batch.shape
            done += len(batch)
        return done / (time.perf_counter() - begin)

    epoch()
    return epoch
