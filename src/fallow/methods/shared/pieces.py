"""Torn pieces as a network sees them, and pairs of them that are known to touch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from fallow.images.tearing import Piece, Tear, between, on_ground, torn_further, turned, whole
from fallow.regions.contours import (
    NoOutline,
    along,
    courses,
    line_patches,
    line_plane,
    outline,
    patches,
    ways,
)
from fallow.regions.rigid import contacts

FEWEST = 17  # points: a point and those it is linked with, eight before and eight after
FILLS = {"line": 0, "filled": 1, "both": 2}
OFFSETS = (-28, -21, -15, -10, -6, -3, 3, 6, 10, 15, 21, 28)  # pixels along the outline

Frame = Literal["line", "picture"]


@dataclass(frozen=True)
class Look:
    """How much of an outline is seen.

    Seen along its line, a piece looks the same however it lies on the table; seen in the frame of
    its picture, it does not.
    """

    stride: int  # of the outline's pixels one in so many is a point
    width: int = 7  # places a side of the square seen around a point
    line: str = "line"  # what of the piece's form is drawn in it: line, filled or both
    frame: Frame = "line"
    step: int = 2  # pixels from place to place, along the line


@dataclass(frozen=True)
class Outline:
    """A piece as its points and what is around them."""

    points: np.ndarray  # n 2, (x, y) in the piece
    lines: np.ndarray  # n k k uint8
    colours: np.ndarray  # n 3 k k uint8
    course: np.ndarray  # n R 2, where the line comes from and goes to

    def __len__(self) -> int:
        return len(self.points)


def seen(piece: Piece, how: Look) -> Outline:
    """The outline of a piece; a NoOutline where it has none.

    >>> mask = np.zeros((40, 50), bool)
    >>> mask[4:36, 4:46] = True
    >>> found = seen(whole(np.zeros((40, 50, 3), np.uint8), mask), Look(2))
    >>> found.colours.shape[1:], len(found) > 60
    ((3, 7, 7), True)
    """
    points = outline(piece.mask)
    size = piece.mask.shape
    kept = points[:: how.stride]
    if len(kept) < FEWEST:
        raise NoOutline(
            f"the outline of the piece has {len(kept)} points and {FEWEST} are the least: "
            "give a larger picture of it"
        )
    way = ways(points)
    course = courses(points, way, OFFSETS)[:: how.stride]
    way = way[:: how.stride]
    if how.frame == "picture":
        drawn = line_patches(points, size, how.width, fill=FILLS[how.line])[:: how.stride]
        around = patches(on_ground(piece), kept, how.width)
    else:
        thick = ndimage.maximum_filter(line_plane(points, size), 2 * (how.step // 2) + 1)
        soft = ndimage.uniform_filter(on_ground(piece), (how.step, how.step, 1))
        drawn = along(thick, kept, way, how.width, how.step, order=0)
        around = along(soft, kept, way, how.width, how.step, order=1)
    return Outline(kept, drawn, np.ascontiguousarray(around.transpose(0, 3, 1, 2)), course)


def shrunk(piece: Piece, scale: float) -> Piece:
    """A piece at another scale; its place then maps the picture at that scale.

    >>> shrunk(whole(np.zeros((40, 50, 3), np.uint8)), 0.5).mask.shape
    (22, 27)
    """
    height, width = (max(1, round(side * scale)) for side in piece.mask.shape)
    rows, columns = (
        (np.arange(size) + 0.5) * there / size - 0.5
        for size, there in zip((height, width), piece.mask.shape, strict=True)
    )
    soft = max(0.0, (1 / scale - 1) / 2)
    grid = np.meshgrid(rows, columns, indexing="ij")

    def at(plane: np.ndarray, mode: str) -> np.ndarray:
        smooth = ndimage.gaussian_filter(plane, soft) if soft else plane
        return ndimage.map_coordinates(smooth, grid, order=1, mode=mode)  # type: ignore[no-any-return]

    inside = piece.mask.astype(np.float32)
    weight = at(inside, "constant")
    share = np.maximum(weight, 1e-6)
    colours = [at(channel * inside, "nearest") / share for channel in np.moveaxis(
        piece.pixels.astype(np.float32), 2, 0)]  # fmt: skip
    pixels = np.rint(np.stack(colours, 2).clip(0, 255)).astype(np.uint8)
    frame = ((1, 1), (1, 1))
    place = piece.place.copy()
    place[:, 2] = scale * place[:, 2] + (scale - 1) / 2 + 1
    return Piece(np.pad(pixels, (*frame, (0, 0)), "edge"), np.pad(weight >= 0.5, frame), place)


@dataclass(frozen=True)
class Pair:
    """Two pieces of a picture that touch, and where."""

    source: int
    target: int
    ours: np.ndarray  # m, points of the source's outline
    theirs: np.ndarray  # m, of the target's


@dataclass(frozen=True)
class Torn:
    """A picture torn up: its pieces, their outlines, and the pairs that touch."""

    pieces: list[Piece]
    outlines: list[Outline]
    pairs: list[Pair]


def torn_up(
    picture: Piece, tear: Tear, how: Look, draw: np.random.Generator, *, turn: float, touching: int
) -> Torn:
    """Tear a picture, turn every piece by up to `turn` degrees, and see which pieces touch.

    A pair counts where more than `touching` points of one outline have one of the other near.
    """
    pieces = [
        turned(one, np.deg2rad(draw.uniform(-turn, turn))) if turn else one
        for one in torn_further(picture, tear, draw)
    ]
    kept: list[Piece] = []
    outlines: list[Outline] = []
    for one in pieces:
        with suppress(NoOutline):  # a sliver
            outlines.append(seen(one, how))
            kept.append(one)
    reach = 2.0 + how.stride / 2
    pairs = []
    for source in range(len(kept)):
        for target in range(len(kept)):
            if source != target and _near(kept[source], kept[target]):
                map_ = between(kept[source], kept[target])
                ours, theirs = contacts(
                    outlines[source].points.astype(float),
                    outlines[target].points.astype(float),
                    map_,
                    reach,
                )
                if len(ours) > touching:
                    pairs.append(Pair(source, target, ours, theirs))
    return Torn(kept, outlines, pairs)


def _near(one: Piece, other: Piece, room: float = 10.0) -> bool:
    """Whether two pieces' boxes come near each other in their picture."""
    boxes = []
    for piece in (one, other):
        height, width = piece.mask.shape
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
        laid = (corners - piece.place[:, 2]) @ piece.place[:, :2]
        boxes.append((laid.min(0) - room / 2, laid.max(0) + room / 2))
    (low, high), (other_low, other_high) = boxes
    return bool((low <= other_high).all() and (other_low <= high).all())


