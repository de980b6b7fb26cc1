"""Planted copies found above the strongest false pair, and by kind of change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, explored, folder_of
from benchmarks.judgement.measures import recall_without_false
from benchmarks.judgement.sets import Collection, collection
from benchmarks.peer import Peer
from benchmarks.record import Line

# photos, aerial photos, groceries, products, frames of drives and of a still camera, faces,
# frames of colonoscopies, one kind of part and of paper again and again
SETS = (
    "flickr",
    "aerial",
    "grocery",
    "clothing",
    "natural",
    "streets",
    "nights",
    "faces",
    "colonoscopies",
    "commutators",
    "paper",
)
GOAL = 0.95


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    lines: list[Line] = []
    missed: Counter[str] = Counter()
    for name in SETS[:1] if quick else SETS:
        drawn = collection(data, name, most=40 if quick else 200, seed=1)
        problem = planted.copies(drawn, each=1, seed=1)
        whole = problem.collection
        own = {(min(one.row, one.of), max(one.row, one.of)): one for one in problem.copies}
        same = np.arange(len(whole))
        for one in problem.copies:
            same[one.row] = one.of
        found = explored(whole).found
        ours = [
            (int(found.rows[copy.row]), int(found.rows[copy.of]), copy.score)
            for copy in found.copies.pairs
        ]
        met = {(min(one, two), max(one, two)) for one, two, _ in ours}
        missed.update(one.kind for pair, one in own.items() if pair not in met)
        false = sum(1 for one, two, _ in ours if same[one] != same[two])
        reached = recall_without_false(ours, set(own), same)
        work = f"copies in {name}: recall at no false pair"
        lines.append(compared(work, "goal", "", reached, GOAL, 1))
        lines.append(
            compared(
                f"copies in {name}: recall at fallow's threshold, {false} false pairs",
                "goal",
                "",
                len(met & set(own)) / len(own),
                GOAL,
                1,
            )
        )
        for peer, theirs in _peers(peers, whole).items():
            lines.append(
                compared(work, peer, "", reached, recall_without_false(theirs, set(own), same), 1)
            )
    print("missed by kind:", dict(missed))
    return lines


def _peers(peers: Peer, whole: Collection) -> dict[str, list[tuple[int, int, float]]]:
    with folder_of(whole, np.full(len(whole), -1)) as folder:
        answers = {
            "fastdup": peers.ask(do="fastdup_pairs", folder=str(folder)),
            "imagededup PHash": peers.ask(
                do="imagededup_pairs", folder=str(folder), method="PHash"
            ),
            "imagededup DHash": peers.ask(
                do="imagededup_pairs", folder=str(folder), method="DHash"
            ),
        }
    return {peer: answer["pairs"] for peer, answer in answers.items()}
