"""Pieces laid together: joins one after the other, the surest first, then all at once.

A join says how two pieces touch. Whatever lies on another piece, or leaves a gap where it should
touch, is taken out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from fallow.images.tearing import Piece
from fallow.regions.rigid import after, fitted, inverse, moved
from fallow.regions.superpixels import oklab

ROUNDS = 8  # of refinement
TOUCH = 3.0  # pixels between outlines that touch
ALIKE = 0.04  # difference of colours at which a stretch counts a third
INNER, WIDE = 2.0, 7  # pixels: colours are taken so deep inside, from a square so wide
ROUGH = 3.0  # times the overlap that passes before a group is refined
SUNK = 2.0  # pixels a piece may lie on another before it counts


@dataclass(frozen=True)
class Joining:
    """What a join must be like; lengths in pixels of the pieces as they are matched."""

    least: float = 20.0  # length of the stretch that touches
    overlap: float = 0.02  # share of the smaller piece that lies on the other
    gap: float = 2.0  # between the two, on average over the stretch
    sure: float = 8.0  # of a join's score
    colour: float = 0.1  # difference of colours across the stretch, on average


@dataclass(frozen=True)
class Shape:
    """A piece as it is laid: its outline, and how far inside it every pixel is."""

    outline: np.ndarray  # n 2
    piece: Piece
    inner: np.ndarray = field(repr=False)  # m 2, some of the pixels it covers
    tree: cKDTree = field(repr=False)
    rim: np.ndarray = field(repr=False)  # n 3, colours just inside the outline

    @classmethod
    def of(cls, piece: Piece, outline: np.ndarray) -> Shape:
        step = 2 if piece.area < 200_000 else 4
        rows, columns = np.nonzero(piece.mask[::step, ::step])
        inner = np.stack([columns, rows], 1) * float(step)
        return cls(outline.astype(float), piece, inner, cKDTree(outline), _rim(piece, outline))


def _rim(piece: Piece, outline: np.ndarray) -> np.ndarray:
    """Colours around each point of an outline, a few pixels inside the piece.  n 3, Oklab"""
    inside = (piece.depth >= INNER).astype(np.float32)
    share = ndimage.uniform_filter(inside, WIDE, mode="constant")
    colours = oklab(piece.pixels)
    means = np.stack(
        [ndimage.uniform_filter(colours[..., k] * inside, WIDE, mode="constant") for k in range(3)],
        2,
    )
    x, y = outline.T
    return (means / np.maximum(share, 1e-6)[..., None])[y, x]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Join:
    """How one piece lies to another, and how good that is."""

    source: int
    target: int
    map: np.ndarray  # 2 3: from the source's (x, y) to the target's
    length: float  # pixels of outline that touch
    gap: float  # mean distance there
    overlap: float  # share of the smaller piece
    colour: float = 0.0  # difference of colours across the stretch

    @property
    def score(self) -> float:
        """Long stretches count, and less so if they lie badly or their colours differ."""
        lies = max(0.0, 1 - 10 * self.overlap) / (1 + self.gap)
        return float(self.length * lies * np.exp(-self.colour / ALIKE))


@dataclass(frozen=True)
class Group:
    """Pieces that lie together: where each is, and what holds them."""

    places: dict[int, np.ndarray]  # piece -> 2 3, to the group's plane
    joins: list[Join]
    overlap: float = 0.0  # share of the group's pieces that lies on others
    gap: float = 0.0  # mean distance along its joins

    def __len__(self) -> int:
        return len(self.places)


def laid(shapes: Sequence[Shape], source: int, target: int, map: np.ndarray) -> Join:
    """A join from a rough map: the outlines are drawn together, and what came of it measured."""
    one, other = shapes[source], shapes[target]
    for reach in (3 * TOUCH, 2 * TOUCH, TOUCH, TOUCH):
        ours, theirs = _meeting(one, other, map, reach)
        if len(ours) < 5:
            break
        map = fitted(one.outline[ours], other.outline[theirs])
    return measured(shapes, Join(source, target, map, 0.0, 0.0, 0.0))


def measured(shapes: Sequence[Shape], join: Join) -> Join:
    """The same join with what its map now makes of it."""
    one, other = shapes[join.source], shapes[join.target]
    ours, theirs = _meeting(one, other, join.map, TOUCH)
    if not len(ours):
        return replace(join, length=0.0, gap=float("inf"), overlap=0.0)
    distance = np.linalg.norm(
        moved(one.outline[ours], join.map) - other.outline[theirs], axis=1
    ).mean()
    spacing = np.linalg.norm(np.diff(one.outline, axis=0), axis=1).mean()
    return replace(
        join,
        length=float(len(ours) * spacing),
        gap=float(distance),
        overlap=overlap(one, other, join.map),
        colour=float(np.linalg.norm(one.rim[ours] - other.rim[theirs], axis=1).mean()),
    )


def _meeting(
    one: Shape, other: Shape, map: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points of two outlines that are nearest to each other, and near.

    Only where the outlines run against each other, as those of pieces side by side do.
    """
    there = moved(one.outline, map)
    distance, theirs = other.tree.query(there, distance_upper_bound=reach)
    ours = np.flatnonzero(np.isfinite(distance))
    theirs = theirs[ours]
    along = _direction(there)[ours]
    against = (along * _direction(other.outline)[theirs]).sum(1) < 0
    return ours[against], theirs[against]


