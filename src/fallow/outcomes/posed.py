"""What `pose` leaves behind: points of every picture, drawings, what to label next, and tracks."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.annotations.points import KeyPoints, within, write
from fallow.encoders.pointer import save_pointer
from fallow.images import Images
from fallow.measure.landmarks import pck, sizes
from fallow.methods.shared.pose import MARKED, Marked, PoseMethod, look
from fallow.outcomes.pictures import save_picture, shrunk, thumbnail
from fallow.outcomes.ran import ran
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted
from fallow.outcomes.skeletons import UNSURE, close_up, skeleton_over
from fallow.outcomes.tables import save_csv, save_json, without_ending
from fallow.outcomes.tracks import Track, point_columns
from fallow.problems import SourceProblem
from fallow.train import Run

SHOWN = 1024  # long side of drawings
SIDE = 176  # short side of the report's pictures
BATCH = 8


class Seen(NamedTuple):
    """What is known of one picture once it was looked at."""

    id: str
    given: bool
    size: tuple[int, int]  # width, height
    points: np.ndarray  # J 2, the network's
    heights: np.ndarray  # J
    doubt: float  # mean distance points move when the picture is turned, percent of its diagonal
    apart: np.ndarray  # J, the same by point, in pixels
    marked: np.ndarray | None  # J 3, the user's
    pictures: list[bytes]  # with its points, and the same close up, as JPEG

    @property
    def truth(self) -> np.ndarray:
        """The user's points (J 2); NaN where unmarked."""
        assert self.marked is not None
        return np.where(self.marked[:, 2:] > 0, self.marked[:, :2], np.nan)


class Posed(Result):
    """What `pose` returns: the table from the picture to label next on, the run, and tracks."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        *,
        run: Run,
        known: Marked,
        points: KeyPoints,
        tracks: Sequence[Track],
        form: str,
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        super().__init__(
            table, headlines=findings["headlines"], notes=known.notes, findings=findings, page=page
        )
        self.run, self.known, self.points, self.form = run, known, points, form
        self.tracks = list(tracks)

    @property
    def method(self) -> PoseMethod:
        return self.run.method  # type: ignore[return-value]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write points in the form asked for, drawings, the network, tables and the report."""
        place = writable(folder)
        rows = {key: row for row, key in enumerate(self.points.files)}
        for images in (self.known.labelled, self.known.bare):
            keys = images.column("id")
            for row, pixels in images.map(np.asarray):
                if isinstance(pixels, np.ndarray) and keys[row] in rows:
                    self._draw(place, rows[keys[row]], pixels)
        write(self.points, place, self.form)
        held = self.known.held
        about = {"names": list(held.names), "bones": held.bones, "size": self.run.settings.size}
        save_pointer(self.method.written(), place / "pointer", about)
        save_json(place / "run.json", self.findings, without=("items", "metrics", "pictures"))
        super().save(place)
        save_csv(place / "points.csv", self.table)
        return place

    def _draw(self, place: Path, row: int, pixels: np.ndarray) -> None:
        held = self.points
        assert held.scores is not None
        at = np.where(held.values[row, :, 2:] > 0, held.values[row, :, :2], np.nan)
        drawn = skeleton_over(pixels, at, held.scores[row], held.bones)
        name = f"{without_ending(held.files[row])}.jpg"
        save_picture(place / "drawings" / name, shrunk(drawn, SHOWN))


def posed(
    run: Run,
    known: Marked,
    slug: str,
    page: Callable[[Mapping[str, Any]], str],
    tracks: Sequence[Track],
    form: str,
) -> Posed:
    """Every picture looked at once."""
    method: PoseMethod = run.method  # type: ignore[assignment]
    seen = [
        *_looked(method, known.labelled, True, known.held.bones),
        *_looked(method, known.bare, False, known.held.bones),
    ]
    if not seen:
        raise SourceProblem("no picture could be read a second time: are the files still there?")
    marked = [one for one in seen if one.given]
    seen = worth_marking([one for one in seen if not one.given]) + marked
    points, heights = (
        np.stack([one.points for one in seen]),
        np.stack([one.heights for one in seen]),
    )
    off = [_off(one) for one in seen]
    columns: dict[str, Any] = {
        "id": [one.id for one in seen],
        "given": [one.given for one in seen],
        "doubt": [one.doubt for one in seen],
        "confidence": heights.mean(1),
        "off": pa.array([None if np.isnan(value) else value for value in off], pa.float64()),
    }
    sizes = np.array([one.size for one in seen], float)  # N 2: width, height
    beside = ~within(points, sizes[:, None])  # N J: not visible
    told = point_columns(points, np.where(beside, 0, heights), known.held.names)
    table = pa.table(columns | told)
    values = np.concatenate([points, np.full((*points.shape[:2], 1), 2.0)], -1)
    scores = heights.astype(np.float64).clip(0, 1)
    values[beside, 2] = scores[beside] = 0
    for row, one in enumerate(seen):
        if one.marked is not None:  # the user's own marks stay as they are
            values[row], scores[row] = one.marked, one.marked[:, 2] > 0
    held = known.held.with_(
        files=tuple(columns["id"]),
        values=values,
        sizes=sizes,
        scores=scores,
    )
    found = findings_of(run, known, slug, seen, tracks)
    return Posed(
        table, found, run=run, known=known, points=held, tracks=tracks, form=form, page=page
    )


