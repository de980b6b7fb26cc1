"""Tear complete pictures into pieces along wavy lines, and say where every piece belongs.

Pixels are never turned to be cut: the line is laid through the piece as it lies, so no gaps of a
pixel open between two pieces, and a piece keeps the orientation it had in its picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from fallow.problems import SourceProblem

SAMPLES = 19  # waves that may be laid over a line
REDRAWS = 10  # of the points a line bends at
BORDER = 1  # pixels of ground kept around a piece


@dataclass(frozen=True)
class Tear:
    """How pictures are torn; lengths in pixels."""

    least: float  # height and width of a piece
    margin: float  # between the ends of a line and the top or bottom of what it cuts
    inside: float  # of the points a line bends at, from the outline
    hug: float  # nearness to the outline that counts as running along it
    hugged: int  # points of a line that may run so near
    attempts: int = 35  # to cut anything
    tries: int = 15  # to cut a piece that is too large
    largest: float = 0.15  # share of the picture above which a piece is too large
    aspect: float = 4.0
    filled: float = 0.3  # share of its box that a piece fills at least

    @classmethod
    def at(cls, side: float, **changes: float) -> Tear:
        """For pictures with such a short side; published lengths are those of about 1,800 pixels.

        >>> Tear.at(1800).least, Tear.at(180).margin
        (150.0, 10.0)
        """
        return cls(side / 12, side / 18, side / 90, side / 60, round(side / 20), **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Piece:
    """A piece of a picture, cut to its box; what lies outside the mask is ground."""

    pixels: np.ndarray  # H W 3 uint8
    mask: np.ndarray  # H W bool
    place: np.ndarray  # 2 3: from (x, y) in the whole picture to (x, y) in the piece

    @cached_property
    def area(self) -> int:
        return int(self.mask.sum())

    @cached_property
    def depth(self) -> np.ndarray:
        """How far inside its outline every pixel is.  H W"""
        return signed_distance(self.mask)


def crosses_once(signed: Sequence[float] | np.ndarray) -> bool:
    """Whether a line is outside, then inside, then outside: distances above 0 are inside.

    A point on the outline itself (0) is on neither side, but a line must begin outside.

    >>> crosses_once([-3, 0, 2, 5, -1]), crosses_once([-3, 2, -1, 4, -2]), crosses_once([0, 1, -1])
    (True, False, False)
    """
    signs = np.sign(np.asarray(signed))
    if not len(signs) or signs[0] >= 0:
        return False
    signs = signs[signs != 0]
    turns = signs[1:] != signs[:-1]
    return bool(turns.sum() == 2 and signs[-1] < 0)


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """How far inside the mask (above 0) or outside of it (below) every pixel is.  H W

    >>> signed_distance(np.array([[False, True, True, False]]))[0].tolist()
    [-1.0, 1.0, 1.0, -1.0]
    """
    framed = np.pad(mask, 1)  # beyond the picture is outside
    inside = ndimage.distance_transform_edt(framed)
    outside = ndimage.distance_transform_edt(~framed)
    return (inside - outside)[1:-1, 1:-1]  # type: ignore[no-any-return]


def torn(pixels: np.ndarray, how: Tear, draw: np.random.Generator) -> list[Piece]:
    """The pieces of a picture; a picture no line fits through stays whole.

    >>> made = torn(np.zeros((120, 160, 3), np.uint8), Tear.at(120), np.random.default_rng(0))
    >>> sum(piece.area for piece in made) == 120 * 160
    True
    """
    return torn_further(whole(pixels), how, draw)


def whole(pixels: np.ndarray, mask: np.ndarray | None = None) -> Piece:
    """A picture, or what a mask marks of it, as a piece that lies where it is."""
    seen = np.ones(pixels.shape[:2], bool) if mask is None else mask
    return Piece(pixels, seen, np.eye(2, 3))


def torn_further(piece: Piece, how: Tear, draw: np.random.Generator) -> list[Piece]:
    """The pieces of a piece. All lie in the plane of its picture."""
    if not piece.mask.any():
        raise SourceProblem("there is nothing in the picture to tear: its mask is empty")
    total = piece.area
    pieces = [piece]
    for _ in range(how.attempts):
        sizes = np.array([one.area for one in pieces], float)
        chosen = int(draw.choice(len(pieces), p=sizes / sizes.sum()))
        if (halves := cut(pieces[chosen], how, draw)) is not None:
            pieces[chosen : chosen + 1] = halves
    waiting, done = pieces, []
    while waiting:
        one = waiting.pop()
        halves = None
        if one.area > how.largest * total:
            tried = (cut(one, how, draw) for _ in range(how.tries))
            halves = next((found for found in tried if found is not None), None)
        if halves is None:
            done.append(one)
        else:
            waiting.extend(halves)
    return done[::-1]


def cut(piece: Piece, how: Tear, draw: np.random.Generator) -> tuple[Piece, Piece] | None:
    """Two halves along one drawn line, or None where the line does not suit."""
    height, width = piece.mask.shape
    chord = _chord(width, height, draw)
    if chord is None:
        return None
    rows, columns = np.nonzero(piece.mask)
    start, end = chord
    along = (end - start) / np.linalg.norm(end - start)
    turn = np.stack([along, [-along[1], along[0]]])  # its rows: along the chord, across it
    laid = np.stack([columns, rows], 1) @ turn.T  # pixels where the chord lies level
    low = laid.min(0) - 1
    width, height = (laid.max(0) + 1 - low).tolist()
    level = float(turn[1] @ start - low[1])
    if not how.margin <= level <= height - how.margin:
        return None
    depth = piece.depth

    def deep(points: np.ndarray) -> np.ndarray:
        """How far inside the piece points of the level plane are."""
        back = np.rint((points + low) @ turn).astype(int)
        there = ((back >= 0) & (back < depth.shape[::-1])).all(1)
        found = np.full(len(points), -1.0)
        found[there] = depth[back[there, 1], back[there, 0]]
        return found

    bends = _bends(width, height, level, how.inside, deep, draw)
    if bends is None:
        return None
    knots = np.concatenate([[[0.0, level]], bends, [[width, level]]])
    across = np.arange(round(width) + 1.0)
    line = np.interp(across, *knots.T) + _waves(across, len(bends) + 1, width, height, draw)
    signed = deep(np.stack([across, line], 1))
    near = ((signed > 0) & (signed < how.hug)).sum()
    if near > how.hugged or not crosses_once(signed):
        return None
    x, y = (laid - low).T
    upper = np.zeros_like(piece.mask)
    upper[rows, columns] = y < np.interp(x, across, line)
    halves = [_joined(upper & piece.mask, how), _joined(piece.mask & ~upper, how)]
    if any(half is None for half in halves):
        return None
    # specks that a line cuts off go to the other side: nothing of a picture is lost
    one, other = halves[0], halves[1]
    assert one is not None
    assert other is not None
    specks = piece.mask & ~one & ~other
    one = one | (specks & ~upper)
    return _cropped(piece, one), _cropped(piece, piece.mask & ~one)


def _chord(
    width: float, height: float, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Where a long chord of the circle around a box enters the box and leaves it again."""
    centre = np.array([width, height]) / 2
    radius = float(np.hypot(*centre))
    angles = draw.uniform(0, 2 * np.pi, 2)
    one, other = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    step = other - one
    if np.linalg.norm(step) <= 0.9 * 2 * radius:
        return None
    with np.errstate(divide="ignore"):
        ends = np.sort(np.stack([-one / step, (2 * centre - one) / step]), 0)
    first, last = ends[0].max(), ends[1].min()
    if not 0 <= first < last <= 1:
        return None
    return one + first * step, one + last * step


