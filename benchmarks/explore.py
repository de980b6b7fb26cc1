"""The whole `fallow explore` process beside a whole fastdup process, and its growth."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.photos import PHOTOS, crops, extract
from benchmarks.record import Line, alternate, line
from fallow.problems import Problem

SCRIPT = Path(__file__).resolve().parent / "peers" / "duplicates.py"
LIMIT_MB = 2048


def run(data: Path, python: str, quick: bool) -> list[Line]:
    limit, sizes, repeats = (60, (50, 100, 200), 1) if quick else (None, (1000, 5000, 20000), 3)
    lines, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        count = extract(data, PHOTOS, photos, limit)

        def ours(source: Path = photos, count: int = count) -> float:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                command = [sys.executable, "-m", "fallow", "explore", str(source)]
                seconds, peak = whole([*command, "--out", f"{work}/out"], work)
            peaks.append(peak)
            return count / seconds

        def theirs() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                return count / whole([python, str(SCRIPT), str(photos), f"{work}/out"], work)[0]

        version = subprocess.run(
            [python, str(SCRIPT), "--version", "-"], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        pairs = alternate(ours, theirs, repeats)
        work = f"explore {count:,} photos, whole process, images/s"
        lines.append(line(work, "fastdup", version, pairs, 2, max(peaks)))
        room = [(LIMIT_MB / peak, 1.0) for peak in peaks]
        lines.append(line("2 GB over the peak of explore", "-", "", room, 1, max(peaks)))
        lines += growth(data, Path(folder), sizes, ours, peaks)
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


def whole(command: list[str], cache: str) -> tuple[float, float]:
    """Run a process to its end with an empty cache: seconds, peak memory in MB."""
    environment = os.environ | {"FALLOW_CACHE": f"{cache}/cache", "SENTRY_OPT_OUT": "1"}
    if command[0] != sys.executable:
        environment.pop("PYTHONPATH", None)
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words.seek(0)
            tail = words.read().decode(errors="replace")[-800:]
            raise Problem(f"{Path(command[0]).name} ended with {process.returncode}: {tail}")
    return seconds, used.ru_maxrss / 1024