def _direction(points: np.ndarray) -> np.ndarray:
    """Which way a closed line runs at each point, over a few of them."""
    return np.roll(points, -3, 0) - np.roll(points, 3, 0)


def overlap(one: Shape, other: Shape, map: np.ndarray) -> float:
    """Share of the smaller piece that lies clearly on the other under a map."""
    places = np.rint(moved(one.inner, map)).astype(int)
    depth = other.piece.depth
    within = ((places >= 0) & (places < depth.shape[::-1])).all(1)
    sunk = (depth[places[within, 1], places[within, 0]] > SUNK).sum()
    share = sunk / len(one.inner) * one.piece.area
    return float(share / min(one.piece.area, other.piece.area))


def good(join: Join, how: Joining) -> bool:
    """Whether two pieces may be held together by a join."""
    return (
        join.length >= how.least
        and join.overlap <= how.overlap
        and join.gap <= how.gap
        and join.colour <= how.colour
        and join.score >= how.sure
    )


def assembled(shapes: Sequence[Shape], joins: Sequence[Join], how: Joining) -> list[Group]:
    """Groups of two and more pieces, the largest first.

    Joins are taken by their score; one that would lay a piece on another is passed over. Then all
    places of a group are moved together until its outlines lie best, and what still overlaps or
    gapes is taken out.
    """
    kept = sorted((one for one in joins if good(one, how)), key=lambda one: -one.score)
    groups = [Group({k: np.eye(2, 3)}, []) for k in range(len(shapes))]
    for _ in range(2):  # what did not fit a group that was laid roughly may fit the settled one
        merged = _greedy(shapes, groups, kept, how)
        groups = [part for one in merged for part in _settled(shapes, one, how)]
    done = [one for one in groups if len(one) > 1]
    return sorted(done, key=lambda one: (-len(one), min(one.places)))


def _greedy(
    shapes: Sequence[Shape], groups: Sequence[Group], joins: Sequence[Join], how: Joining
) -> list[Group]:
    """Groups held together by joins, taken in their order."""
    groups = [Group(dict(one.places), list(one.joins)) for one in groups]
    where = {k: n for n, one in enumerate(groups) for k in one.places}
    for join in joins:
        here, there = groups[where[join.source]], groups[where[join.target]]
        if here is there:
            if _agrees(here, join) and not any(_same(join, one) for one in here.joins):
                here.joins.append(join)
            continue
        map = after(there.places[join.target], after(join.map, inverse(here.places[join.source])))
        carried = {k: after(map, place) for k, place in here.places.items()}
        if _lies_free(shapes, carried, there.places, ROUGH * how.overlap):
            there.places.update(carried)
            there.joins.extend([*here.joins, join])
            where |= dict.fromkeys(carried, where[join.target])
    return [groups[n] for n in dict.fromkeys(where.values())]


def _same(one: Join, other: Join) -> bool:
    return {one.source, one.target} == {other.source, other.target}


