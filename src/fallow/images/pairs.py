"""Pictures of a new condition, each with one of about the same place in the old condition."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.files import fingerprint
from fallow.images.collection import Images, read_bytes
from fallow.images.metadata import metadata
from fallow.images.stores import Arrays
from fallow.problems import SourceProblem

if TYPE_CHECKING:
    from fallow.images.pack import Pack

EARTH = 6_371_000.0  # radius in metres
UNLIKE = 0.05  # by how much the shapes of a pair may differ


class Paired(Images):
    """Images whose k-th picture has a reference: row `match[k]` of the collection `references`.

    >>> from fallow.images.sources import open
    >>> night, day = (open([np.full((4, 6, 3), v, np.uint8)] * 2) for v in (9, 200))
    >>> pairs = paired(night, day, np.array([1, 1]))
    >>> len(pairs), int(pairs.reference(0).mean())
    (2, 200)
    """

    references: Images
    match: np.ndarray  # N

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal pictures with equal references."""
        own = fingerprint(np.ascontiguousarray(self.match, np.int64).tobytes())
        both = [super().fingerprint, self.references.fingerprint, own]
        return fingerprint("\n".join(both).encode())

    def reference(self, row: int, side: int | None = None) -> np.ndarray:
        """The pixels of a picture's reference."""
        return self.references.read(int(self.match[row]), side)

    def __repr__(self) -> str:
        return f"Paired({self.name}: {len(self):,} images, each with one of {self.references.name})"


def paired(images: Images, references: Images, match: np.ndarray) -> Paired:
    """Images with their references; a pair must be of one shape."""
    match = np.asarray(match, np.int64)
    lost = np.flatnonzero(match < 0)
    if len(lost):
        raise SourceProblem(
            f"{len(lost)} of {len(images)} pictures have no reference, such as "
            f"{images.column('id')[lost[0]]}: add theirs, or let fallow look for the nearest"
        )
    shapes = [
        np.asarray(one.column("width"), float) / np.asarray(one.column("height"), float)
        for one in (images, references)
    ]
    ratio = shapes[0] / shapes[1][match]
    unlike = np.flatnonzero(np.abs(np.log(ratio)) > UNLIKE)
    if len(unlike):
        row = int(unlike[0])
        ours, theirs = (
            f"{one.column('width')[k]} x {one.column('height')[k]}"
            for one, k in ((images, row), (references, int(match[row])))
        )
        raise SourceProblem(
            f"{images.column('id')[row]} is {ours} pixels and its reference {theirs}: both must "
            "show the same part of a scene, so cut them to one shape"
        )
    made = Paired(
        images.table, images.store, name=images.name, problems=images.problems, notes=images.notes
    )
    made.references, made.match = references, match
    return made


def by_name(images: Images, references: Images) -> np.ndarray:
    """For each picture the reference of the same name, -1 without; folders count if they must.

    >>> from fallow.images.sources import open
    >>> pictures = open([np.zeros((2, 2, 3), np.uint8)] * 2)
    >>> by_name(pictures, pictures.select([1, 0])).tolist()
    [1, 0]
    """
    whole = {posixpath.splitext(key)[0]: k for k, key in enumerate(references.column("id"))}
    short: dict[str, int] = {}
    for key, place in whole.items():
        name = posixpath.basename(key)
        short[name] = -1 if name in short else place  # two of a name say nothing
    found = []
    for key in images.column("id"):
        stem = posixpath.splitext(key)[0]
        found.append(whole.get(stem, short.get(posixpath.basename(stem), -1)))
    return np.array(found, np.int64)


def by_order(images: Images, references: Images) -> np.ndarray:
    """Pictures and references in the order of their names, from first to last alike.

    Two passes along one way match like this even if one has more frames than the other.

    >>> from fallow.images.sources import open
    >>> few, many = (open([np.zeros((2, 2, 3), np.uint8)] * count) for count in (2, 5))
    >>> by_order(few, many).tolist()
    [0, 4]
    """
    ours, theirs = (np.argsort(one.column("id"), kind="stable") for one in (images, references))
    place = np.round(np.linspace(0, len(theirs) - 1, len(ours))).astype(int)
    match = np.empty(len(ours), np.int64)
    match[ours] = theirs[place]
    return match


def by_position(images: Images, references: Images) -> np.ndarray:
    """For each picture the reference taken nearest to it, by columns latitude and longitude or by
    what the files themselves say."""
    ours, theirs = positions(images), positions(references)
    rows = [int(np.nanargmin(distances(point, theirs))) for point in ours]
    return np.array(rows, np.int64)


def by_table(images: Images, references: Images, table: Any) -> np.ndarray:
    """As a CSV (or a mapping) with the columns path and reference says."""
    if isinstance(table, Mapping) and "path" not in table:
        table = {"path": list(table), "reference": list(table.values())}
    try:
        said = images.join(table).column("reference")
    except SourceProblem:
        raise
    except Exception as error:
        raise SourceProblem(f"the pairs need two columns, path and reference ({error})") from error
    place = {
        str(key): k for name in ("id", "path") for k, key in enumerate(references.column(name))
    }
    return np.array([place.get(str(key), -1) for key in said], np.int64)


def positions(images: Images) -> np.ndarray:
    """Latitude and longitude (N, 2) in degrees; a SourceProblem if pictures have none."""
    if {"latitude", "longitude"} <= set(images.columns):
        found = np.stack(
            [np.asarray(images.column(name), float) for name in ("latitude", "longitude")], 1
        )
    else:
        found = np.array([_position(images, row) for row in range(len(images))])
    lost = np.flatnonzero(np.isnan(found).any(1))
    if len(lost):
        raise SourceProblem(
            f"{len(lost)} of {len(images)} pictures in {images.name} do not say where they were "
            f"taken, such as {images.column('id')[lost[0]]}: match them by name, order or nearest"
        )
    return found


def _position(images: Images, row: int) -> tuple[float, float]:
    if isinstance(images.store, Arrays):
        return np.nan, np.nan
    said = metadata(read_bytes(images.store, images.column("path")[row]))
    latitude, longitude = said.get("latitude"), said.get("longitude")
    return float(latitude or "nan"), float(longitude or "nan")


def distances(point: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Metres over ground from one place to others, in degrees of latitude and longitude.

    >>> distances(np.array([50.0, 8.0]), np.array([[50.0, 8.0], [51.0, 8.0]])).round(-3).tolist()
    [0.0, 111000.0]
    """
    here, there = np.radians(point), np.radians(others)
    half = np.sin((there - here) / 2) ** 2
    return (
        2
        * EARTH
        * np.arcsin(
            np.sqrt(np.clip(half[:, 0] + np.cos(here[0]) * np.cos(there[:, 0]) * half[:, 1], 0, 1))
        )
    )


def places_in(pack: Pack, match: np.ndarray) -> np.ndarray:
    """Where a pack of references holds each picture's: N; a SourceProblem if one is unreadable."""
    place = np.full(int(max(match.max(), pack.rows.max(initial=0))) + 1, -1)
    place[pack.rows] = np.arange(len(pack))
    found = place[match]
    if (found < 0).any():
        raise SourceProblem(
            f"{int((found < 0).sum())} references cannot be read: take them out, or mend them"
        )
    return found
