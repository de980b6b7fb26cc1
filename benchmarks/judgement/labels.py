"""Exchanged labels found: ranking and the flagged number, beside cleanlab on the same vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, explored, nearest_to_zero, vectors
from benchmarks.judgement.measures import average_precision, off, precision
from benchmarks.judgement.sets import CLASSED, Collection, collection
from benchmarks.peer import Peer
from benchmarks.record import Line

SHARES = (0.01, 0.05, 0.2)


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    lines = []
    for name in CLASSED[3:4] if quick else CLASSED:
        drawn = collection(data, name, most=200 if quick else 600, seed=1)
        looks = vectors(drawn)
        for share in SHARES[1:2] if quick else SHARES:
            for similar in (False, True):
                problem = planted.exchanged(drawn, share, similar=similar, seed=1)
                lines += _one(peers, drawn, looks, problem, share, similar)
    return lines


def _one(
    peers: Peer,
    drawn: Collection,
    looks: np.ndarray,
    problem: planted.Exchanged,
    share: float,
    similar: bool,
) -> list[Line]:
    kind = "similar classes" if similar else "random"
    work = f"labels of {drawn.name}, {share:.0%} exchanged ({kind})"
    found = explored(drawn, problem.labels).table
    sure = [-1.0 if value is None else value for value in found.column("confidence").to_pylist()]
    flagged = [row for row, value in enumerate(sure) if value >= 0]
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/vectors.npy", looks)
        answer = peers.ask(
            do="cleanlab_labels",
            vectors=f"{folder}/vectors.npy",
            labels=problem.labels.tolist(),
        )
    ours = average_precision(sure, problem.wrong)
    theirs = average_precision(answer["scores"], problem.wrong)
    truth = len(problem.wrong)
    numbers = nearest_to_zero(off(len(flagged), truth), off(len(answer["flagged"]), truth))
    return [
        compared(f"{work}: average precision", "cleanlab", "", ours, theirs, 1),
        compared(
            f"{work}: precision of the flagged",
            "cleanlab",
            "",
            precision(flagged, problem.wrong),
            precision(answer["flagged"], problem.wrong),
        ),
        compared(f"{work}: 1 / (1 + error of their number)", "cleanlab", "", *numbers),
    ]
