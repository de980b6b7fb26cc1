"""Which labels look wrong: where an image, judged without its own label, says something else.

A few simple judges are asked, each without the row it judges. How far to believe each of them, how
many labels are wrong, and whether those were exchanged at random or between classes that look
alike, is read off the collection: what makes the labels that were given likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from fallow.inventory.judges import means, probe, sizes, views_of, votes
from fallow.inventory.verdict import Fitted, Verdict, again, believed, fitted, interval
from fallow.vectors.space import Neighbours

LEAST = 0.1  # chance to be wrong that a suspect has
SHOWN = 3  # pictures that argue for a label
LEARNT = 0.3  # of what there is to learn beyond the most frequent label
STRANGE = 0.8  # of a kind's images that look like others, from which it is not judged
SAME = 0.3  # belief in each of two kinds for the other's images


@dataclass(frozen=True)
class Suspects:
    """Rows with a doubtful label, most doubtful first, and how far images predict labels."""

    rows: np.ndarray
    suggested: np.ndarray  # codes
    confidence: np.ndarray  # chance that the label is wrong
    agreement: float | None  # share of labelled rows that look like what their label says
    chance: float | None  # the same for always saying the most frequent label
    judged: bool = False  # whether images say enough of labels to doubt any
    expected: float = 0.0  # number of wrong labels
    interval: tuple[int, int] = (0, 0)  # which holds that number eight times of ten
    wrong: np.ndarray = field(default_factory=lambda: np.zeros(0))  # N, chance; NaN: not judged
    pictures: list[list[int]] = field(default_factory=list)  # rows that argue for the suggestion
    against: list[list[int]] = field(default_factory=list)  # the most alike with the own label
    kept: np.ndarray = field(
        default_factory=lambda: np.zeros(0)
    )  # halves of labels that list it too
    curve: tuple[float, ...] = ()  # agreement with a quarter, half and all of the labels
    alike: list[tuple[int, int, float]] = field(default_factory=list)  # codes that look the same
    unlike: list[tuple[int, float]] = field(default_factory=list)  # codes whose images look other
    broad: list[int] = field(default_factory=list)  # codes that no other contradicts


def suspects(
    near: Neighbours,
    codes: np.ndarray,
    vectors: np.ndarray | None = None,
    *,
    related: Sequence[tuple[int, int]] = (),
    k: int = 15,
) -> Suspects:
    """Doubtful labels among `codes` (N, -1 where there is none); `vectors` are the encoder's.

    Without vectors the k nearest neighbours judge alone. A class with a single image is not
    judged: nothing says what it looks like. As many rows are returned as labels are expected to
    be wrong, if the collection bears out that some are. Codes that are `related` (a kind and its
    kinds, several labels in one) do not contradict each other.

    >>> from fallow.vectors.space import neighbours
    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(4).repeat(50)
    >>> vectors = (np.eye(4)[truth] + 0.2 * draw.normal(size=(200, 4))).astype(np.float32)
    >>> codes = truth.copy()
    >>> codes[[3, 77]] = 2, 0
    >>> found = suspects(neighbours(vectors, 15), codes, vectors)
    >>> sorted(found.rows.tolist()), found.pictures[0][0] // 50 == found.suggested[0]
    ([3, 77], np.True_)
    """
    labelled = np.flatnonzero(codes >= 0)
    counts = np.bincount(codes[labelled], minlength=1)
    rows = labelled[counts[codes[labelled]] > 1]
    nothing = Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), None, None)
    if len(rows) < 10 or (vectors is None and near.rows.shape[1] == 0):
        return nothing
    kinds, given = np.unique(codes[rows], return_inverse=True)
    if len(kinds) < 2:
        return Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), 1.0, 1.0)
    views = None if vectors is None else views_of(vectors[rows])
    court = Court(near, codes, rows, given, views, k)
    found = court.heard()
    verdict = believed(found, given)
    kin = _kin(kinds, related)
    wrong = _unrelated(verdict, given, kin)
    verdict = verdict._replace(wrong=wrong)
    halves = court.thinned(found, 1 - wrong, 1 / 2)
    quarters = court.thinned(found, 1 - wrong, 1 / 4)
    named = _named(court, kinds, kin, verdict)
    return replace(named, **_second(court, kin, named, halves, quarters))


class Court(NamedTuple):
    """Who judges, and of what."""

    near: Neighbours
    codes: np.ndarray  # N, of all rows
    rows: np.ndarray  # that are judged
    given: np.ndarray  # their labels, without gaps
    views: tuple[np.ndarray, np.ndarray] | None  # of the judged rows
    k: int = 15

    def judges(self, trust: np.ndarray) -> list[np.ndarray]:
        """What each judge says when rows teach as far as they are trusted."""
        said = votes(self.near, self.rows, len(self.codes), self.given, trust, self.k)
        judges = [said, sizes(self.given, trust)]
        if self.views is not None:
            judges += [probe(self.views[0], self.given, trust)]
            judges += [means(self.views[1], self.given, trust)]
        return judges

    def heard(self) -> Fitted:
        """What all say together; the second time doubtful labels teach less."""
        found = fitted(self.judges(np.ones(len(self.given))), self.given)
        return fitted(self.judges(1 - believed(found, self.given).wrong), self.given)

    def thinned(self, found: Fitted, trust: np.ndarray, share: float) -> list[Verdict]:
        """Verdicts when only a share of the labels teaches, each label once."""
        parts = round(1 / share)
        draw = np.random.default_rng(parts)
        place = np.empty(len(self.given), np.int64)
        for kind in range(int(self.given.max()) + 1):  # every class is shared out evenly
            own = draw.permutation(np.flatnonzero(self.given == kind))
            place[own] = (np.arange(len(own)) + draw.integers(parts)) % parts
        return [
            believed(again(self.judges(trust * (place == part)), found), self.given)
            for part in range(parts)
        ]


# --- the verdict in the collection's own rows and codes ---


def _named(court: Court, kinds: np.ndarray, kin: np.ndarray, verdict: Verdict) -> Suspects:
    rows, given, (takes, doubt, _) = court.rows, court.given, verdict
    asked = _contradicted(given, kin)
    if not asked.any():  # every label is a part of every other
        return Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), 1.0, 1.0)
    frequent = float(np.bincount(given[asked]).max() / asked.sum())
    met = _met(takes, given, kin)
    agreement = float(met[asked].mean())
    # where labels are wrong, images cannot agree with them
    judged = agreement - frequent > LEARNT * (1 - frequent) * (1 - min(doubt.mean(), 0.5))
    wrong = np.full(len(court.codes), np.nan)
    wrong[rows] = doubt
    if not judged:
        nothing = np.zeros(0, np.int64)
        return Suspects(nothing, nothing, np.zeros(0), agreement, frequent, wrong=wrong)
    unlike = _unlike(~met, given)
    counted = ~np.isin(given, [kind for kind, _ in unlike])
    expected = float(doubt[counted].sum())
    order = np.argsort(-np.where(counted, doubt, -1), kind="stable")[: round(expected)]
    chosen = order[doubt[order] >= LEAST]
    suggested = _rivals(takes, given, kin).argmax(1)
    return Suspects(
        rows[chosen],
        kinds[suggested[chosen]],
        doubt[chosen],
        agreement,
        frequent,
        True,
        expected,
        interval(doubt[counted]),
        wrong,
        [_most_alike(court, doubt, one, suggested[one]) for one in chosen],
        [_most_alike(court, doubt, one, given[one]) for one in chosen],
        alike=[(int(kinds[a]), int(kinds[b]), part) for a, b, part in _alike(takes, given, kin)],
        unlike=[(int(kinds[kind]), part) for kind, part in unlike],
        broad=[int(kind) for kind in kinds[kin.all(axis=1)]],
    )


def _kin(kinds: np.ndarray, related: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which kinds do not contradict each other (K K)."""
    kin = np.eye(len(kinds), dtype=bool)
    places = {int(code): place for place, code in enumerate(kinds)}
    for one, two in related:
        if one in places and two in places:
            kin[places[one], places[two]] = kin[places[two], places[one]] = True
    return kin


