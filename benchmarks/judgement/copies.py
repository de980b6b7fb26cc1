"""Planted copies found above the strongest false pair, and by kind of change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, explored, folder_of
from benchmarks.judgement.measures import recall_without_false
from benchmarks.judgement.sets import Collection, collection, figures
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
# one collection of about 5,000: drives and a still camera, photos, groceries, and drawn figures
CROWD = {
    "streets": 701,
    "flickr": 1100,
    "grocery": 1500,
    "nights": 200,
    "colonoscopies": 300,
    "natural": 200,
    "clothing": 500,
}
CROWDED = 5000
GOAL = 0.95
PEERS = ("fastdup", "imagededup PHash", "imagededup DHash")


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    lines: list[Line] = []
    missed: Counter[str] = Counter()
    for name in SETS[:1] if quick else SETS:
        drawn = collection(data, name, most=40 if quick else 200, seed=1)
        lines += judged(planted.copies(drawn, each=1, seed=1), peers, PEERS, missed)
    everything = crowd(data, 0.01 if quick else 1.0)
    lines += judged(planted.copies(everything, each=2, seed=1), peers, PEERS[:1], missed)
    print("missed by kind:", dict(missed))
    return lines


def crowd(data: Path, share: float = 1.0) -> Collection:
    """Many sets as one collection, each in its own order: frames of a burst stay neighbours."""
    most = round(CROWDED * share)
    parts = [collection(data, name, most=round(n * share), seed=1) for name, n in CROWD.items()]
    rest = max(most - sum(len(part) for part in parts), 8)
    parts.append(figures(1, each=-(-rest // 8)).take(np.arange(rest)))
    contents = [content for part in parts for content in part.contents]
    suffixes = [name.rpartition(".")[2] for part in parts for name in part.names]
    return Collection(
        f"{len(contents):,} pictures of all kinds",
        [f"{row:05d}.{suffix}" for row, suffix in enumerate(suffixes)],
        contents,
        np.full(len(contents), -1),
        [],
    )


def judged(
    problem: planted.Copies, peers: Peer, names: tuple[str, ...], missed: Counter[str]
) -> list[Line]:
    """How many planted copies are found, beside the goal and some peers; `missed` is counted up."""
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
    work = f"copies in {whole.name}: recall at no false pair"
    shown = f"copies in {whole.name}: recall at fallow's threshold, {false} false pairs"
    lines = [
        compared(work, "goal", "", reached, GOAL, 1),
        compared(shown, "goal", "", len(met & set(own)) / len(own), GOAL, 1),
    ]
    for peer, theirs in _peers(peers, whole, names).items():
        lines.append(
            compared(work, peer, "", reached, recall_without_false(theirs, set(own), same), 1)
        )
    return lines


def _peers(
    peers: Peer, whole: Collection, names: tuple[str, ...]
) -> dict[str, list[tuple[int, int, float]]]:
    found = {}
    with folder_of(whole, np.full(len(whole), -1)) as folder:
        for name in names:
            tool, _, method = name.partition(" ")
            how = {"method": method} if method else {}
            found[name] = peers.ask(do=f"{tool}_pairs", folder=str(folder), **how)["pairs"]
    return found
