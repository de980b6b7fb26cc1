"""The number of classes where 3, 5 or half of them are known, and who belongs where.

GCD's estimator is the search that its authors use: blind k-means, and the number at which labelled
images are clustered best, bounded by Brent. SimGCD's authors have none of their own. They take
GCD's number, or one that is twice too large, since prototypes which are too many stay unused: so
its losses are run on the vectors as they are, with twice GCD's number and with four prototypes for
each known class, and those that hold an image are counted. fallow counts by the rule that was
chosen on all other sets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.judgement import planted
from benchmarks.judgement.common import LEAST, SIDE, compared, nearest_to_zero
from benchmarks.judgement.measures import off
from benchmarks.judgement.sets import CLASSED, Collection, collection
from benchmarks.peer import Peer
from benchmarks.record import ROOT, Line, line
from fallow.images.decode import decode
from fallow.inventory.counting import Rule
from fallow.inventory.semi import semi_kmeans
from fallow.measure.discovery import discovery_accuracy
from fallow.methods.discover import gcd, gpc
from fallow.vectors.space import leading, unit

ENCODERS = ("lite", "tiny")
PICTURES = 300
SEEDS = (1, 2, 3)
ROOM = 4  # prototypes for each known class
DIRECTIONS = 256  # of vectors, the main ones: what lies beyond changes no judgement
TRIES = 50  # numbers of classes that GCD's search may look at; it ends by itself before

SAME = "the same, told the number"
GCD, TWICE, ROOMY = "GCD's estimator", "SimGCD, twice GCD's number", "SimGCD, four for each known"


class Judged(NamedTuple):
    """What fallow and others say of one problem."""

    encoder: str
    name: str
    known: str
    old: int
    total: int
    count: int
    interval: tuple[int, int]
    others: dict[str, int]  # numbers of classes
    right: float
    told: dict[str, float]  # accuracy where the number is given

    @property
    def error(self) -> float:
        return off(self.count, self.total)

    @property
    def held(self) -> bool:
        return self.interval[0] <= self.total <= self.interval[1]


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    problems = []
    for encoder in ENCODERS[1:] if quick else ENCODERS:
        for name in CLASSED[3:4] if quick else CLASSED:
            drawn = collection(data, name, most=200 if quick else PICTURES, seed=SEEDS[0])
            looks = seen_by(encoder, drawn)
            for known, old in kinds(len(drawn.classes)).items():
                asked = [planted.known(drawn, old, seed=seed) for seed in SEEDS]
                problems.append(
                    [judged(encoder, name, known, looks, problem, seed)
                     for problem, seed in zip(asked, SEEDS, strict=True)]
                )  # fmt: skip
    lines = [one for problem in problems for one in beside(problem)]
    return lines + overall([one for problem in problems for one in problem])


def kinds(total: int) -> dict[str, int]:
    """How many of so many classes are known, each number once.

    >>> kinds(10), kinds(4), kinds(50)
    ({'three': 3, 'five': 5}, {'three': 3, 'half': 2}, {'three': 3, 'five': 5, 'half': 25})
    """
    asked = {"three": 3, "five": 5}
    if total // 2 not in asked.values():
        asked["half"] = total // 2
    return {known: old for known, old in asked.items() if 2 <= old < total}


def judged(
    encoder: str, name: str, known: str, looks: np.ndarray, problem: planted.Known, seed: int
) -> Judged:
    """The count and the sorting of one problem, by fallow and by others."""
    codes, total, vectors = problem.codes, problem.total, main_part(looks)
    found = gpc.by_known_classes(
        unit(looks), codes, None, most=1000, seed=seed, rule=left_out_rules()[name]
    )
    searched = gcd.search(vectors, codes, most=len(looks) // 2, tries=TRIES, seed=seed)
    others = {
        GCD: searched,
        TWICE: used_prototypes(vectors, codes, 2 * searched, seed),
        ROOMY: used_prototypes(vectors, codes, ROOM * problem.old, seed),
    }
    told = {
        SAME: gpc.by_known_classes(unit(looks), codes, total, most=1000, seed=seed).member,
        "semi-supervised k-means, told the number": semi_kmeans(
            vectors, codes, total, seed=seed
        ).member,
    }
    right = {peer: _right(member, problem) for peer, member in told.items()}
    return Judged(encoder, name, known, problem.old, total, found.count, found.interval, others,
                  _right(found.member, problem), right)  # fmt: skip


def beside(asked: Sequence[Judged]) -> list[Line]:
    """Lines of one problem, a pair for each seed."""
    one = asked[0]
    work = f"{one.name} by {one.encoder}, {one.old} of {one.total} classes known"
    lines = []
    for peer in one.others:
        errors = [(each.error, off(each.others[peer], each.total)) for each in asked]
        lines.append(
            line(f"{work}: 1 / (1 + error of the number), {one.known} known", peer, "",
                 [nearest_to_zero(*pair) for pair in errors], 1)
        )  # fmt: skip
    for peer in one.told:
        pairs = [(max(each.right, LEAST), max(each.told[peer], LEAST)) for each in asked]
        lines.append(line(f"{work}: accuracy", peer, "", pairs, 0.95))
    return lines


def overall(asked: Sequence[Judged]) -> list[Line]:
    """The goals over all problems, and how the others stand there."""
    truth = np.array([one.total for one in asked])
    counts = {"fallow": np.array([one.count for one in asked])}
    counts |= {peer: np.array([one.others[peer] for one in asked]) for peer in asked[0].others}
    errors = {who: float(np.median(np.abs(each - truth) / truth)) for who, each in counts.items()}
    within = {
        who: float(np.mean(np.maximum(each / truth, truth / each) <= 2))
        for who, each in counts.items()
    }
    goals = {"median": 0.25, "within": 1.0, "held": 0.8}
    median, share = (
        "all problems: 1 / (1 + median error of the number)",
        "all problems: share within a factor of two",
    )
    lines = [
        compared(median, "goal", "", *nearest_to_zero(errors["fallow"], goals["median"]), 1),
        compared(share, "goal", "", within["fallow"], goals["within"], 1),
    ]
    for peer in asked[0].others:
        lines += [
            compared(median, peer, "", *nearest_to_zero(errors["fallow"], errors[peer]), 1),
            compared(share, peer, "", within["fallow"], within[peer], 1),
        ]
    shares = [one.right / max(one.told[SAME], LEAST) for one in asked]
    lines.append(
        compared("all problems: median accuracy, as a share of that with the number told", "goal",
                 "", float(np.median(shares)), 0.95, 1)
    )  # fmt: skip
    held = float(np.mean([one.held for one in asked]))
    lines.append(
        compared("all problems: share of ranges that hold the number", "goal", "", held,
                 goals["held"], 1)
    )  # fmt: skip
    return lines


@lru_cache(1)
def left_out_rules() -> dict[str, Rule]:
    """For every set the rule of counting that was chosen without it, as the recipe wrote it."""
    found = json.loads((ROOT / "recipes" / "results" / "judgement_discover.json").read_text())
    return {name: Rule(**rule) for name, rule in found["rules"].items()}


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


def main_part(looks: np.ndarray) -> np.ndarray:
    """Unit vectors from their middle, on the main directions: distances stay as they are.  N D"""
    vectors = unit(looks)
    vectors = vectors - vectors.mean(0)
    return vectors @ leading(vectors, min(DIRECTIONS, len(vectors) - 1))[1]


def used_prototypes(
    vectors: np.ndarray, codes: np.ndarray, count: int, seed: int, steps: int = 100
) -> int:
    """Prototypes that hold an image after SimGCD's losses; two views are two dropouts."""
    import torch
    import torch.nn.functional as F

    from fallow.losses.distillation import neglect
    from fallow.methods.discover.simgcd import taught_by_itself, teacher_temperature

    torch.manual_seed(seed)
    seen = torch.from_numpy(unit(vectors).astype(np.float32))
    names = torch.from_numpy(codes)
    count = min(count, len(vectors) // 2)
    centres = semi_kmeans(seen.numpy(), codes, count, starts=1, seed=seed).centres
    weights = torch.nn.Parameter(torch.from_numpy(unit(centres).astype(np.float32)))
    learner = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    for step in range(steps):
        views = F.normalize(F.dropout(seen.repeat(2, 1), 0.2), dim=1)
        scores = views @ F.normalize(weights, dim=1).T
        own = taught_by_itself(scores, teacher_temperature(step // 3, 0.07, 0.04, 30))
        told = F.cross_entropy(scores / 0.1, names.repeat(2), ignore_index=-1)
        loss = 0.65 * (own + neglect(scores, 0.1)) + 0.35 * told
        learner.zero_grad()
        loss.backward()
        learner.step()
    with torch.no_grad():
        found = (seen @ F.normalize(weights, dim=1).T).argmax(1)
    return len(np.unique(np.r_[np.arange(int(codes.max()) + 1), found[names < 0].numpy()]))
