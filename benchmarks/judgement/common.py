"""What several questions share: vectors of the built-in encoder, folders, lines of the table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judgement.sets import Collection, write
from benchmarks.record import Line, line
from fallow.images.decode import decode

SIDE = 256
ENCODER = "tiny"
LEAST = 1e-3  # in place of nothing at all, so that there is a ratio


@lru_cache(1)
def _encoder() -> Any:
    import fallow

    return fallow.encoder(ENCODER)


def vectors(collection: Collection, batch: int = 64) -> np.ndarray:
    """One vector a picture.  N D."""
    parts = []
    for start in range(0, len(collection), batch):
        contents = collection.contents[start : start + batch]
        parts.append(_encoder().embed([decode(content, SIDE) for content in contents]))
    return np.concatenate(parts)


@contextmanager
def folder_of(collection: Collection, labels: np.ndarray | None = None) -> Iterator[Path]:
    """The pictures as files, named so that sorting keeps their order."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        write(collection, folder, labels)
        yield folder


def explored(collection: Collection, labels: np.ndarray | None = None) -> Any:
    """What `explore` says of the pictures, rows in the order of the collection."""
    import fallow

    with folder_of(collection, labels) as folder:
        given = folder / "labels.csv"
        return fallow.explore(
            folder,
            labels=given if given.is_file() else None,
            encoder=ENCODER,
            out=folder.parent / "explored",
        )


def compared(
    work: str, peer: str, version: str, ours: float, theirs: float, target: float | None = None
) -> Line:
    """One line where more is better."""
    return line(work, peer, version, [(max(ours, LEAST), max(theirs, LEAST))], target)


def nearest_to_zero(ours: float, theirs: float) -> tuple[float, float]:
    """Two errors as values where more is better.

    >>> nearest_to_zero(0.0, 1.0)
    (1.0, 0.5)
    """
    return 1 / (1 + ours), 1 / (1 + theirs)
