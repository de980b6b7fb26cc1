"""GCD: semi-supervised k-means, and a search for the number of classes that labels like best."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fallow.inventory.discovered import Discovery, discovered, likeness
from fallow.inventory.semi import semi_kmeans
from fallow.measure.cluster import clustering_accuracy
from fallow.train.method import make_settings
from fallow.vectors.space import unit


class Settings(BaseModel):
    """What GCD can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: int | None = Field(None, gt=1, description="how many there are; none: searched for")
    most: int = Field(1000, gt=1, description="classes there may be at most")
    searches: int = Field(3, ge=1, description="searches, for the interval")
    tries: int = Field(16, ge=3, description="numbers of classes a search looks at")
    starts: int = Field(20, ge=1, description="beginnings of k-means")
    rounds: int = Field(200, ge=1, description="rounds of k-means")


PRESETS: dict[str, dict[str, object]] = {"paper": {"starts": 100, "rounds": 200}}


def discover(
    seen: np.ndarray, known: np.ndarray, settings: Settings | None = None, seed: int = 0
) -> Discovery:
    """Sort images by vectors (N F) as they are; `known` is a class from 0, or -1.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(4).repeat(30)
    >>> seen = np.eye(4)[truth] + 0.1 * draw.normal(size=(120, 4))
    >>> known = np.where((truth < 2) & (draw.random(120) < 0.5), truth, -1)
    >>> discover(seen, known, Settings(classes=4)).member[[0, 119]].tolist() in ([0, 2], [0, 3])
    True
    """
    s = make_settings(Settings, {}) if settings is None else settings
    seen = unit(seen)
    old = int(known.max()) + 1
    counts = [s.classes] if s.classes else [
        search(seen, known, most=min(s.most, len(seen) // 2), tries=s.tries, seed=seed + place)
        for place in range(s.searches)
    ]  # fmt: skip
    count = max(old, int(np.median(counts)))
    found = semi_kmeans(seen, known, count, starts=s.starts, rounds=s.rounds, seed=seed)
    return discovered(seen, found.member, old, likeness(seen, found.centres), counts)


def search(seen: np.ndarray, known: np.ndarray, *, most: int, tries: int, seed: int) -> int:
    """Brent's search for the number of clusters at which labelled images are clustered best.

    k-means does not see the labels; they only judge.
    """
    from scipy.optimize import minimize_scalar

    old = int(known.max()) + 1
    labelled = known >= 0
    blind = np.full(len(seen), -1)
    scores: dict[int, float] = {}

    def wrong(asked: float) -> float:
        count = int(asked)
        if count not in scores:
            found = semi_kmeans(seen, blind, count, starts=1, rounds=30, seed=seed)
            scores[count] = clustering_accuracy(known[labelled], found.member[labelled])
        return -scores[count]

    bounds = (old, max(most, old + 1))
    minimize_scalar(wrong, bounds=bounds, method="bounded", options={"maxiter": tries})
    return max(scores, key=lambda count: scores[count])
