"""Semi-supervised k-means, beside the published procedure in plain NumPy and scikit-learn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.record import Line, alternate, line, most_held

ALONE = True  # no peer to install

PEER = "NumPy, scikit-learn's distances"
SECONDS = 60.0  # allowed for the whole clustering on two cores


@dataclass(frozen=True)
class Amount:
    rows: int = 50_000
    width: int = 384
    classes: int = 200
    starts: int = 10
    rounds: int = 8  # of one start, for the ratio; neither side comes to rest before
    growth: tuple[int, ...] = (12_500, 25_000, 50_000)
    pairs: int = 3


QUICK = Amount(rows=2000, width=32, classes=20, starts=2, rounds=3, growth=(500, 1000, 2000),
               pairs=1)  # fmt: skip


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """The peer is written below, so `data` and `python` are not needed."""
    import sklearn

    amount = QUICK if quick else Amount()
    vectors, known = features(amount.rows, amount)
    shape = f"{amount.rows:,} x {amount.width}, K={amount.classes}"
    start = beginning(vectors, known, amount.classes)
    expected = published(vectors, known, start, 3)
    agree(clustered(vectors, known, start, 3), expected)
    ours, theirs = (
        partial(rate, one, vectors, known, start, amount.rounds) for one in (clustered, published)
    )
    pairs = alternate(ours, theirs, amount.pairs)
    lines = [line(f"rounds/s of one start, {shape}", PEER, sklearn.__version__, pairs, None)]
    begin = time.perf_counter()
    whole(vectors, known, amount)
    seconds = time.perf_counter() - begin
    peak = most_held()
    work = f"{amount.starts} starts until they rest, {shape}: seconds allowed over used"
    lines.append(line(work, "-", "", [(SECONDS, seconds)], 1.0, peak))
    begin = time.perf_counter()
    whole_published(vectors, known, amount)
    slower = time.perf_counter() - begin
    lines.append(
        line(f"clusterings/hour, {amount.starts} starts, {shape} (peer: one start, times starts)",
             PEER, sklearn.__version__,
             [(3600 / seconds, 3600 / (slower * amount.starts))], None)
    )  # fmt: skip
    return [*lines, *growth(amount)]


def growth(amount: Amount) -> list[Line]:
    """Rows clustered a second at rising sizes, each with the one before as its peer."""
    rates = {}
    for rows in amount.growth:
        vectors, known = features(rows, amount)
        begin = time.perf_counter()
        whole(vectors, known, amount)
        rates[rows] = rows / (time.perf_counter() - begin)
    return [
        line(f"growth: rows/s at N={large:,} beside N={small:,}", f"fallow, N={small:,}", "",
             [(rates[large], rates[small])], None)
        for small, large in pairwise(amount.growth)
    ]  # fmt: skip


def features(rows: int, amount: Amount) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of overlapping classes; half of the images of half of them are labelled."""
    draw = np.random.default_rng(0)
    truth = draw.integers(amount.classes, size=rows)
    centres = draw.normal(size=(amount.classes, amount.width)).astype(np.float32)
    noise = draw.normal(size=(rows, amount.width)).astype(np.float32)
    vectors = centres[truth] + 8.0 * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = np.where((truth < amount.classes // 2) & (draw.random(rows) < 0.5), truth, -1)
    return vectors, known


def beginning(vectors: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Class means, and free rows drawn at random."""
    classes = np.unique(known[known >= 0])
    means = [vectors[known == one].mean(0) for one in classes]
    free = np.flatnonzero(known < 0)
    some = np.random.default_rng(1).choice(free, count - len(classes), replace=False)
    return np.stack([*means, *vectors[some]])


def clustered(vectors: np.ndarray, known: np.ndarray, start: np.ndarray, rounds: int) -> np.ndarray:
    from fallow.inventory.semi import semi_kmeans

    return semi_kmeans(
        vectors, known, len(start), start=start, rounds=rounds, tolerance=-1.0
    ).centres


def whole(vectors: np.ndarray, known: np.ndarray, amount: Amount) -> None:
    from fallow.inventory.semi import semi_kmeans

    semi_kmeans(vectors, known, amount.classes, starts=amount.starts)


def whole_published(vectors: np.ndarray, known: np.ndarray, amount: Amount) -> None:
    """One start until it rests, from centres drawn by squared distance."""
    from sklearn.metrics.pairwise import euclidean_distances

    draw = np.random.default_rng(0)
    classes = np.unique(known[known >= 0])
    free = vectors[known < 0]
    centres = np.stack([vectors[known == one].mean(0) for one in classes])
    while len(centres) < amount.classes:
        nearest = euclidean_distances(free, centres, squared=True).min(1)
        chance = np.cumsum(nearest / nearest.sum())
        row = min(int(np.searchsorted(chance, draw.random())), len(free) - 1)
        centres = np.concatenate([centres, free[row : row + 1]])
    published(vectors, known, centres, 100)


def published(vectors: np.ndarray, known: np.ndarray, start: np.ndarray, rounds: int) -> np.ndarray:
    """Pairwise distances, arg-min, and a mean for each cluster in turn, as the authors have it."""
    from sklearn.metrics.pairwise import euclidean_distances

    labelled = known >= 0
    ranks = np.searchsorted(np.unique(known[labelled]), known[labelled])
    centres, member = start.copy(), np.empty(len(vectors), np.int64)
    member[labelled] = ranks
    best, lowest = centres, np.inf
    for _ in range(rounds):
        before = centres.copy()
        away = euclidean_distances(vectors[~labelled], centres, squared=True)
        member[~labelled] = away.argmin(1)
        inertia = away.min(1).sum() + ((vectors[labelled] - centres[ranks]) ** 2).sum()
        for k in range(len(centres)):
            if (member == k).any():
                centres[k] = vectors[member == k].mean(0)
        if inertia < lowest:
            best, lowest = centres.copy(), inertia
        if np.linalg.norm(centres - before, axis=1).sum() ** 2 < 1e-4:
            break
    return best


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Both sides must do the same work: the centres after a few rounds are equal."""
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def rate(one, vectors, known, start, rounds) -> float:  # type: ignore[no-untyped-def]
    """Rounds a second of one start."""
    begin = time.perf_counter()
    one(vectors, known, start, rounds)
    return rounds / (time.perf_counter() - begin)
