"""What `develop` leaves behind: pictures or raw files, what was learnt, and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.files import inside
from fallow.measure.darkness import histogram
from fallow.methods.shared.developing import File, Made, Way, each_made
from fallow.outcomes.copies import copy_names, refuse_existing
from fallow.outcomes.pictures import shrunk
from fallow.outcomes.result import Result, writable
from fallow.outcomes.tables import save_json
from fallow.problems import MissingPackage, Problem, SourceProblem
from fallow.raw.sensor import Raw
from fallow.raw.sixteen import Picture, write_picture
from fallow.raw.tiff import write_dng

SHOWN = 12  # pairs in the report
LONGEST = 640  # pixels of theirs
FOLDER = "developed"


class Developed(Result):
    """What `develop` returns: one row of `.table` per file, and `.way`, which takes more."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        way: Way,
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        super().__init__(
            table, findings=findings,
            page=page,
        )  # fmt: skip
        self.way = way


def place_for(out: Any, source: Any) -> Path | None:
    """The folder of a run; not among the files themselves, which nothing may be added to."""
    if out is None:
        return None
    place, here = (
        Path(out).resolve(),
        Path(source).resolve() if isinstance(source, str | Path) else None,
    )
    if here is not None and (place == here or here in place.parents):
        raise SourceProblem(f"{out} lies among the files in {source}: choose a folder outside it")
    return writable(out)


def made_names(files: Sequence[File], ending: str) -> list[str]:
    """Where each file's outcome goes, below the folder of a run.

    >>> made_names([File("a/b.dng", int), File("c.nef", int)], ".png")
    ['developed/a/b.png', 'developed/c.png']
    """
    names = copy_names([inside(file.name) for file in files])
    return [f"{FOLDER}/{name.removesuffix('.png')}{ending}" for name in names]


def developed(
    files: Sequence[File],
    way: Way,
    place: Path | None,
    page: Callable[[Mapping[str, Any]], str],
    about: Mapping[str, Any],
    tell: Callable[[str], None],
) -> Developed:
    """Develop every file, write what comes out where there is a folder, and say how it went."""
    names = made_names(files, ".dng" if way.facts["method"] == "rawformer" else ".png")
    if place is not None:
        refuse_existing(place, names)
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    spread = [np.zeros(64), np.zeros(64)]
    problems = []
    for name, (file, made) in zip(names, each_made(files, way), strict=True):
        if isinstance(made, Problem):
            problems.append({"path": file.name, "reason": str(made)})
            continue
        if place is not None:
            write(place / name, made, *file.tags())
        if len(pairs) < SHOWN:
            before, after = (shrunk(one, LONGEST) for one in (made.before, made.after))
            pairs.append({"path": file.name, "before": before, "after": after})
        for total, pixels in zip(spread, (made.before, made.after), strict=True):
            total += histogram([pixels])
        height, width = made.after.shape[:2]
        rows.append(
            {
                "path": file.name, "made": name, "height": height, "width": width,
                "before": round(float(made.before.mean()) / 255, 4),
                "after": round(float(made.after.mean()) / 255, 4),
            }
        )  # fmt: skip
        tell(f"{len(rows):,} of {len(files):,} files")
    if not rows:
        raise SourceProblem(f"no file could be developed: {problems[0]['reason']}")
    notes = [*way.notes, *(learnt(way, place) if place is not None else [])]
    findings = {
        **about,
        **({"seconds": round(way.trained.seconds, 1)} if way.trained else {}),
        "facts": way.facts,
        "history": way.trained.history if way.trained else [],
        "histograms": {
            k: (v / len(rows)).tolist() for k, v in zip(("before", "after"), spread, strict=True)
        },
        "pairs": pairs,
        "items": rows,
        "problems": problems,
        "notes": notes,
        "headlines": headlines(rows, problems, way),
    }
    result = Developed(pa.Table.from_pylist(rows), findings, way, page).saved(place)
    if place is not None:
        save_json(place / "run.json", findings, ("pairs", "items", "history"))
    return result


def write(path: Path, made: Made, icc: bytes, exif: bytes) -> None:
    """A picture as PNG with all its bits, its colours' profile and its EXIF; a frame as DNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(made.kept, Raw):
        write_dng(path, made.kept)
    else:
        write_picture(path, Picture(made.kept, icc, exif))


def learnt(way: Way, place: Path) -> list[str]:
    """Write what was learnt; says what could not be written for want of a package."""
    notes = []
    for name, save in way.learnt.items():
        try:
            save(place / name)
        except MissingPackage as missing:  # noqa: PERF203 (the other files are as good as ever)
            notes.append(f"{name} was not written: {missing}")
    return notes


def headlines(rows: Sequence[Mapping[str, Any]], problems: Sequence[Any], way: Way) -> list[str]:
    """The few sentences that say what happened."""
    facts = way.facts
    what = "file" if len(rows) == 1 else "files"
    lines = [f"{len(rows):,} {what} developed by {facts['method']}"]
    if way.trained:
        lines.append(f"{way.trained.steps:,} steps in {way.trained.seconds / 60:.1f} minutes")
    if "operations per pixel" in facts:
        lines.append(
            f"The network has {facts['parameters']:,} numbers and needs "
            f"{facts['operations per pixel']:,.0f} multiplications for a pixel"
        )
    if problems:
        lines.append(f"{len(problems):,} could not be developed; the report says why")
    return lines