def padded_outlines(outlines: Sequence[Outline], size: int | None = None) -> dict[str, Tensor]:
    """Outlines as one batch: points, lines, colours and courses (B n ...), lengths (B)."""
    longest = max(len(one) for one in outlines) if size is None else size
    first = outlines[0]
    batch: dict[str, Any] = {
        "points": np.zeros((len(outlines), longest, 2), np.float32),
        "lines": np.zeros((len(outlines), longest, *first.lines.shape[1:]), np.uint8),
        "colours": np.zeros((len(outlines), longest, *first.colours.shape[1:]), np.uint8),
        "course": np.zeros((len(outlines), longest, len(OFFSETS), 2), np.float32),
        "lengths": np.array([len(one) for one in outlines]),
    }
    for row, one in enumerate(outlines):
        for name in ("points", "lines", "colours", "course"):
            batch[name][row, : len(one)] = getattr(one, name)
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def as_met(held: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outlines seen along their line, as a piece that touches them shows the same stretch.

    It runs there the other way, with its own side where theirs is not: what lies before a point
    lies behind it, and what lies to the right to the left.

    >>> held = {"course": torch.tensor([[[[-1.0, 0.0], [0.8, 0.6]]]])}
    >>> held |= {"lines": torch.zeros(1, 1, 3, 3), "colours": torch.zeros(1, 1, 3, 3, 3)}
    >>> as_met(held)["course"].tolist()
    [[[[-0.800000011920929, -0.6000000238418579], [1.0, -0.0]]]]
    """
    return held | {
        "lines": held["lines"].flip(-2, -1),
        "colours": held["colours"].flip(-1),
        "course": -held["course"].flip(-2),
    }


class TornPairs:
    """Pairs of touching pieces of the pictures of a pack, torn anew in every pass.

    After `layouts` passes the tears come again, so that later passes only look them up.
    """

    def __init__(
        self,
        pictures: Callable[[int], Piece],
        how: Look,
        *,
        pairs: int,
        points: int,
        turn: float,
        touching: int,
        layouts: int,
        seed: int,
    ) -> None:
        self.pictures, self.how = pictures, how
        self.pairs, self.points, self.layouts, self.seed = pairs, points, layouts, seed
        self.tearing: Mapping[str, Any] = {"turn": turn, "touching": touching}
        self._held: dict[tuple[int, int], Torn] = {}

    def torn(self, row: int, epoch: int) -> Torn:
        """A picture of the pack as it is torn in some pass."""
        key = (row, epoch % self.layouts)
        if key not in self._held:
            picture = self.pictures(row)
            draw = np.random.default_rng([self.seed, 7, *key])
            tear = Tear.at(min(picture.mask.shape))
            found = torn_up(picture, tear, self.how, draw, **self.tearing)
            usable = [
                pair for pair in found.pairs
                if max(len(found.outlines[pair.source]), len(found.outlines[pair.target]))
                <= self.points
            ]  # fmt: skip
            self._held[key] = Torn([], found.outlines, usable)  # pixels are not needed again
        return self._held[key]

    def __call__(self, rows: np.ndarray, epoch: int) -> dict[str, Tensor]:
        """For each picture P pairs: outlines (B P 2 n ...), which point meets which (B P n), names.

        Names (B P 2) tell pieces apart; those of a picture without pairs are -1.
        """
        blank = Outline(
            np.zeros((1, 2)),
            np.zeros((1, self.how.width, self.how.width), np.uint8),
            np.zeros((1, 3, self.how.width, self.how.width), np.uint8),
            np.zeros((1, len(OFFSETS), 2), np.float32),
        )
        outlines: list[Outline] = []
        meets = np.full((len(rows), self.pairs, self.points), -1)
        names = np.full((len(rows), self.pairs, 2), -1)
        for k, row in enumerate(rows.tolist()):
            found = self.torn(row, epoch)
            draw = np.random.default_rng([self.seed, 8, row, epoch])
            for p in range(self.pairs):
                if not found.pairs:
                    outlines += [blank, blank]
                    continue
                pair = found.pairs[int(draw.integers(len(found.pairs)))]
                outlines += [found.outlines[pair.source], found.outlines[pair.target]]
                meets[k, p, pair.ours] = pair.theirs
                names[k, p] = 1000 * row + np.array([pair.source, pair.target])
        batch = padded_outlines(outlines)
        size = batch["points"].shape[1]
        shaped = {n: v.unflatten(0, (len(rows), self.pairs, 2)) for n, v in batch.items()}
        return {
            **shaped,
            "meets": torch.from_numpy(meets[:, :, :size]),
            "names": torch.from_numpy(names),
        }


def pictures_of(pack: Any, masks: Sequence[np.ndarray | None] | None) -> Callable[[int], Piece]:
    """The pictures of a pack as pieces, cut to their masks where they have some."""

    def read(row: int) -> Piece:
        mask = None if masks is None else masks[row]
        return whole(np.array(pack[row]), None if mask is None else mask > 0)

    return read
