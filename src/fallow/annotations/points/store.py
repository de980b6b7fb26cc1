"""`KeyPoints`: where the named points of pictures are, whoever said it.

A point is x, y in pixels of its picture, the middle of the first being 0, and a number that says
how it was marked: 0 not at all, 1 though it is hidden, 2 in plain sight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.images.collection import Images
from fallow.problems import SourceProblem

COLUMN = "points"  # of a collection: x, y, seen of every point, or nothing
# left and right as words or parts of words, l and r alone between other signs
_SIDE = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])")
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass(frozen=True)
class KeyPoints:
    """Points of some pictures, and which of them are joined by a line."""

    files: tuple[str, ...]  # N
    values: np.ndarray  # N J 3: x, y, 0 1 or 2
    names: tuple[str, ...]  # J
    bones: tuple[tuple[int, int], ...] = ()
    sizes: np.ndarray | None = None  # N 2: width and height as the file has them; NaN: not said
    scores: np.ndarray | None = None  # N J, where a machine marked them
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"KeyPoints({len(self.names)} points in {len(self.files)} pictures)"

    def with_(self, **changes: Any) -> KeyPoints:
        return replace(self, **changes)


def within(places: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which places (… 2: x, y) lie in pictures of these sizes (… 2: width, height): … bool.

    A network that looks at a square points beside pictures that are none, too. What lies there
    nobody can see.

    >>> within(np.array([[0.0, 0.0], [-9.0, 2.0], [7.4, 5.0]]), np.array([8, 6])).tolist()
    [True, False, True]
    """
    return np.all((places >= -0.5) & (places <= sizes - 0.5), axis=-1)


def mirrored(names: Sequence[str]) -> tuple[int, ...]:
    """The point each one is in a mirror; empty where no names say left and right.

    >>> mirrored(["nose", "left ear", "right ear"]), mirrored(["eye_L", "eye_R"])
    ((0, 2, 1), (1, 0))
    >>> mirrored(["snout", "tail"])
    ()
    """
    known = {name.casefold(): place for place, name in enumerate(names)}
    found = [
        known.get(_SIDE.sub(lambda side: _OTHER[side[0]], name), place)
        for name, place in known.items()
    ]
    if len(found) < len(names):
        return ()
    both_ways = all(found[other] == place for place, other in enumerate(found))
    return tuple(found) if both_ways and found != list(range(len(names))) else ()


def rows_of(files: Sequence[str], ids: Sequence[str]) -> list[int | None]:
    """The row of each file among the ids of pictures, by all of its path, or by its last parts.

    >>> rows_of(["labeled-data/v/a.png", "b.png", "c.png"], ["v/a.png", "x/b.png", "y/b.png"])
    [0, None, None]
    """
    exact = {one: row for row, one in enumerate(ids)}
    tails: dict[str, list[int]] = {}
    for row, one in enumerate(ids):
        parts = one.split("/")
        for start in range(len(parts)):
            tails.setdefault("/".join(parts[start:]), []).append(row)

    def find(file: str) -> int | None:
        name = file.replace("\\", "/").removeprefix("./")
        if name in exact:
            return exact[name]
        parts = name.split("/")
        for start in range(len(parts)):
            rows = tails.get("/".join(parts[start:]), [])
            if rows:  # of several with this ending nobody knows which is meant
                return rows[0] if len(rows) == 1 else None
        return None

    return [find(file) for file in files]


def with_points(images: Images, held: KeyPoints, name: str) -> tuple[Images, list[str]]:
    """The pictures with a column of their points, and what a user should know; or what is wrong.

    >>> from fallow.images.samples import shapes
    >>> values = np.array([[[3.0, 4.0, 2.0]]])
    >>> marked, _ = with_points(
    ...     shapes(2, side=16), KeyPoints(("shapes_0001",), values, ("tip",)), ""
    ... )
    >>> marked.table.column("points").to_pylist()
    [None, [3.0, 4.0, 2.0]]
    """
    if not (held.values[..., 2] > 0).any():
        raise SourceProblem(
            f"no point is marked in any of the {len(held.files):,} pictures of {name}: mark some"
        )
    rows = rows_of(held.files, images.column("id").tolist())
    found = [place for place, row in enumerate(rows) if row is not None]
    notes = list(held.notes)
    if not found:
        raise SourceProblem(
            f"none of the {len(rows):,} pictures marked in {name} is in {images.name}: "
            f"it speaks of {held.files[0]}"
        )
    if len(found) < len(rows):
        lost = held.files[next(place for place, row in enumerate(rows) if row is None)]
        notes.append(f"{len(rows) - len(found):,} marked pictures are not there, such as {lost}")
    width, height = images.column("width"), images.column("height")
    cells: list[list[float] | None] = [None] * len(images)
    for place in found:
        row, marked = rows[place], held.values[place]
        assert row is not None
        size = (int(width[row]), int(height[row]))
        _inside(held, place, size)
        if (marked[:, 2] > 0).any():
            cells[row] = np.where(marked[:, 2:] > 0, marked, 0.0).reshape(-1).tolist()
    bare = len(found) - sum(cell is not None for cell in cells)
    if bare:
        notes.append(f"{bare:,} pictures are listed without any point, and count as not marked")
    often = np.count_nonzero(held.values[..., 2] > 0, axis=0)
    never = [name for name, count in zip(held.names, often, strict=True) if not count]
    if never:
        notes.append(f"marked nowhere, and so not to be learnt: {', '.join(never[:5])}")
    column = pa.array(cells, pa.list_(pa.float32()))
    table = images.table
    if COLUMN in table.column_names:
        table = table.drop_columns([COLUMN])
    return images._with(table.append_column(COLUMN, column)), notes


def _inside(held: KeyPoints, place: int, size: tuple[int, int]) -> None:
    """Refuse points beyond a picture, and a file that knows it in another size."""
    file = held.files[place]
    if held.sizes is not None and np.isfinite(held.sizes[place]).all():
        said = tuple(int(side) for side in held.sizes[place])
        if said != size:
            raise SourceProblem(
                f"{file} was marked as a picture of {said[0]} x {said[1]} pixels and has "
                f"{size[0]} x {size[1]}: give the picture that was marked"
            )
    x, y, seen = held.values[place].T
    out = (seen > 0) & ((x < -1) | (y < -1) | (x > size[0]) | (y > size[1]) | ~np.isfinite(x + y))
    if out.any():
        which = int(np.flatnonzero(out)[0])
        raise SourceProblem(
            f"{held.names[which]} of {file} is marked at ({x[which]:g}, {y[which]:g}), outside its "
            f"{size[0]} x {size[1]} pixels: was a picture of another size marked?"
        )
