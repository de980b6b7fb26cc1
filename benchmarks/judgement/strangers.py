"""Pictures of another set found among these, beside fastdup, local outliers, distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, explored, folder_of
from benchmarks.judgement.measures import average_precision
from benchmarks.judgement.sets import Collection, collection
from benchmarks.peer import Peer
from benchmarks.record import Line

# the collection, and where its strangers come from
PAIRS = (
    ("clothing", "aerial"),
    ("grocery_coarse", "flickr"),
    ("aerial", "textures"),
    ("faces", "natural"),
    ("flickr", "clothing"),
    ("blood_cells", "colonoscopies"),
    ("paper", "blood_cells"),
    ("tiny_imagenet", "figures"),
    ("drawings", "characters"),
    ("streets", "flickr"),
)
SHARES = (0.01, 0.03, 0.05)  # in turn, so that ten sets take minutes


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    lines = []
    for number, (name, other) in enumerate(PAIRS[:1] if quick else PAIRS):
        drawn = collection(data, name, most=200, seed=1)
        source = collection(data, other, most=100, seed=1)
        drawn = drawn.take(range(0, len(drawn), -(-len(drawn) // 250)))
        share = SHARES[number % len(SHARES)]
        problem = planted.strangers(drawn, source, share, seed=1)
        found = explored(problem.collection, np.full(len(problem.collection), -1))
        ours = average_precision(found.table.column("outlier").to_numpy(), problem.rows)
        looks = found.found.measured.embedding
        work = f"strangers in {name} from {other}, {share:.0%}: average precision"
        for peer, scores in _peers(peers, problem.collection, looks).items():
            theirs = average_precision(scores, problem.rows)
            lines.append(compared(work, peer, "", ours, theirs, 1))
    return lines


def _peers(peers: Peer, whole: Collection, looks: np.ndarray) -> dict[str, np.ndarray]:
    from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

    looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    near = NearestNeighbors(n_neighbors=10).fit(looks)
    with folder_of(whole, np.full(len(whole), -1)) as folder:
        answer = peers.ask(do="fastdup_strangers", folder=str(folder))
    return {
        "fastdup": np.array(answer["scores"]),
        "local outlier factor": -LocalOutlierFactor(20).fit(looks).negative_outlier_factor_,
        "10-NN distance": near.kneighbors()[0].mean(axis=1),
    }
