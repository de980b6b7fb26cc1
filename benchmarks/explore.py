"""The whole `fallow explore` process beside a whole fastdup process: time, memory and findings.

With both encoders that come with fallow. Findings are judged on sets whose labels neither sees.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score

from benchmarks.peer import Peer, whole
from benchmarks.photos import PHOTOS, archive, crops, extract
from benchmarks.record import Line, alternate, line

SCRIPT = Path(__file__).resolve().parent / "peers" / "duplicates.py"
LIMIT_MB = 2048
TARGETS = {"tiny": 2.0, "lite": 1.0}  # encoder -> how many times fastdup's images/s
SETS = ("aerial_ucmerced", "clothing_cc0", "grocery", "faces_lfw", "white_blood_cells")
MOST = 1000  # pictures of a set
LEAST = 0.001  # where the peer's answer is no better than chance, a ratio says little


def run(data: Path, python: str, quick: bool) -> list[Line]:
    limit, sizes, repeats = (60, (50, 100, 200), 1) if quick else (None, (1000, 5000, 20000), 3)
    lines, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        count = extract(data, PHOTOS, photos, limit)

        def ours(encoder: str, source: Path = photos, count: int = count) -> float:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                command = [sys.executable, "-m", "fallow", "explore", str(source)]
                command += ["--encoder", encoder, "--out", f"{work}/out"]
                seconds, peak = whole(command, work)
            peaks.append(peak)
            return count / seconds

        def theirs() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                return count / whole([python, str(SCRIPT), str(photos), f"{work}/out"], work)[0]

        version = subprocess.run(
            [python, str(SCRIPT), "--version", "-"], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        for encoder, target in TARGETS.items():
            peaks.clear()
            pairs = alternate(lambda encoder=encoder: ours(encoder), theirs, repeats)
            work = f"explore {count:,} photos with {encoder}, whole process, images/s"
            lines.append(line(work, "fastdup", version, pairs, target, max(peaks)))
            room = [(LIMIT_MB / peak, 1.0) for peak in peaks]
            work = f"2 GB over the peak of explore with {encoder}"
            lines.append(line(work, "-", "", room, 1, max(peaks)))
        lines += growth(data, Path(folder), sizes, partial(ours, "tiny"), peaks)
        with Peer(python, "likeness.py") as peer:
            for name in SETS[:1] if quick else SETS:
                lines += findings(data, name, Path(folder), peer, 60 if quick else MOST)
    return lines


def findings(data: Path, name: str, folder: Path, peer: Peer, most: int) -> list[Line]:
    """Are neighbours and groups those that labels would name? Both sides see the same files."""
    import fallow
    from fallow.measure import nmi
    from fallow.vectors.space import kmeans

    labelled = fallow.open(archive(data, name)).labelled.sample(most, seed=0)
    codes = labelled.labels[0]
    place = folder / name
    place.mkdir()
    for row, path in enumerate(labelled.column("path")):
        with zipfile.ZipFile(archive(data, name)) as opened:
            (place / f"{row:06d}{Path(path).suffix}").write_bytes(opened.read(path))
    answer = peer.ask(do="look", folder=str(place), vectors=str(folder / f"{name}.npy"))

    def judged(vectors: np.ndarray, groups: Any) -> tuple[float, float, float]:
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        alike = unit @ unit.T
        np.fill_diagonal(alike, -np.inf)
        told = kmeans(unit, len(np.unique(codes)), seed=0)[1]
        return (
            float((codes[alike.argmax(1)] == codes).mean()),
            nmi(codes, told),
            max(0.0, adjusted_mutual_info_score(codes, groups)),
        )

    theirs = judged(np.load(folder / f"{name}.npy"), answer["groups"])
    works = ("nearest is of the class", "groups told their number, NMI", "groups as found, AMI")
    lines = []
    for encoder in TARGETS:
        result = fallow.explore(place, encoder=encoder)
        ours = judged(result.vectors, result.table.column("group").to_numpy())
        for work, mine, other in zip(works, ours, theirs, strict=True):
            pairs = [(mine, max(other, LEAST))]
            lines.append(line(f"{name}, {encoder}: {work}", "fastdup", peer.version, pairs, 1))
    return lines


def growth(
    data: Path,
    folder: Path,
    sizes: tuple[int, int, int],
    explore: Callable[[Path, int], float],
    peaks: list[float],
) -> list[Line]:
    """Images/s at three sizes, each beside the size before: a linear time keeps the rate.

    From the first size to the second the start of the process weighs less, so the rate grows;
    the target allows for a fifth of noise.
    """
    rates = []
    for size in sizes:
        crops(data, 256, size, folder / str(size))
        rates.append((explore(folder / str(size), size), peaks[-1]))
    return [
        line(
            f"explore {large:,} crops, images/s",
            f"fallow at {small:,}",
            "",
            [(rate, before)],
            0.8,
            peak,
        )
        for small, large, (before, _), (rate, peak) in zip(
            sizes[:-1], sizes[1:], rates[:-1], rates[1:], strict=True
        )
    ]
