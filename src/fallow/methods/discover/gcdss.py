"""GCDSS: regions of images sorted into known and new classes (Peng et al., 2023).

Classes are fragmented in feature space, so labels spread from region to region instead of from
class centres (NeRG): forward, known classes reach whatever has labelled regions around it
(`propagate`); in reverse, what the labels have not reached doubts its neighbours' labels
(`doubt`). What is left is new, and only that is clustered (`found_groups`). A segmenter then learns
the maps these regions make up (methods/shared/selftraining.py): the authors describe that part
only.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fallow.inventory.counting import count_classes
from fallow.inventory.nearest import most_similar
from fallow.inventory.semi import semi_kmeans
from fallow.problems import Problem

NULL = -1  # no label
UNTRIED = 0.3  # the threshold where it cannot be chosen
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 15))
TRIED = 4000  # labelled regions it is chosen on, at most
UNCOUNTED = 10  # groups, where nothing says how many classes there are


class Settings(BaseModel):
    """What GCDSS can be told; defaults are for a few hundred images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neighbours: int = Field(10, ge=1, description="similar regions that vote on each region")
    threshold: float | None = Field(
        None, ge=0, le=1,
        description="share of the votes a class needs, less is fewer new regions; none: the one at "
        "which the known classes, each hidden in turn, are found best",
    )  # fmt: skip
    decay: float = Field(0.9, gt=0, le=1, description="weight of each neighbour beside the last")
    rounds: int = Field(10, ge=1, description="at most so many rounds of voting")
    reverse: bool = Field(True, description="let unlabelled regions doubt their neighbours' labels")
    novel: int | None = Field(
        None, ge=1, description="groups that new regions are sorted into; none: counted"
    )
    starts: int = Field(5, ge=1, description="beginnings of every k-means; the best one counts")
    side: int | None = Field(
        480, ge=16, description="short side of the images when they are cut into regions"
    )
    trust: float = Field(
        0.5, ge=0, le=1, description="agreement from which a region teaches the segmenter"
    )
    enlarge: float = Field(0.0, ge=0, le=4, description="more of the image around a region's box")
    surroundings: Literal["mean", "keep"] = Field(
        "mean", description="what lies around a region in its box: painted over, or kept (CLIP)"
    )


PRESETS: dict[str, dict[str, Any]] = {
    # Cityscapes at half size; one close labelled neighbour is enough at this threshold
    "paper": {"threshold": 0.1, "side": 512, "novel": 10},
}


# --- NeRG ---


def rank_weights(count: int, decay: float = 0.9) -> np.ndarray:
    """Votes of the nearest, the next, ... neighbour: falling by `decay`, `count` in all.

    >>> rank_weights(10).round(3)[:2].tolist(), rank_weights(3, 1.0).tolist()
    ([1.535, 1.382], [1.0, 1.0, 1.0])
    """
    falling = decay ** np.arange(count)
    return falling * (count / falling.sum())


class Sorted(NamedTuple):
    """A class (NULL: none) for each unlabelled region, and the share of the votes it got."""

    labels: np.ndarray  # U int64
    confidence: np.ndarray  # U float64


def propagate(
    neighbours: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    *,
    threshold: float = 0.1,
    rounds: int = 10,
) -> Sorted:
    """Labels handed on along neighbours (U k, rows of labelled, then unlabelled regions).

    In each round every region takes the class with most votes, if these reach `threshold`, and
    votes itself from then on with the share it got; all change at once, and may change again.

    >>> chain = np.array([[0], [1], [2]])  # 1, 2, 3 each look at the one before
    >>> propagate(chain, np.array([5]), np.ones(1)).labels.tolist()
    [5, 5, 5]
    """
    known = _known(labels, neighbours)
    count, k = neighbours.shape
    given, sure = np.full(count, NULL), np.zeros(count)
    for _ in range(rounds):
        votes = _votes(
            neighbours, np.r_[labels, given], np.r_[np.ones(len(labels)), sure], weights, known
        )
        best = votes.argmax(1)
        won = votes[np.arange(count), best]
        takes = (won >= threshold * k) & (won > 0)
        new = np.where(takes, known[best], given)
        if (new == given).all():
            break  # the votes of this round change no label and are not kept
        given, sure = new, np.where(takes, won / k, sure)
    return Sorted(given, sure)