def _looked(
    method: PoseMethod, images: Images, given: bool, bones: Sequence[tuple[int, int]]
) -> Iterator[Seen]:
    """A few pictures at a time, those that can be read."""
    some: list[tuple[int, np.ndarray]] = []
    for row, pixels in images.map(np.asarray):
        if isinstance(pixels, np.ndarray):
            some.append((row, pixels))
        if len(some) == BATCH or (some and row == len(images) - 1):
            yield from _of_some(method, images, given, bones, some)
            some = []


def _of_some(
    method: PoseMethod,
    images: Images,
    given: bool,
    bones: Sequence[tuple[int, int]],
    some: Sequence[tuple[int, np.ndarray]],
) -> Iterator[Seen]:
    found = look(method, [pixels for _, pixels in some])
    for place, (row, pixels) in enumerate(some):
        points, heights, apart = (each[place] for each in found)
        height, width = pixels.shape[:2]
        far, near = (
            _drawn(part, at, heights, bones)
            for part, at in ((pixels, points), close_up(pixels, points))
        )
        marked = None
        if given:
            marked = np.array(images.table.column(MARKED)[row].as_py()).reshape(-1, 3)
        yield Seen(
            str(images.column("id")[row]),
            given,
            (width, height),
            points,
            heights,
            100 * float(apart.mean()) / float(np.hypot(width, height)),
            apart,
            marked,
            [far, near],
        )


def _drawn(pixels: np.ndarray, points: np.ndarray, heights: np.ndarray, bones: Any) -> bytes:
    """A small picture with its points, drawn when it is small so that they can be seen."""
    small = shrunk(pixels, round(SIDE * 1.5))
    at = (points + 0.5) * small.shape[1] / pixels.shape[1] - 0.5
    return thumbnail(skeleton_over(small, at, heights, bones), SIDE)


def worth_marking(seen: Sequence[Seen], alike: float = 0.05) -> list[Seen]:
    """The most doubtful first; those posed like an earlier one (within a share of the diagonal)
    after all others: of frames that follow each other one teaches as much as ten."""
    first: list[Seen] = []
    later: list[Seen] = []
    for one in sorted(seen, key=lambda one: -one.doubt):
        near = alike * float(np.hypot(*one.size))
        same = any(
            np.linalg.norm(one.points - other.points, axis=1).mean() < near for other in first
        )
        (later if same else first).append(one)
    return first + later


def _off(one: Seen) -> float:
    """Mean distance of the network's points from the user's, in pixels; NaN: none are known."""
    if one.marked is None:
        return float("nan")
    return float(np.nanmean(np.linalg.norm(one.points - one.truth, axis=1)))


def findings_of(
    run: Run, known: Marked, slug: str, seen: list[Seen], tracks: Sequence[Track]
) -> dict[str, Any]:
    """What the report and run.json say."""
    bare = [one for one in seen if not one.given]
    advice = [f"label next: {', '.join(one.id for one in bare[:3])}"] if bare else []
    # a confident network that moves its points when the picture turns is not to be trusted
    doubt = float(np.median([one.doubt for one in bare or seen]))
    sure = float(np.mean([one.heights.mean() for one in bare or seen]))
    if sure < UNSURE:
        known.notes.append(
            f"The network is sure of few points (their heat maps peak at {sure:.2f} of 1): train "
            "longer, or mark more pictures."
        )
    return {
        "source": known.labelled.name,
        "address": known.labelled.source,  # the studio opens the pictures there
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "method": slug,
        "headlines": [
            f"{slug}: {counted(len(known.held.names), 'point')} in "
            f"{counted(len(bare), 'picture')}, learnt from {len(known.labelled)}, in "
            f"{run.seconds / 60:.1f} minutes of training",
            f"a point moves by {doubt:.1f} % of a picture's diagonal when the picture is turned",
            *advice,
            *(f"{one.name}: {len(one.points):,} frames" for one in tracks),
            *(f"warning: {text}" for text in run.warnings),
        ],
        "notes": known.notes,
        "warnings": run.warnings,
        "counts": {
            "pictures marked": len(known.labelled),
            "pictures pointed at": len(bare),
            "points": len(known.held.names),
            **({"frames": sum(len(one.points) for one in tracks)} if tracks else {}),
        },
        "points": _by_point(known, seen),
        "items": [
            {"path": one.id, "given": one.given, "doubt": one.doubt,
             "confidence": float(one.heights.mean())}
            for one in seen
        ],
        "tracks": [
            {"name": one.name, "seconds": (np.arange(len(one.points)) / one.rate).tolist(),
             "confidence": one.heights.mean(1).tolist(), "notes": one.notes}
            for one in tracks
        ],
        "pictures": [one.pictures for one in seen],
        **ran(run),
        "problems": [{"path": one.path, "reason": one.reason} for one in known.labelled.problems],
    }  # fmt: skip


def _by_point(known: Marked, seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """Of every point: how often it was marked, and how sure the network is of it."""
    given = [one for one in seen if one.marked is not None]
    rest = [one for one in seen if one.marked is None] or seen
    truth = np.stack([one.truth for one in given])
    own = np.stack([one.points for one in given])
    reach = 0.1 * sizes(truth, "diagonal")
    hits = pck(own, truth, reach)
    return [
        {
            "name": name,
            "marked": int(np.isfinite(truth[:, number, 0]).sum()),
            "hit": None if np.isnan(hits[number]) else float(hits[number]),
            "confidence": float(np.mean([one.heights[number] for one in rest])),
            "moves": float(np.median([one.apart[number] for one in rest])),
        }
        for number, name in enumerate(known.held.names)
    ]
