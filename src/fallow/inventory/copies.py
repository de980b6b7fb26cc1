"""Which pictures are copies of one another, and what was done to them.

Each suggested pair is laid over the other and judged by its pixels. A copy shows all of a picture,
or is all shown in it, with no part that moved: two photos of one scene do not pass, however alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fallow.inventory.alignment import Compared, compared
from fallow.inventory.changes import described, original
from fallow.inventory.keypoints import Keypoints, keypoints, luma, small
from fallow.inventory.matching import aligned
from fallow.inventory.suggestions import alike_pairs, suggested

AGREEING = 7  # points that must agree on one map before pixels are compared: writing leaves few
# At half the size: agreement under a map as it is given, and once it is refined. Planted copies
# of seven sets have 0.74 and more at first, most other pairs less than 0.5.
PROMISING = (0.6, 0.75)
# Blocks that hold something. Fewer fit over much, as one drawn disc fits over any other: those are
# a copy only where they lie as they are. Of drawn figures one pair in a hundred has more.
HELD_ENOUGH = 32.0
MOVED = 0.004  # mass of what is in one picture only from which something has moved
ASIDE = 0.04  # of the longer side that a corner may lie beside a corner
RUN = 16  # pairs a thread takes at once: each is a millisecond or less
HELD = 512  # small pictures in memory at once

# What `recipes.judgement_copies` chose: a copy is where the weighted sum is above zero. The values
# are those `values` makes of a comparison.
WEIGHTS = (0.959, 1.934, 1.507, 1.273)
OFFSET = -25.816


class Copy(NamedTuple):
    """One picture that is a copy of another: rows, what was done in words, and how surely."""

    row: int
    of: int
    change: str
    score: float  # above 0, the higher the surer


class CopyGroup(NamedTuple):
    """Copies of one picture, the one worth keeping, and what was done to each but that one."""

    items: list[int]
    keep: int
    changes: list[str]


class Copies(NamedTuple):
    """All that are copies of one another, by twos and around those worth keeping."""

    pairs: list[Copy]
    groups: list[CopyGroup]


class Pair(NamedTuple):
    """Two pictures laid over each other."""

    first: int
    second: int
    mirrored: bool
    compared: Compared


def find_copies(
    pictures: Sequence[np.ndarray],
    *,
    sizes: np.ndarray | None = None,
    worth: np.ndarray | None = None,
    near: np.ndarray | None = None,
    looks: np.ndarray | None = None,
    points: Sequence[Keypoints] | None = None,
    threads: int = 1,
) -> Copies:
    """Copies among small pictures (H W 3 or H W, uint8), of about as many pixels as `small` gives.

    `pictures` may decode on demand: at most HELD are kept. `sizes` (N 2) are width and height of
    the files, which tell a reduced copy; `worth` (N M) ranks what else is equal, larger better.
    `near` (N k) are rows that look alike to an encoder, `looks` (N uint64) perceptual hashes: pairs
    that few points suggest. `points` are those of `picture_points`, if found while decoding.

    >>> draw = np.random.default_rng(0)
    >>> photo = draw.integers(0, 256, (9, 12, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    >>> other = draw.integers(0, 256, (9, 12, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    >>> found = find_copies([photo, other, photo[:, ::-1]])
    >>> [(copy.row, copy.of, copy.change) for copy in found.pairs]
    [(2, 0, 'mirrored')]
    """
    if points is None:
        with ThreadPoolExecutor(threads) as pool:
            points = list(pool.map(picture_points, pictures))
    if sizes is None:
        sizes = np.array([picture.shape[1::-1] for picture in pictures]).reshape(-1, 2)
    if worth is None:
        worth = np.asarray(sizes, np.float64).prod(axis=1)[:, None]
    pairs = compared_pairs(pictures, points, near, looks, threads)
    scores = np.array([score(pair) for pair in pairs])
    kept = np.flatnonzero((scores > 0) & consistent(pairs, scores))
    known = {(pairs[place].first, pairs[place].second): place for place in kept}
    directed = [
        (second, first)
        if original(pictures[first], pictures[second], pairs[place], sizes, worth) == first
        else (first, second)
        for (first, second), place in known.items()
    ]
    told: dict[tuple[int, int], Copy] = {}

    def tell(row: int, of: int) -> Copy:
        place = known[min(row, of), max(row, of)]
        pair = pairs[place]
        change = described(row, of, pair, pictures[row], pictures[of], sizes)
        copy = Copy(row, of, change, float(scores[place]))
        return told.setdefault((min(row, of), max(row, of)), copy)

    groups = []
    for items, keep in grouped(directed, worth):
        changes = ["" if row == keep else tell(row, keep).change for row in items]
        groups.append(CopyGroup(items, keep, changes))
    for row, of in directed:  # copies of one copy; of the picture kept, all is told
        if (min(row, of), max(row, of)) not in told:
            tell(row, of)
    return Copies(sorted(told.values()), groups)


def picture_points(picture: np.ndarray) -> Keypoints:
    """The points of one picture, as `find_copies` needs them."""
    return keypoints(small(luma(picture)))


def score(pair: Pair) -> float:
    """Above zero for copies."""
    return float(np.dot(values(pair.compared), WEIGHTS) + OFFSET)


def values(pair: Compared) -> np.ndarray:
    """What a comparison says, on scales on which sums make sense; more speaks for a copy."""
    return np.array(
        [
            -np.log(1.1 - min(pair.agreement, 1.0)),
            -np.log(pair.displacement + 0.015),
            -np.log(pair.changed * (1 - pair.written) + 3e-4),
            -np.log(pair.noise + 3e-3),
        ]
    )


def consistent(pairs: Sequence[Pair], scores: np.ndarray) -> np.ndarray:
    """False where a stronger pair speaks against one: a poor copy hides what changed.

    If a picture goes with one photo, and something visibly moved between that photo and another,
    it does not go with the other as well.
    """
    partners: dict[int, list[tuple[float, int]]] = {}
    moved: set[tuple[int, int]] = set()
    for pair, value in zip(pairs, scores, strict=True):
        partners.setdefault(pair.first, []).append((value, pair.second))
        partners.setdefault(pair.second, []).append((value, pair.first))
        found = pair.compared
        if found.agreement > 0.9 and found.changed * (1 - found.written) > MOVED:
            moved |= {(pair.first, pair.second), (pair.second, pair.first)}
    return np.array(
        [
            not any(
                stronger > value and (other, end) in moved
                for row, end in ((pair.first, pair.second), (pair.second, pair.first))
                for stronger, other in partners[row]
                if other != end
            )
            for pair, value in zip(pairs, scores, strict=True)
        ],
        bool,
    )


def compared_pairs(
    pictures: Sequence[np.ndarray],
    points: Sequence[Keypoints],
    near: np.ndarray | None = None,
    looks: np.ndarray | None = None,
    threads: int = 1,
) -> list[Pair]:
    """Every suggested pair of pictures that could be laid over each other, the better way round."""

    @lru_cache(HELD)
    def plane(row: int) -> np.ndarray:
        return small(luma(pictures[row]))

    def strongest(row: int) -> np.ndarray:
        """The strongest colour of each pixel, which a turn of the colours leaves as it is."""
        picture = pictures[row]
        return small(picture if picture.ndim == 2 else picture.max(axis=2))

    def by_points(first: int, second: int, mirrored: bool) -> Pair | None:
        width = plane(first).shape[1] if mirrored else 0  # else nothing need be decoded yet
        number, affine = aligned(points[first], points[second], width, mirrored)
        if number < AGREEING:
            return None
        return _pair(plane, strongest, first, second, mirrored, affine)

    def as_they_are(first: int, second: int) -> Pair | None:
        (height, width), (other_height, other_width) = plane(first).shape, plane(second).shape
        x, y = other_width / width, other_height / height
        affine = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]])
        return _pair(plane, strongest, first, second, False, affine)

    def laid(job: tuple[tuple[int, int], list[bool]]) -> Pair | None:
        (first, second), ways = job
        found = [by_points(first, second, mirrored) for mirrored in ways]
        if not any(found) and (first, second) in alike:
            found = [as_they_are(first, second)]
        sure = (pair for pair in found if pair is not None and enough(pair))
        return max(sure, key=score, default=None)

    def enough(pair: Pair) -> bool:
        if pair.compared.held >= HELD_ENOUGH:
            return True
        return not pair.mirrored and in_place(
            pair.compared.back, plane(pair.first).shape, plane(pair.second).shape
        )

    jobs: dict[tuple[int, int], list[bool]] = {}
    for first, second, mirrored, _ in suggested(points).tolist():
        jobs.setdefault((first, second), []).append(bool(mirrored))
    alike = alike_pairs(near, looks)
    for pair in alike:
        jobs.setdefault(pair, [False])
    ordered = sorted(jobs.items())
    runs = [ordered[start : start + RUN] for start in range(0, len(ordered), RUN)]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda run: [laid(job) for job in run], runs)
        return [pair for run in found for pair in run if pair is not None]


def _pair(
    plane: Callable[[int], np.ndarray],
    strongest: Callable[[int], np.ndarray],
    first: int,
    second: int,
    mirrored: bool,
    affine: np.ndarray,
) -> Pair | None:
    def laid(look: Callable[[int], np.ndarray]) -> Pair | None:
        source = look(first)
        if mirrored:
            source = np.ascontiguousarray(source[:, ::-1])
        found = compared(source, look(second), affine, PROMISING)
        return None if found is None else Pair(first, second, mirrored, found)

    pair = laid(plane)
    if pair is None or pair.compared.agreement < 0.9 or pair.compared.changed < 1e-3:
        return pair
    # brightness changes in places where colours were turned
    other = laid(strongest)
    return pair if other is None or score(other) < score(pair) else other


def in_place(back: np.ndarray, shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether a map from an other picture to a picture leads corners to corners, about.

    >>> in_place(np.diag([2.0, 2.0, 1.0]), (80, 60), (40, 30))
    True
    >>> in_place(np.eye(3), (80, 60), (40, 30))
    False
    """
    ends = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], float).T
    there = back @ (ends * np.array([[other[1]], [other[0]], [1]]))
    off = there[:2] / there[2] - ends[:2] * np.array([[shape[1]], [shape[0]]])
    return bool(np.abs(off).max() <= ASIDE * max(shape))


def grouped(copies: Sequence[tuple[int, int]], worth: np.ndarray) -> list[tuple[list[int], int]]:
    """Groups around the picture worth keeping, of (copy, original): rows, and the kept one.

    Everything in a group is directly a copy of the kept one: chains of small steps do not tie
    different pictures together. A picture that others are copies of goes before them, then the
    one worth most (`worth` N M, first column first).

    >>> grouped([(1, 0), (2, 1)], np.array([[3.0], [2.0], [1.0]]))
    [([0, 1], 0)]
    """
    partners: dict[int, set[int]] = {}
    for row, of in copies:
        partners.setdefault(row, set()).add(of)
        partners.setdefault(of, set()).add(row)
    made = {row for row, _ in copies}
    order = sorted(partners, key=lambda row: (row in made, *(-worth[row]), row))
    taken: set[int] = set()
    groups = []
    for keep in order:
        others = partners[keep] - taken
        if keep in taken or not others:
            continue
        items = sorted({keep, *others})
        taken.update(items)
        groups.append((items, keep))
    return sorted(groups)