def _bends(
    width: float,
    height: float,
    level: float,
    inside: float,
    deep: Callable[[np.ndarray], np.ndarray],
    draw: np.random.Generator,
) -> np.ndarray | None:
    """None to three points between the ends, well apart and well inside; None if none were found.

    n 2
    """
    count = int(draw.choice([3, 2, 1, 0], p=[0.5, 0.25, 0.125, 0.125]))
    choices = np.arange(int(width / 6), int(width * 5 / 6))
    if len(choices) < count:
        return None
    for _ in range(1 + REDRAWS):
        x = np.sort(draw.choice(choices, count, replace=False))
        y = draw.uniform(level - height / 20, level + height / 20, count)
        points = np.stack([x, y], 1).astype(float)
        apart = np.diff(np.concatenate([[0], x, [width]])) >= width / 16
        if apart.all() and (deep(points) > inside).all():
            return points
    return None


def _waves(
    across: np.ndarray, stretches: int, width: float, height: float, draw: np.random.Generator
) -> np.ndarray:
    """What is laid over the whole line: for each of its stretches a sum of waves, or nothing."""
    total = np.zeros(len(across))
    order = np.arange(1, SAMPLES + 1)
    for _ in range(stretches):
        if draw.random() < 0.5:
            heights = draw.normal(height / 150, height / 60, SAMPLES)
            periods = draw.normal(1.5 * width, 0.3 * width, SAMPLES)
            phases = draw.uniform(-1, 1, SAMPLES)
            angles = 2 * np.pi * order / periods * across[:, None] + phases
            total += (heights / (order + 1) * np.sin(angles)).sum(1)
    return total


