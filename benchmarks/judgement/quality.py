"""Spoilt pictures found and style left alone, beside cleanvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, explored, folder_of
from benchmarks.judgement.measures import precision
from benchmarks.judgement.sets import collection
from benchmarks.peer import Peer
from benchmarks.record import Line

SETS = ("flickr", "clothing", "grocery", "aerial", "natural", "streets")
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
        drawn = collection(data, name, most=120 if quick else 400, seed=1)
        problem = planted.broken(drawn, each=3 if quick else 6, seed=1)
        nothing = np.full(len(drawn), -1)
        found = explored(problem.collection, nothing).findings["quality"]
        with folder_of(problem.collection, nothing) as folder:
            issues = peers.ask(do="cleanvision_issues", folder=str(folder))["issues"]
        for kind, theirs in KINDS.items():
            wrong, work = problem.rows[kind], f"{kind} in {name}"
            flagged, others = found[kind], issues[theirs]["flagged"]
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


def _f1(flagged: list[int], wrong: np.ndarray) -> float:
    right = precision(flagged, wrong)
    met = len(set(flagged) & set(wrong.tolist())) / len(wrong)
    return 2 * right * met / (right + met) if right + met else 0.0


def _style(found: dict[str, list[int]], kinds: tuple[str, ...], style: set[int]) -> float:
    blamed = {row for kind in kinds for row in found[kind]} & style
    return 1 - len(blamed) / len(style)
