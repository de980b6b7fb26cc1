"""The number of classes where 3, 5 or half of them are known, and who belongs where.

GCD's estimator is the search that its authors use, and that SimGCD's authors take over: they have
none of their own, but say that prototypes which are too many stay unused. That is tried, too, with
SimGCD's losses on the vectors as they are.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import SIDE, compared, nearest_to_zero
from benchmarks.judgement.measures import off
from benchmarks.judgement.sets import CLASSED, Collection, collection
from benchmarks.peer import Peer
from benchmarks.record import Line
from fallow.images.decode import decode
from fallow.inventory.semi import semi_kmeans
from fallow.measure.discovery import discovery_accuracy
from fallow.methods.discover import gcd, gpc
from fallow.vectors.space import unit

ENCODERS = ("lite", "tiny")
PICTURES = 400
SEED = 1
ROOM = 4  # prototypes for each known class


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    lines = []
    for encoder in ENCODERS[1:] if quick else ENCODERS:
        for name in CLASSED[3:4] if quick else CLASSED:
            drawn = collection(data, name, most=200 if quick else PICTURES, seed=SEED)
            looks = seen_by(encoder, drawn)
            for old in (3, 5, None):
                known = len(drawn.classes) // 2 if old is None else old
                if 2 <= known < len(drawn.classes):
                    problem = planted.known(drawn, old, seed=SEED)
                    lines += judged(f"{name} by {encoder}", looks, problem)
    return lines


def judged(name: str, looks: np.ndarray, problem: planted.Known) -> list[Line]:
    """The count and the sorting of one problem beside those of others."""
    codes, total = problem.codes, problem.total
    work = f"{name}, {problem.old} of {total} classes known"
    found = gpc.discover(looks, codes, seed=SEED)
    told = gpc.by_known_classes(unit(looks), codes, total, most=1000, seed=SEED)
    plain = semi_kmeans(unit(looks), codes, total, seed=SEED)
    counts = {
        "GCD's estimator": gcd.search(
            unit(looks), codes, most=len(looks) // 2, tries=12, seed=SEED
        ),
        "SimGCD's used prototypes": used_prototypes(looks, codes, ROOM * problem.old),
    }
    ours = off(found.count, total)
    low, high = found.interval
    lines = [
        compared(f"{work}: count", peer, "", *nearest_to_zero(ours, off(count, total)), 1)
        for peer, count in counts.items()
    ]
    within = float(max(found.count / total, total / found.count) <= 2)
    held = float(low <= total <= high)
    lines += [
        compared(f"{work}: count within a factor of two", "always", "", within, 1.0, 1),
        compared(f"{work}: range holds the truth", "eight of ten", "", held, 0.8, 1),
    ]
    right = _right(found.member, problem)
    for peer, member in {
        "the same, told the number": told.member,
        "semi-supervised k-means, told the number": plain.member,
    }.items():
        lines.append(compared(f"{work}: accuracy", peer, "", right, _right(member, problem), 0.95))
    return lines


@lru_cache(2)
def _encoder(name: str) -> Any:
    import fallow

    return fallow.encoder(name)


def seen_by(name: str, drawn: Collection, batch: int = 64) -> np.ndarray:
    """One vector a picture.  N D."""
    parts = [
        _encoder(name).embed([decode(one, SIDE) for one in drawn.contents[first : first + batch]])
        for first in range(0, len(drawn), batch)
    ]
    return np.concatenate(parts)


def _right(member: np.ndarray, problem: planted.Known) -> float:
    """Share of the unlabelled in their class, groups matched to classes as well as can be."""
    free = problem.codes < 0
    truth = problem.truth[free]
    return discovery_accuracy(truth, member[free], truth < problem.old).all


def used_prototypes(looks: np.ndarray, codes: np.ndarray, count: int, steps: int = 200) -> int:
    """Prototypes that hold an image after SimGCD's losses; two views are two dropouts."""
    import torch
    import torch.nn.functional as F

    from fallow.losses.distillation import neglect
    from fallow.methods.discover.simgcd import taught_by_itself, teacher_temperature

    torch.manual_seed(SEED)
    seen = torch.from_numpy(unit(looks - looks.mean(0)))
    names = torch.from_numpy(codes)
    centres = semi_kmeans(seen.numpy(), codes, min(count, len(looks) // 2), starts=1).centres
    weights = torch.nn.Parameter(torch.from_numpy(unit(centres)))
    learner = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    for step in range(steps):
        views = F.normalize(F.dropout(seen.repeat(2, 1), 0.2), dim=1)
        scores = views @ F.normalize(weights, dim=1).T
        own = taught_by_itself(scores, teacher_temperature(step // 5, 0.07, 0.04, 30))
        told = F.cross_entropy(scores / 0.1, names.repeat(2), ignore_index=-1)
        loss = 0.65 * (own + neglect(scores, 0.1)) + 0.35 * told
        learner.zero_grad()
        loss.backward()
        learner.step()
    with torch.no_grad():
        found = (seen @ F.normalize(weights, dim=1).T).argmax(1)
    return len(np.unique(np.r_[np.arange(int(codes.max()) + 1), found[names < 0].numpy()]))