class Doubted(NamedTuple):
    """What the reverse pass leaves: labels, confidence, and which regions are new."""

    labels: np.ndarray  # U int64, NULL where the doubts won
    confidence: np.ndarray  # U float64
    novel: np.ndarray  # U bool


def doubt(
    neighbours: np.ndarray,
    labels: np.ndarray,
    found: Sorted,
    weights: np.ndarray,
    *,
    threshold: float = 0.1,
) -> Doubted:
    """The reverse pass: labelled regions and those without a label vote once, the rest hears them.

    A region whose neighbours mostly say "none" with more than `threshold` of the votes is new, as
    are those that no label has reached.

    >>> two = Sorted(np.array([4, NULL]), np.array([0.5, 0.0]))
    >>> doubt(np.array([[2], [1]]), np.array([4]), two, np.ones(1)).novel.tolist()
    [True, True]
    """
    known = _known(labels, neighbours)
    count, k = neighbours.shape
    reached = found.labels != NULL
    votes = _votes(
        neighbours,
        np.r_[labels, found.labels],
        np.r_[np.ones(len(labels)), (~reached).astype(float)],
        weights,
        np.r_[known, NULL],  # the last to win a tie
    )
    best = votes.argmax(1)
    won = votes[np.arange(count), best]
    heard = reached & (won > 0)
    new = np.where(heard, np.r_[known, NULL][best], found.labels)
    confidence = np.where(heard, won / k, np.where(reached, 0.0, 1.0))
    doubted = heard & (new == NULL) & (confidence > threshold)
    return Doubted(new, confidence, ~reached | doubted)


