"""Neighbours of regions for label propagation, beside one dense product sorted in NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.record import ROOT, Line, alternate, line, most_held

ALONE = True  # no peer to install

PEER = "dense product and argsort, NumPy"
SPEED, MEMORY_MB, SAME = 5.0, 400.0, 0.999


@dataclass(frozen=True)
class Amount:
    regions: int = 100_000  # without a label
    labelled: int = 10_000
    width: int = 384
    neighbours: int = 10
    peer_rows: int = 512  # of `regions`, timed for all
    measured: int = 20_000  # regions the two sides are timed on in turn
    growth: tuple[int, ...] = (10_000, 20_000, 40_000)
    pairs: int = 3


QUICK = Amount(
    regions=3000, labelled=300, width=32, peer_rows=64, measured=2000,
    growth=(500, 1000, 2000), pairs=1,
)  # fmt: skip


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """The peer is written below, so `python` is not needed; vectors are made from a seed."""
    amount = QUICK if quick else Amount()
    warm(amount)
    vectors, known = made(amount.measured, amount.labelled, amount.width)
    shape = f"{amount.measured:,} + {amount.labelled:,} regions x {amount.width}"

    def ours() -> float:
        begin = time.perf_counter()
        near(vectors, known, amount)
        return len(vectors) / (time.perf_counter() - begin)

    def theirs() -> float:
        begin = time.perf_counter()
        published(vectors[: amount.peer_rows], vectors, known, amount)
        return amount.peer_rows / (time.perf_counter() - begin)

    lines = [
        line(f"regions/s, {shape}", PEER, np.__version__, alternate(ours, theirs, amount.pairs),
             SPEED),
        agreement(vectors, known, amount),
    ]  # fmt: skip
    vectors, known = made(amount.regions, amount.labelled, amount.width)
    begin = time.perf_counter()
    near(vectors, known, amount)
    rate = amount.regions / (time.perf_counter() - begin)
    begin = time.perf_counter()
    published(vectors[: amount.peer_rows], vectors, known, amount)
    peer = amount.peer_rows / (time.perf_counter() - begin)
    shape = f"{amount.regions:,} + {amount.labelled:,} regions x {amount.width}"
    used = peak(amount)
    lines += [
        line(f"regions/s, {shape}", PEER, np.__version__, [(rate, peer)], SPEED),
        line(f"memory beyond the vectors, limit over used, {shape}", "-", "",
             [(MEMORY_MB, max(used, 1.0))], 1.0, used),
    ]  # fmt: skip
    return [*lines, *growth(amount), spreading(amount)]


def made(count: int, labelled: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors as an encoder gives regions: a common mean, and kinds that recur."""
    random = np.random.default_rng(0)
    kinds = random.normal(size=(64, width)).astype(np.float32)
    common = 2 * random.normal(size=width).astype(np.float32)
    total = count + labelled
    vectors = random.standard_normal((total, width), np.float32)
    vectors += common + kinds[random.integers(0, len(kinds), total)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[:count], vectors[count:]


def near(vectors: np.ndarray, known: np.ndarray, amount: Amount) -> np.ndarray:
    from fallow.inventory.nearest import most_similar

    return most_similar(vectors, amount.neighbours, known).rows


def warm(amount: Amount) -> None:
    """Compile before the clock starts."""
    vectors, known = made(3000, 10, 8)
    near(vectors, known, amount)


def published(
    queries: np.ndarray, vectors: np.ndarray, known: np.ndarray, amount: Amount
) -> np.ndarray:
    """All similarities of some regions at once, sorted; the first of each is dropped as itself."""
    similar = queries @ np.concatenate([known, vectors]).T
    return np.argsort(-similar, axis=1)[:, 1 : amount.neighbours + 1]


def agreement(vectors: np.ndarray, known: np.ndarray, amount: Amount) -> Line:
    """Share of neighbours both sides name in the same place; rounding may swap near ties."""
    ours = near(vectors, known, amount)[: amount.peer_rows]
    theirs = published(vectors[: amount.peer_rows], vectors, known, amount)
    same = float((ours == theirs).mean())
    return line("neighbours in the same place, over the share wanted", PEER, np.__version__,
                [(same, SAME)], 1.0)  # fmt: skip


def growth(amount: Amount) -> list[Line]:
    """Pairs of regions compared per second at rising counts, each beside the one before."""
    rates = {}
    for count in amount.growth:
        vectors, known = made(count, amount.labelled, amount.width)
        begin = time.perf_counter()
        near(vectors, known, amount)
        seconds = time.perf_counter() - begin
        rates[count] = count * (count + amount.labelled) / seconds
    return [
        line(f"growth: pairs/s at {large:,} regions beside {small:,}", f"fallow, {small:,}", "",
             [(rates[large], rates[small])], None)
        for small, large in pairwise(amount.growth)
    ]  # fmt: skip


def spreading(amount: Amount) -> Line:
    """Rounds of propagation per second over all regions, and the reverse pass, beside loops."""
    from fallow.methods.discover.gcdss import doubt, propagate, rank_weights

    random = np.random.default_rng(0)
    total = amount.regions + amount.labelled
    neighbours = random.integers(0, total, (amount.regions, amount.neighbours))
    labels = random.integers(0, 15, amount.labelled)
    weights = rank_weights(amount.neighbours)

    def ours() -> float:
        begin = time.perf_counter()
        found = propagate(neighbours, labels, weights, threshold=0.1, rounds=10)
        doubt(neighbours, labels, found, weights, threshold=0.1)
        return amount.regions / (time.perf_counter() - begin)

    def theirs() -> float:
        few = max(10, amount.regions // 100)
        begin = time.perf_counter()
        region_by_region(neighbours[:few], labels, amount.regions, weights)
        # one of eleven passes
        return few / (time.perf_counter() - begin) / 11

    return line("regions/s through 10 rounds and the reverse pass", "region by region, NumPy",
                np.__version__, alternate(ours, theirs, amount.pairs), None)  # fmt: skip


def region_by_region(
    neighbours: np.ndarray, labels: np.ndarray, regions: int, weights: np.ndarray
) -> list[int]:
    """One round as the original does it: a bin count for each region."""
    given = np.r_[labels, np.full(regions, 255)]
    sure = np.r_[np.ones(len(labels)), np.zeros(regions)]
    best = []
    for near_by in neighbours:
        votes = np.bincount(given[near_by], weights * sure[near_by], minlength=256)
        best.append(int(votes[:255].argmax()))
    return best


def peak(amount: Amount) -> float:
    """Megabytes a fresh process needs for the neighbours, beyond the vectors it holds."""
    words = [amount.regions, amount.labelled, amount.width, amount.neighbours]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.nerg", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout))


def _peak_here() -> None:
    regions, labelled, width, neighbours = map(int, sys.argv[1:])
    amount = Amount(neighbours=neighbours)
    warm(amount)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((regions, width), np.float32)
    known = random.standard_normal((labelled, width), np.float32)
    for row in vectors:  # in place: the peak is to be the neighbours', not that of making vectors
        row /= np.linalg.norm(row)
    before = most_held()
    near(vectors, known, amount)
    print(json.dumps(most_held() - before))


if __name__ == "__main__":
    _peak_here()