def _unrelated(verdict: Verdict, given: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """The chance to be wrong (N), less what speaks for a related kind."""
    others = 1 - verdict.takes[np.arange(len(given)), given]
    stranger = (verdict.takes * ~kin[given]).sum(1)
    return verdict.wrong * np.minimum(stranger / np.maximum(others, 1e-12), 1)


def _contradicted(given: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """Rows (N) whose label some other one contradicts: `animal` beside its kinds says too little.

    >>> _contradicted(np.array([0, 1, 2]), np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1]], bool))
    array([False,  True,  True])
    """
    return np.logical_not(kin.all(axis=1).take(given))


def _rivals(takes: np.ndarray, given: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """Chances (N K) of what contradicts the label; -1 for the label and what is related to it."""
    return np.where(kin[given], -1.0, takes)


def _met(takes: np.ndarray, given: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """Rows (N) that look more like what their label says than like anything that contradicts it."""
    return takes[np.arange(len(given)), given] > _rivals(takes, given, kin).max(1)


def _unlike(other: np.ndarray, given: np.ndarray) -> list[tuple[int, float]]:
    """Kinds nearly all of whose images look like other kinds, by far more than elsewhere.

    Such a label says something that looks do not: a broader kind, or another property. They are
    named once, and their images are not listed one by one.
    """
    from scipy.special import betainc

    found = []
    total, strange = np.bincount(given), np.bincount(given, other)
    for kind, size in enumerate(total):
        rest = (strange.sum() - strange[kind]) / max(len(given) - size, 1)
        # the chance of so many or more, if all kinds were told apart equally well
        rare = betainc(strange[kind], size - strange[kind] + 1, max(rest, 0.01))
        if size > 4 and strange[kind] > STRANGE * size and rare < 1e-3 / len(total):
            found.append((kind, float(strange[kind] / size)))
    return found


def _alike(takes: np.ndarray, given: np.ndarray, kin: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of kinds whose images are as good as not told apart, the worst first."""
    onehot = np.eye(takes.shape[1])[given]
    means = onehot.T @ takes / np.maximum(onehot.sum(0), 1)[:, None]
    both = np.where(kin, 0, np.minimum(means, means.T))
    pairs = np.argwhere(np.triu(both, 1) >= SAME)
    found = [(int(one), int(two), round(float(both[one, two]), 3)) for one, two in pairs]
    return sorted(found, key=lambda pair: -pair[2])


def _most_alike(court: Court, doubt: np.ndarray, one: int, kind: int) -> list[int]:
    """Trusted rows of a kind most like one row, the nearest first."""
    fit = (court.given == kind) & (doubt < 0.5)
    fit[one] = False
    if court.views is None:
        there = np.zeros(len(court.codes), bool)
        there[court.rows[fit]] = True
        return [int(row) for row in court.near.rows[court.rows[one]] if there[row]][:SHOWN]
    points = court.views[1]
    others = np.flatnonzero(fit)
    away = ((points[others] - points[one]) ** 2).sum(1)
    return [int(row) for row in court.rows[others[np.argsort(away, kind="stable")[:SHOWN]]]]


def _second(
    court: Court,
    kin: np.ndarray,
    found: Suspects,
    halves: Sequence[Verdict],
    quarters: Sequence[Verdict],
) -> dict[str, Any]:
    """Which doubts stay with half of the labels, and how agreement grows with labels."""
    places, listed = np.searchsorted(court.rows, found.rows), len(found.rows)
    stays = [
        verdict.wrong[places] >= np.sort(verdict.wrong)[len(court.rows) - listed] - 1e-9
        for verdict in halves
        if listed
    ]
    asked = _contradicted(court.given, kin)
    agree = [
        float(np.mean([_met(verdict.takes, court.given, kin)[asked].mean() for verdict in each]))
        for each in (quarters, halves)
        if asked.any()
    ]
    return {
        "kept": np.mean(stays, axis=0) if listed else np.zeros(0),
        "curve": (*agree, float(found.agreement or 0)),
    }
