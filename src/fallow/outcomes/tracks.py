"""Key points through a video: a row a frame, and the video with its points drawn over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.images.film import Film, FilmWriter
from fallow.methods.shared.pose import PoseMethod, look
from fallow.outcomes.skeletons import skeleton_over
from fallow.outcomes.tables import save_csv, save_parquet
from fallow.problems import SourceProblem

BATCH = 16  # frames looked at together


class Track(NamedTuple):
    """Where the points of a video are, frame by frame."""

    name: str
    rate: float
    points: np.ndarray  # F J 2
    heights: np.ndarray  # F J
    notes: list[str]

    def table(self, names: Sequence[str]) -> pa.Table:
        """A row a frame: its number, its second, and x, y and confidence of every point."""
        frames = np.arange(len(self.points))
        columns = {"frame": frames, "seconds": frames / self.rate}
        return pa.table(columns | point_columns(self.points, self.heights, names))


def point_columns(
    points: np.ndarray, heights: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """x, y and confidence of every point as columns.

    >>> list(point_columns(np.zeros((1, 1, 2)), np.zeros((1, 1)), ["nose"]))
    ['nose x', 'nose y', 'nose confidence']
    """
    found = {}
    for number, name in enumerate(names):
        found[f"{name} x"] = points[:, number, 0].astype(np.float64)
        found[f"{name} y"] = points[:, number, 1].astype(np.float64)
        found[f"{name} confidence"] = heights[:, number].astype(np.float64)
    return found


def films_of(videos: Sequence[Any]) -> list[Film]:
    """Videos opened, no two of one name: their tracks lie beside each other."""
    films = [Film(Path(video)) for video in videos]
    stems = [film.path.stem for film in films]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise SourceProblem(f"two videos are called {twice}: rename one of them")
    return films


def followed(
    method: PoseMethod,
    film: Film,
    names: Sequence[str],
    bones: Sequence[tuple[int, int]],
    place: Path | None,
    tell: Callable[[str], None] = lambda line: None,
) -> Track:
    """A video's points; with a place, its table and the video with points over it are written."""
    if place is None:
        parts = [(found.points, found.heights) for found in _looked(method, film)]
        track = _track(film, parts)
    else:
        parts = []
        with FilmWriter(place / f"{film.path.stem}.mp4", film.size, film.rate) as drawn:
            for found in _looked(method, film):
                parts.append((found.points, found.heights))
                for frame, points, heights in zip(
                    found.frames, found.points, found.heights, strict=True
                ):
                    drawn.add(skeleton_over(frame, points, heights, bones))
        track = _track(film, parts)
        save_csv(place / f"{film.path.stem}.csv", track.table(names))
        save_parquet(place / f"{film.path.stem}.parquet", track.table(names))
    for note in track.notes:
        tell(note)
    tell(f"{film.path.name}: {len(track.points):,} frames followed")
    return track


class _Looked(NamedTuple):
    frames: list[np.ndarray]
    points: np.ndarray
    heights: np.ndarray


def _looked(method: PoseMethod, film: Film) -> Iterator[_Looked]:
    frames = iter(film)
    while some := list(islice(frames, BATCH)):
        found = look(method, some, tilts=(0.0,))
        yield _Looked(some, found.points, found.heights)


def _track(film: Film, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Track:
    points, heights = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Track(film.path.name, film.rate, points, heights, film.notes)
