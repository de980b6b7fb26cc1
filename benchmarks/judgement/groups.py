"""Groups beside the classes nobody told: NMI, ARI, their number; k-means told it, HDBSCAN.

The coarse level is what is proposed; the finest is named beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.judgement.common import compared, explored, nearest_to_zero
from benchmarks.judgement.measures import off
from benchmarks.judgement.sets import CLASSED, collection
from benchmarks.peer import Peer
from benchmarks.record import Line

TOLD = "k-means, told the number"
GOAL = 0.7  # of the sets


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    lines = []
    said: dict[str, list[tuple[float, float]]] = {}  # by peer: NMI of the finest level, and its own
    near = []  # sets whose number of coarse groups is within a factor of 1.5 of the classes
    for name in CLASSED[3:4] if quick else CLASSED:
        drawn = collection(data, name, most=200 if quick else 600, seed=1)
        truth, total = drawn.labels, len(drawn.classes)
        result = explored(drawn, np.full(len(drawn), -1))
        levels = {
            "": result.table.column("group").to_numpy(),
            "finer ": result.table.column("subgroup").to_numpy(),
        }
        looks = result.found.measured.embedding
        for peer, member in _peers(looks, total).items():
            said.setdefault(peer, []).append(
                (
                    normalized_mutual_info_score(truth, levels["finer "]),
                    normalized_mutual_info_score(truth, member),
                )
            )
            for level, found in levels.items():
                nmi = (normalized_mutual_info_score(truth, each) for each in (found, member))
                ari = (adjusted_rand_score(truth, each) for each in (found, member))
                lines.append(compared(f"{level}groups of {name}: NMI", peer, "", *nmi, 1))
                lines.append(compared(f"{level}groups of {name}: ARI", peer, "", *ari))
        for level, found in levels.items():
            counts = (len(np.unique(each)) for each in (found, member))
            errors = nearest_to_zero(*(off(count, total) for count in counts))
            work = f"number of {level}groups of {name} ({total}): 1 / (1 + error)"
            lines.append(compared(work, peer, "", *errors))
        coarse = len(np.unique(levels[""]))
        near.append(coarse <= 1.5 * total and total <= 1.5 * coarse)
    told = [ours >= theirs for ours, theirs in said[TOLD]]
    lines += [
        compared(f"groups: share of sets with {what}", "goal", "", float(np.mean(each)), GOAL)
        for what, each in (
            ("the finest level's NMI that of k-means told the number", told),
            ("a coarse number within 1.5 of the classes", near),
        )
    ]
    return lines


def _peers(looks: np.ndarray, total: int) -> dict[str, np.ndarray]:
    from sklearn.cluster import HDBSCAN, KMeans

    looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    told = KMeans(total, n_init=4, random_state=0).fit_predict(looks)
    return {TOLD: told, "HDBSCAN": HDBSCAN(5).fit_predict(looks)}
