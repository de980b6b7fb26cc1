"""The number of classes where 3, 5 or half of them are known, and who belongs where."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import compared, nearest_to_zero, vectors
from benchmarks.judgement.measures import off
from benchmarks.judgement.sets import CLASSED, collection
from benchmarks.peer import Peer
from benchmarks.record import Line
from fallow.inventory.semi import semi_kmeans
from fallow.methods.discover import gpc


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    lines = []
    for name in CLASSED[3:4] if quick else CLASSED:
        drawn = collection(data, name, most=200 if quick else 800, seed=1)
        looks = vectors(drawn)
        for old in (3, 5, None):
            if old is not None and old >= len(drawn.classes):
                continue
            problem = planted.known(drawn, old, seed=1)
            found = gpc.discover(looks, problem.codes, seed=1)
            told = semi_kmeans(looks, problem.codes, problem.total, seed=1)
            work = f"{name}, {problem.old} of {problem.total} classes known"
            counted = _elbow(looks, problem)
            errors = nearest_to_zero(off(found.count, problem.total), off(counted, problem.total))
            lines.append(compared(f"{work}: 1 / (1 + error)", "GCD's estimator", "", *errors, 1))
            ours, theirs = (_right(each.member, problem) for each in (found, told))
            lines.append(
                compared(f"{work}: accuracy", "k-means told the number", "", ours, theirs, 0.95)
            )
    return lines


def _right(member: np.ndarray, problem: planted.Known) -> float:
    """Share of the unlabelled in their class, groups matched to classes as well as can be."""
    from scipy.optimize import linear_sum_assignment

    rows = problem.codes < 0
    size = max(int(member.max()), problem.total - 1) + 1
    table = np.zeros((size, size), np.int64)
    np.add.at(table, (member[rows], problem.truth[rows]), 1)
    return float(table[linear_sum_assignment(-table)].sum() / rows.sum())


def _elbow(looks: np.ndarray, problem: planted.Known) -> int:
    """The number under which k-means of everything best agrees with the labels (Vaze et al.).

    Agreement is the accuracy on labelled pictures after matching; the search narrows by thirds.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    labelled = np.flatnonzero(problem.codes >= 0)
    known: dict[int, float] = {}

    def agreement(count: int) -> float:
        if count not in known:
            member = KMeans(count, n_init=1, random_state=0).fit_predict(looks)[labelled]
            size = max(count, problem.old)
            table = np.zeros((size, size), np.int64)
            np.add.at(table, (member, problem.codes[labelled]), 1)
            known[count] = float(table[linear_sum_assignment(-table)].sum() / len(labelled))
        return known[count]

    low, high = problem.old, min(1000, len(looks) // 2)
    while high - low > 3:
        one, two = low + (high - low) // 3, high - (high - low) // 3
        if agreement(one) < agreement(two):
            low = one
        else:
            high = two
    return max(range(low, high + 1), key=agreement)
