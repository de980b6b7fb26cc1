"""Pairs of measurements, their ratio, and the one form in which results are written."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Line:
    """One row of a table: more is better on both sides, so a target is met if ratio >= target."""

    work: str
    peer: str
    peer_version: str
    ratio: float  # median of fallow / peer over the pairs
    target: float | None
    pairs: list[tuple[float, float]]  # fallow, peer: as measured, in order
    fallow: float  # median
    peer_value: float  # median
    peak_memory_mb: float | None


def alternate(
    fallow: Callable[[], float], peer: Callable[[], float], count: int
) -> list[tuple[float, float]]:
    """Measure both `count` times in turn; every other pair starts with the peer.

    Neighbouring measurements see the same machine, so a slow minute cannot favour one side.
    """
    pairs = []
    for number in range(count):
        if number % 2:
            theirs = peer()
            pairs.append((fallow(), theirs))
        else:
            ours = fallow()
            pairs.append((ours, peer()))
    return pairs


def rate(work: Callable[[int], int], seconds: float) -> float:
    """What calls of `work` do a second; each is told its number, and says how much it has done."""
    done, call, begin = 0, 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        done, call = done + work(call), call + 1
    return done / (time.perf_counter() - begin)


def pin() -> int | None:
    """Hold this process to one core and one thread, NumPy's too; which core."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)  # threads that wait for each other on one core spin
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def most_held() -> float:
    """Peak megabytes of this program alone; getrusage also counts what started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def beyond(work: Callable[[], object]) -> float:
    """Peak megabytes this program needs for a piece of work beyond what it holds before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    before = most_held()
    work()
    return most_held() - before


def line(
    work: str,
    peer: str,
    version: str,
    pairs: list[tuple[float, float]],
    target: float | None,
    peak_memory_mb: float | None = None,
) -> Line:
    """Summarise pairs of values where more is better (a rate, a share, room left).

    >>> line("x", "p", "1", [(10.0, 5.0), (9.0, 3.0), (8.0, 8.0)], 1.5).ratio
    2.0
    """
    ratio = median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    return Line(work, peer, version, ratio, target, pairs, ours, theirs, peak_memory_mb)


def write(name: str, lines: list[Line], folder: Path | None = None) -> Path:
    """Write results/<name>.json and print the same as a table."""
    about = {"machine": machine(), "commit": commit()}
    target = (folder or RESULTS) / f"{name}.json"
    write_json(target, [asdict(one) | about for one in lines])
    print(table(lines))
    print(f"{about['machine']['processor']}, {about['machine']['cores']} cores; {target.name}")
    return target


def write_json(target: Path, content: Any) -> None:
    """Replace `target` in one move, so that a reader never sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(f".{os.getpid()}.part")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(beside, target)


def table(lines: list[Line]) -> str:
    """The lines as text, columns aligned."""
    rows = [("work", "peer", "fallow", "peer value", "ratio", "target", "pairs", "peak MB")]
    rows += [
        (
            one.work,
            f"{one.peer} {one.peer_version}".strip(),
            f"{one.fallow:,.4g}" if one.fallow < 1000 else f"{one.fallow:,.0f}",
            f"{one.peer_value:,.4g}" if one.peer_value < 1000 else f"{one.peer_value:,.0f}",
            f"{one.ratio:.2f}",
            "-" if one.target is None else f"{one.target:g} {verdict(one)}",
            str(len(one.pairs)),
            "-" if one.peak_memory_mb is None else f"{one.peak_memory_mb:,.0f}",
        )
        for one in lines
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def verdict(one: Line) -> str:
    return "met" if one.target is not None and one.ratio >= one.target else "not met"


def machine() -> dict[str, Any]:
    """What the numbers depend on; no names of hosts, users or folders."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    } | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def cores() -> int:
    """Cores this program may use: taskset and containers may leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str:
    """The commit that was measured, marked when files other than results had changed.

    A copy without its history gives "unknown".
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = [
            row for row in git("status", "--porcelain").splitlines() if "/results/" not in row
        ]
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