def _known(labels: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    if not len(labels) or labels.min() < 0:
        raise Problem("labels spread from labelled regions: label at least one.")
    if neighbours.min() < 0 or neighbours.max() >= len(labels) + len(neighbours):
        raise Problem("neighbours are rows of the labelled, then of the unlabelled regions.")
    return np.unique(labels)


def _votes(
    neighbours: np.ndarray,
    labels: np.ndarray,
    sure: np.ndarray,
    weights: np.ndarray,
    candidates: np.ndarray,
) -> np.ndarray:
    """Votes for each candidate (U candidates); labels that are none of them have no vote."""
    code = np.full(int(labels.max()) + 2, len(candidates))
    code[candidates] = np.arange(len(candidates))  # NULL is the last entry
    codes = code[labels]
    votes = np.zeros((len(neighbours), len(candidates) + 1))
    rows = np.arange(len(neighbours))
    for rank, weight in enumerate(weights):
        there = neighbours[:, rank]
        votes[rows, codes[there]] += weight * sure[there]
    return votes[:, :-1]


# --- the threshold ---


def calibrated(
    labelled: np.ndarray,
    labels: np.ndarray,
    settings: Settings,
    *,
    images: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """The threshold at which known classes are found best, each hidden in turn.

    The labelled regions of half of the `images` (one number for each region) stay labelled, except
    those of the hidden class; the other half is sorted, and the best mean IoU of all classes, the
    hidden one as what is new, decides. UNTRIED where there are too few classes or images for that.

    >>> calibrated(np.eye(2), np.array([0, 1]), Settings())
    0.3
    """
    draw = np.random.default_rng(seed)
    images = np.arange(len(labels)) if images is None else images
    if len(labels) > TRIED:
        few = np.sort(draw.choice(len(labels), TRIED, replace=False))
        labelled, labels, images = labelled[few], labels[few], images[few]
    names = np.unique(images)
    kept = np.isin(images, draw.permutation(names)[: len(names) // 2])
    weights = rank_weights(settings.neighbours, settings.decay)
    scores = np.zeros(len(THRESHOLDS))
    for hidden in np.unique(labels):
        known, free = kept & (labels != hidden), ~kept
        new = labels[free] == hidden
        enough = known.sum() + free.sum() > settings.neighbours
        if not (known.any() and new.any() and (~new).any() and enough):
            continue
        near = most_similar(labelled[free], settings.neighbours, labelled[known]).rows
        for place, threshold in enumerate(THRESHOLDS):
            given, novel = _spread(near, labels[known], weights, settings, threshold)
            said = np.where(novel, hidden, given)
            scores[place] += _mean_iou(labels[free], said)
    return THRESHOLDS[int(scores.argmax())] if scores.any() else UNTRIED


def _mean_iou(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean over the classes in truth of the IoU of their rows."""
    shares = [
        ((truth == one) & (found == one)).sum() / ((truth == one) | (found == one)).sum()
        for one in np.unique(truth)
    ]
    return float(np.mean(shares))


def _spread(
    neighbours: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    settings: Settings,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Both passes: labels of all regions, and which regions are new."""
    found = propagate(neighbours, labels, weights, threshold=threshold, rounds=settings.rounds)
    if not settings.reverse:
        return found.labels, found.labels == NULL
    doubted = doubt(neighbours, labels, found, weights, threshold=threshold)
    return found.labels, doubted.novel


# --- new groups ---


def found_groups(
    vectors: np.ndarray, areas: np.ndarray, count: int, *, starts: int = 5, seed: int = 0
) -> np.ndarray:
    """Groups 0, 1, ... of the new regions by k-means in which large regions count more.

    The first centre is drawn by area, the others by their squared distance to those before.

    >>> found_groups(np.array([[0.0], [0.1], [9.0]]), np.ones(3), 2).tolist() in (
    ...     [0, 0, 1],
    ...     [1, 1, 0],
    ... )
    True
    """
    draw = np.random.default_rng(seed)
    unknown = np.full(len(vectors), NULL)
    done = []
    for _ in range(starts):
        begin = _seeds(vectors, areas, count, draw)
        done.append(
            semi_kmeans(vectors, unknown, len(begin), weights=areas, start=begin, tolerance=0.0)
        )
    best = min(done, key=lambda one: one.inertia)
    return np.unique(best.member, return_inverse=True)[1]  # a centre may have lost its rows


def _seeds(
    vectors: np.ndarray, areas: np.ndarray, count: int, draw: np.random.Generator
) -> np.ndarray:
    """Rows to begin at; fewer where there are not so many different ones."""
    rows = [int(draw.choice(len(vectors), p=areas / areas.sum()))]
    distance = np.full(len(vectors), np.inf)
    while len(rows) < count:
        away = ((vectors - vectors[rows[-1]]) ** 2).sum(1, dtype=np.float64)
        distance = np.minimum(distance, away)
        if not distance.any():
            break
        rows.append(int(draw.choice(len(vectors), p=distance / distance.sum())))
    return vectors[rows]


# --- both together, and the baseline ---


class Discovery(NamedTuple):
    """A number for each unlabelled region, how much its neighbours agree, and what is new."""

    labels: np.ndarray  # U int64: a known class, or `first` + group
    agreement: np.ndarray  # U float64: rank-weighted share of neighbours with the same number
    first: int  # number of the first group: that of known classes
    groups: int
    threshold: float | None = None  # of the votes, where labels were spread
    likely: tuple[int, int] | None = None  # range of the number of new classes, where counted


def counted_groups(
    labelled: np.ndarray,
    labels: np.ndarray,
    vectors: np.ndarray,
    settings: Settings,
    *,
    sources: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[int, tuple[int, int] | None]:
    """How many groups new regions make: as told, else what known classes say, and its range.

    `sources` says which image each labelled and each other region is of: regions of one image are
    alike anyway and are no neighbours. One known class says nothing of others; UNCOUNTED then.
    """
    if settings.novel is not None:
        return settings.novel, None
    there, codes = np.unique(labels, return_inverse=True)
    if len(there) < 2 or np.bincount(codes).max() < 2:
        return UNCOUNTED, None
    every = np.concatenate([labelled, vectors])
    shown = np.r_[codes, np.full(len(vectors), NULL)]
    count = count_classes(every, shown, sources=sources, seed=seed)
    low, number, high = (
        max(each - len(there), 0) for each in (count.low, count.classes, count.high)
    )
    return max(number, 1), (low, max(high, 1))


def by_neighbours(
    labelled: np.ndarray,
    labels: np.ndarray,
    vectors: np.ndarray,
    areas: np.ndarray,
    settings: Settings,
    *,
    known: int,
    neighbours: np.ndarray | None = None,
    images: np.ndarray | None = None,
    sources: np.ndarray | None = None,
    seed: int = 0,
) -> Discovery:
    """NeRG-MaskCA: sort regions (U D) by their neighbours among all, and group what is new.

    Labels are 0 ... `known` - 1. `neighbours` may be given where they were found already; `images`
    says which image each labelled region is of, for choosing the threshold, and `sources` which
    each labelled and then each other region is of, for counting new classes.
    """
    if neighbours is None:
        neighbours = most_similar(vectors, settings.neighbours, labelled).rows
    weights = rank_weights(neighbours.shape[1], settings.decay)
    threshold = settings.threshold
    if threshold is None:
        threshold = calibrated(labelled, labels, settings, images=images, seed=seed)
    given, novel = _spread(neighbours, labels, weights, settings, threshold)
    given = given.copy()
    groups, likely = 0, None
    if novel.any():
        count, likely = counted_groups(
            labelled, labels, vectors, settings, sources=sources, seed=seed
        )
        own = found_groups(vectors[novel], areas[novel], count, starts=settings.starts, seed=seed)
        given[novel] = known + own
        groups = int(own.max()) + 1
    agreed = agreement(neighbours, labels, given, weights)
    return Discovery(given, agreed, known, groups, threshold, likely)


def by_means(
    labelled: np.ndarray,
    labels: np.ndarray,
    labelled_weights: np.ndarray,
    vectors: np.ndarray,
    areas: np.ndarray,
    settings: Settings,
    *,
    known: int,
    neighbours: np.ndarray | None = None,
    sources: np.ndarray | None = None,
    seed: int = 0,
) -> Discovery:
    """The baseline: all regions clustered at once, k-means in which large regions count more."""
    if neighbours is None:
        neighbours = most_similar(vectors, settings.neighbours, labelled).rows
    weights = np.r_[labelled_weights, areas].astype(float)
    count, likely = counted_groups(labelled, labels, vectors, settings, sources=sources, seed=seed)
    found = semi_kmeans(
        np.concatenate([labelled, vectors]),
        np.r_[labels, np.full(len(vectors), NULL)],
        len(np.unique(labels)) + count,
        weights=weights / weights.max(),
        starts=settings.starts,
        tolerance=0.0,
        seed=seed,
    )
    own = found.member[len(labels) :]
    novel = own >= len(found.classes)
    used, group = np.unique(own[novel], return_inverse=True)
    given = np.r_[found.classes, np.zeros(count, int)][own]
    given[novel] = known + group
    votes = rank_weights(neighbours.shape[1], settings.decay)
    agreed = agreement(neighbours, labels, given, votes)
    return Discovery(given, agreed, known, len(used), likely=likely)


def agreement(
    neighbours: np.ndarray, labels: np.ndarray, given: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The share of each region's neighbours, the near ones weighing more, with its own number.

    >>> agreement(np.array([[0, 2], [0, 1]]), np.array([3]), np.array([3, 8]), np.ones(2)).tolist()
    [0.5, 0.0]
    """
    same = np.r_[labels, given][neighbours] == given[:, None]
    return same @ weights / weights.sum()
