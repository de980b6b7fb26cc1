"""Spoilt pictures found and style left alone, beside cleanvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, explored, folder_of
from benchmarks.judgement.measures import average_precision, precision
from benchmarks.judgement.sets import collection
from benchmarks.peer import Peer
from benchmarks.record import Line
from fallow.inventory.quality import goodness
from fallow.inventory.statistics import MEASURES

SETS = (
    "flickr", "clothing", "aerial", "natural", "streets", "nights", "faces", "drone", "quality",
    "paper", "blood_cells", "tiny_imagenet",
)  # fmt: skip
# fallow's words, cleanvision's
KINDS = {
    "dark": "dark",
    "bright": "light",
    "blurry": "blurry",
    "blank": "low_information",
    "low_resolution": "odd_size",
    "odd_aspect": "odd_aspect_ratio",
}


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    lines = []
    for name in SETS[:1] if quick else SETS:
        drawn = collection(data, name, most=120, seed=1)
        drawn = drawn.take(range(0, len(drawn), -(-len(drawn) // 130)))
        problem = planted.broken(drawn, each=max(1, min(6, len(drawn) // 12)), seed=1)
        nothing = np.full(len(drawn), -1)
        result = explored(problem.collection, nothing)
        found, good = result.findings["quality"], goodness(_measures(result.table))
        with folder_of(problem.collection, nothing) as folder:
            issues = peers.ask(do="cleanvision_issues", folder=str(folder))["issues"]
        for kind, theirs in KINDS.items():
            wrong, work = problem.rows[kind], f"{kind} in {name}"
            flagged, others = found[kind], issues[theirs]["flagged"]
            ranked = (
                average_precision(scores, wrong)
                for scores in (-good[kind], issues[theirs]["scores"])
            )
            lines.append(compared(f"{work}: average precision", "cleanvision", "", *ranked, 1))
            lines.append(
                compared(
                    f"{work}: F1", "cleanvision", "", _f1(flagged, wrong), _f1(others, wrong), 1
                )
            )
        style = set(problem.style.tolist())
        ours = _style(found, ("blurry", "dark"), style)
        theirs = _style({k: issues[KINDS[k]]["flagged"] for k in KINDS}, ("blurry", "dark"), style)
        lines.append(
            compared(f"style left alone in {name}: share", "cleanvision", "", ours, theirs)
        )
    return lines


def _measures(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: table.column(name).to_numpy() for name in (*MEASURES, "width", "height")}


def _f1(flagged: list[int], wrong: np.ndarray) -> float:
    right = precision(flagged, wrong)
    met = len(set(flagged) & set(wrong.tolist())) / len(wrong)
    return 2 * right * met / (right + met) if right + met else 0.0


def _style(found: dict[str, list[int]], kinds: tuple[str, ...], style: set[int]) -> float:
    blamed = {row for kind in kinds for row in found[kind]} & style
    return 1 - len(blamed) / len(style)
