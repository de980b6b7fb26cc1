"""What readers of key point files share: rows put together, and what is not as it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fallow.annotations.points.store import KeyPoints
from fallow.problems import SourceProblem

Row = tuple[str, np.ndarray, Sequence[float], Any]  # file, J 3, width and height, scores or None


@contextmanager
def told(name: str, form: str) -> Iterator[None]:
    """What a file lacks, in one sentence.

    >>> with told("a.json", "COCO"):
    ...     {}["images"]
    Traceback (most recent call last):
    ...
    fallow.problems.SourceProblem: a.json is not as COCO has it: 'images' is missing
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SourceProblem(f"{name} is not as {form} has it: {said}") from error


def gathered(
    rows: Sequence[Row], names: Sequence[str], bones: Sequence[tuple[int, int]], name: str
) -> KeyPoints:
    """Key points of rows, of which a picture may have one alone."""
    twice = [file for file, count in Counter(file for file, *_ in rows).items() if count > 1]
    if twice:
        raise SourceProblem(
            f"{name} marks several individuals in {twice[0]}: fallow finds one in each picture, so "
            "cut them apart and mark one in each"
        )
    if not rows:
        raise SourceProblem(f"{name} marks no picture: mark some first")
    points = len(names)
    for a, b in bones:
        if not (0 <= a < points and 0 <= b < points):
            raise SourceProblem(f"{name} joins points {a} and {b}, but there are {points}")
    scores = None
    if all(row[3] is not None for row in rows):
        scores = np.array([row[3] for row in rows], np.float64)
    return KeyPoints(
        tuple(row[0] for row in rows),
        np.stack([row[1] for row in rows]),
        tuple(names),
        tuple((int(a), int(b)) for a, b in bones),
        np.array([row[2] for row in rows], np.float64),
        scores,
    )
