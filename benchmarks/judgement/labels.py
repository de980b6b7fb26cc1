"""Exchanged labels found: ranking and the flagged number, beside cleanlab on the same vectors."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, explored, nearest_to_zero, vectors
from benchmarks.judgement.measures import average_precision, off, precision
from benchmarks.judgement.sets import CLASSED, Collection, collection
from benchmarks.peer import Peer
from benchmarks.record import Line

SHARES = (0.01, 0.05, 0.2)


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    found = []
    for name in CLASSED[3:4] if quick else CLASSED:
        drawn = collection(data, name, most=200 if quick else 600, seed=1)
        looks = vectors(drawn)
        for share in SHARES[1:2] if quick else SHARES:
            for similar in (False, True):
                problem = planted.exchanged(drawn, share, similar=similar, seed=1)
                found += _one(peers, drawn, looks, problem, share, similar)
    return found


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
    doubted = explored(drawn, problem.labels).found.suspects
    sure = np.nan_to_num(doubted.wrong, nan=-1.0)
    flagged = doubted.rows.tolist()
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/vectors.npy", looks)
        answer = peers.ask(
            do="cleanlab_labels",
            vectors=f"{folder}/vectors.npy",
            labels=problem.labels.tolist(),
        )
    return lines(work, sure, flagged, answer, problem.wrong)


def lines(
    work: str,
    scores: Sequence[float] | np.ndarray,
    flagged: Sequence[int],
    answer: Mapping[str, Any],
    wrong: np.ndarray,
    version: str = "",
) -> list[Line]:
    """One problem's ranking, list and number beside cleanlab's `answer`."""
    ours = average_precision(scores, wrong)
    theirs = average_precision(answer["scores"], wrong)
    numbers = (off(len(listed), len(wrong)) for listed in (flagged, answer["flagged"]))
    right = (precision(listed, wrong) for listed in (flagged, answer["flagged"]))
    return [
        compared(f"{work}: average precision", "cleanlab", version, ours, theirs, 1),
        compared(f"{work}: precision of the flagged", "cleanlab", version, *right),
        compared(
            f"{work}: 1 / (1 + error of their number)",
            "cleanlab",
            version,
            *nearest_to_zero(*numbers),
        ),
    ]