def _joined(half: np.ndarray, how: Tear) -> np.ndarray | None:
    """The one large part of a half, or None where it falls apart or is no good piece."""
    parts, count = ndimage.label(half)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    largest = int(sizes.argmax())
    if sizes.sum() - sizes[largest] > 0.01 * sizes[largest]:
        return None
    kept = parts == largest + 1
    rows, columns = (np.flatnonzero(kept.any(axis)) for axis in (1, 0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    area = sizes[largest]
    good = (
        min(height, width) >= how.least
        and area >= how.least**2
        and max(height, width) <= how.aspect * min(height, width)
        and area >= how.filled * height * width
    )
    return kept if good else None


def _cropped(piece: Piece, kept: np.ndarray) -> Piece:
    """What is kept of a piece, in a box of its own."""
    rows, columns = (np.flatnonzero(kept.any(axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    mask = np.pad(kept[box], BORDER)
    pixels = np.pad(piece.pixels[box], ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), "edge")
    place = piece.place.copy()
    place[:, 2] -= (columns[0] - BORDER, rows[0] - BORDER)
    return Piece(pixels, mask, place)


def on_ground(piece: Piece) -> np.ndarray:
    """The piece's picture with what is not of it in the opposite of its mean colour.  H W 3"""
    if not piece.mask.any():
        return piece.pixels
    ground = np.rint(255 - piece.pixels[piece.mask].mean(0)).astype(np.uint8)
    return np.where(piece.mask[..., None], piece.pixels, ground)


def turned(piece: Piece, angle: float) -> Piece:
    """The piece turned about its middle by an angle in radians, in a box that holds it.

    >>> piece = whole(np.zeros((10, 20, 3), np.uint8))
    >>> turned(piece, np.pi / 2).mask.sum()
    np.int64(200)
    """
    height, width = piece.mask.shape
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])  # of (x, y)
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])
    reach = corners @ turn.T
    low = np.floor(reach.min(0).round(6)) - BORDER
    size = np.ceil((reach.max(0) - low).round(6)).astype(int) + 1 + BORDER
    back = turn.T[::-1, ::-1]  # from (row, column) in the result to the source
    shift = (low @ turn)[::-1]
    shape = (int(size[1]), int(size[0]))
    # framed, for half a pixel beyond the edge still belongs to the pixel at it
    framed = np.pad(piece.mask.astype(np.float32), 1)
    far = ndimage.affine_transform(framed, back, shift + 1, shape, order=1)
    mask = far >= 0.5 - 1e-6
    pixels = np.stack(
        [
            ndimage.affine_transform(channel, back, shift, shape, order=1, mode="nearest")
            for channel in np.moveaxis(piece.pixels, 2, 0)
        ],
        2,
    )
    place = turn @ piece.place
    place[:, 2] -= low
    return Piece(pixels, mask, place)


def between(source: Piece, target: Piece) -> np.ndarray:
    """The rigid map (2 3) that takes (x, y) of one piece to (x, y) of another of its picture.

    >>> piece = whole(np.zeros((4, 6, 3), np.uint8))
    >>> moved = turned(piece, 0.3)
    >>> bool(np.allclose(between(moved, moved), np.eye(2, 3)))
    True
    """
    back = source.place[:, :2].T  # a rotation: its inverse
    turn = target.place[:, :2] @ back
    shift = target.place[:, 2] - turn @ source.place[:, 2]
    return np.concatenate([turn, shift[:, None]], 1)
