"""What must not grow with the square: building a report, and finding near duplicates.

Each line sets the rate for many images against the rate for few: 1 where time grows as they do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import ROOT, Line, alternate, line

ALONE = True  # no peer to install

TARGET = 0.5  # images/s may halve from few to many, no more


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """Generated findings and hashes: neither data nor peers are needed."""
    from fallow.inventory.duplicates import near_groups
    from fallow.report import explore_page

    sys.path.append(str(ROOT / "tests" / "report"))
    import report_sample

    repeats = 1 if quick else 5
    few, many = (600, 2400) if quick else (2400, 9600)
    reports = {count: report_sample.findings(count) for count in (few, many)}
    pages = alternate(
        lambda: rate(explore_page, (reports[many],), many),
        lambda: rate(explore_page, (reports[few],), few),
        repeats,
    )
    small, large = (1000, 4000) if quick else (10_000, 40_000)
    scenes = {count: hashes(count) for count in (small, large)}
    near_groups(*scenes[small])  # compiled once
    copies = alternate(
        lambda: rate(near_groups, scenes[large], large),
        lambda: rate(near_groups, scenes[small], small),
        repeats,
    )
    return [
        line(f"report of explore, {many:,} images beside {few:,}", "itself", "", pages, TARGET),
        line(f"near duplicates, {large:,} images beside {small:,}", "itself", "", copies, TARGET),
    ]


def rate(function: Callable[..., Any], given: tuple[Any, ...], count: int) -> float:
    """Images per second of processor time."""
    start = time.process_time()
    function(*given)
    return count / (time.process_time() - start)


def hashes(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes, vectors and worth of unrelated pictures."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(count, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = draw.integers(0, 2**63, count).astype(np.uint64)
    return keys, vectors, np.ones((count, 3))