def _agrees(group: Group, join: Join) -> bool:
    """Whether a join of two pieces that lie already says about the same."""
    stands = after(inverse(group.places[join.target]), group.places[join.source])
    points = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    return bool(np.linalg.norm(moved(points, stands) - moved(points, join.map), axis=1).max() < 20)


def _lies_free(
    shapes: Sequence[Shape],
    some: dict[int, np.ndarray],
    others: dict[int, np.ndarray],
    most: float,
) -> bool:
    return all(
        overlap(shapes[a], shapes[b], after(inverse(others[b]), some[a])) <= most
        for a, b in product(some, others)
        if _near(shapes[a], some[a], shapes[b], others[b])
    )


def _near(one: Shape, place: np.ndarray, other: Shape, there: np.ndarray) -> bool:
    a, b = moved(one.outline, place), moved(other.outline, there)
    return bool((a.min(0) <= b.max(0) + TOUCH).all() and (b.min(0) <= a.max(0) + TOUCH).all())


def _settled(shapes: Sequence[Shape], group: Group, how: Joining) -> list[Group]:
    """A group refined and checked; joins that fail are cut, and what they held apart is checked."""
    if len(group) == 1:
        return [group]
    group = refined(shapes, group)
    checked = [measured(shapes, _standing(group, join)) for join in group.joins]
    bad = [join for join in checked if not good(join, how)]
    lying = [
        (a, b)
        for a, b in combinations(sorted(group.places), 2)
        if _near(shapes[a], group.places[a], shapes[b], group.places[b])
        and overlap(
            shapes[a], shapes[b], after(inverse(group.places[b]), group.places[a])
        ) > how.overlap
    ]  # fmt: skip
    if not bad and not lying:
        total = sum(shapes[k].piece.area for k in group.places)
        covered = sum(
            join.overlap * min(shapes[join.source].piece.area, shapes[join.target].piece.area)
            for join in checked
        )
        gap = float(np.mean([join.gap for join in checked]))
        return [replace(group, joins=checked, overlap=covered / total, gap=gap)]
    if bad:
        left = [join for join in checked if good(join, how)]
    else:  # of two pieces that lie on each other the one that is held less well goes
        held = {k: sum(j.score for j in checked if k in (j.source, j.target)) for k in group.places}
        loose = min(lying[0], key=lambda k: (held[k], k))
        left = [join for join in checked if loose not in (join.source, join.target)]
    parts = _connected(group.places, left)
    return [done for part in parts for done in _settled(shapes, part, how)]


def _standing(group: Group, join: Join) -> Join:
    """A join with the map the group's places make of it."""
    map = after(inverse(group.places[join.target]), group.places[join.source])
    return replace(join, map=map)


def _connected(places: dict[int, np.ndarray], joins: Sequence[Join]) -> list[Group]:
    parts = {k: {k} for k in places}
    for join in joins:
        one, other = parts[join.source], parts[join.target]
        if one is not other:
            one |= other
            for k in other:
                parts[k] = one
    found: dict[int, Group] = {}
    for part in parts.values():
        held = [join for join in joins if join.source in part]
        found[min(part)] = Group({k: places[k] for k in sorted(part)}, held)
    return list(found.values())


def refined(shapes: Sequence[Shape], group: Group) -> Group:
    """All pieces but the first moved at once until what touches lies as near as it can."""
    names = sorted(group.places)
    places = {k: place.copy() for k, place in group.places.items()}
    free = {k: 3 * n for n, k in enumerate(names[1:])}
    for _ in range(ROUNDS):
        normal, right = np.zeros((3 * len(free),) * 2), np.zeros(3 * len(free))
        for a, b in combinations(names, 2):
            if _near(shapes[a], places[a], shapes[b], places[b]):
                _pull(shapes, places, free, a, b, normal, right)
        normal[np.diag_indices_from(normal)] += 1e-6 * max(1.0, float(normal.diagonal().max()))
        step = np.linalg.solve(normal, right)
        for k, start in free.items():
            turn, shift = step[start], step[start + 1 : start + 3]
            cosine, sine = np.cos(turn), np.sin(turn)
            middle = moved(shapes[k].outline, places[k]).mean(0)
            rotation = np.array([[cosine, -sine], [sine, cosine]])
            move = np.concatenate([rotation, (middle + shift - rotation @ middle)[:, None]], 1)
            places[k] = after(move, places[k])
        if not len(step) or np.abs(step).max() < 1e-4:
            break
    return replace(group, places=places)


def _pull(
    shapes: Sequence[Shape],
    places: dict[int, np.ndarray],
    free: dict[int, int],
    a: int,
    b: int,
    normal: np.ndarray,
    right: np.ndarray,
) -> None:
    """Add what two pieces that touch ask of each other to the normal equations."""
    ours, theirs = _meeting(shapes[a], shapes[b], after(inverse(places[b]), places[a]), 2 * TOUCH)
    if len(ours) < 5:
        return
    here = moved(shapes[a].outline[ours], places[a])
    there = moved(shapes[b].outline[theirs], places[b])
    away = (there - here).reshape(-1)  # 2m
    weight = np.repeat(1 / np.maximum(1.0, np.linalg.norm(there - here, axis=1)), 2)
    columns: list[int] = []
    blocks = []
    for k, points, sign in ((a, here, 1.0), (b, there, -1.0)):
        if k in free:
            arm = points - moved(shapes[k].outline, places[k]).mean(0)
            block = np.zeros((len(points), 2, 3))
            block[:, 0, 0], block[:, 1, 0] = -arm[:, 1], arm[:, 0]
            block[:, 0, 1] = block[:, 1, 2] = 1.0
            blocks.append(sign * block.reshape(-1, 3))
            columns += range(free[k], free[k] + 3)
    if not blocks:
        return
    whole = np.concatenate(blocks, 1)
    index = np.ix_(columns, columns)
    normal[index] += whole.T @ (weight[:, None] * whole)
    right[columns] += whole.T @ (weight * away)


def picture(
    pieces: Sequence[Piece], places: dict[int, np.ndarray], longest: int | None = None
) -> np.ndarray:
    """Pieces laid where they belong, on nothing.  H W 4 uint8

    >>> from fallow.images.tearing import whole
    >>> one = whole(np.full((4, 6, 3), 9, np.uint8))
    >>> shift = np.array([[1.0, 0.0, 6.0], [0.0, 1.0, 0.0]])
    >>> picture([one, one], {0: np.eye(2, 3), 1: shift}).shape
    (4, 12, 4)
    """
    corners = {k: moved(_corners(pieces[k].mask.shape), place) for k, place in places.items()}
    low = np.concatenate(list(corners.values())).min(0)
    size = np.concatenate(list(corners.values())).max(0) - low
    scale = 1.0 if longest is None else min(1.0, longest / max(size + 1))
    width, height = np.floor(size.round(3) * scale).astype(int) + 1
    sheet = np.zeros((height, width, 4), np.uint8)
    for k, place in places.items():
        _lay(sheet, pieces[k], place, low, scale)
    return sheet


def _corners(size: tuple[int, ...]) -> np.ndarray:
    height, width = size
    return np.array([[0.0, 0.0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])


def _lay(sheet: np.ndarray, piece: Piece, place: np.ndarray, low: np.ndarray, scale: float) -> None:
    """Draw one piece into its box on the sheet."""
    reach = (moved(_corners(piece.mask.shape), place) - low) * scale
    first = np.maximum(np.floor(reach.min(0)).astype(int), 0)
    last = np.minimum(np.ceil(reach.max(0)).astype(int) + 1, sheet.shape[1::-1])
    if (first >= last).any():
        return
    columns, rows = np.meshgrid(np.arange(first[0], last[0]), np.arange(first[1], last[1]))
    points = np.stack([columns, rows], 2).reshape(-1, 2) / scale + low
    x, y = moved(points, inverse(place)).T
    inside = ndimage.map_coordinates(
        piece.mask.astype(np.float32), [y, x], order=1, mode="constant"
    )
    held = inside >= 0.5
    box = sheet[first[1] : last[1], first[0] : last[0]].reshape(-1, 4).copy()
    for channel in range(3):
        values = ndimage.map_coordinates(
            piece.pixels[..., channel], [y[held], x[held]], order=1, mode="nearest"
        )
        box[held, channel] = values
    box[held, 3] = 255
    shape = (last[1] - first[1], last[0] - first[0], 4)
    sheet[first[1] : last[1], first[0] : last[0]] = box.reshape(shape)
