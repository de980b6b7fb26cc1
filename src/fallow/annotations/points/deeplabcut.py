"""DeepLabCut: tables of points with a head of three rows, as CSV, as HDF5, or a whole project."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fallow.annotations.points import hdf
from fallow.annotations.points.reading import Row, gathered, told
from fallow.annotations.points.store import KeyPoints
from fallow.files import atomic_write, plain_yaml
from fallow.images.places import place
from fallow.problems import SourceProblem

SCORER = "fallow"
HEAD = ("scorer", "individuals", "bodyparts", "coords")


def read(source: Any) -> KeyPoints:
    """A CSV or HDF5 file of marked pictures, or the folder (or config.yaml) of a project."""
    where = place(source)
    if where.is_folder() or where.name.endswith((".yaml", ".yml")):
        return _project(where)
    with told(where.name, "DeepLabCut"):
        if where.name.lower().endswith((".h5", ".hdf5")):
            columns, files, values = hdf.read(Path(str(where)))
        else:
            columns, files, values = _csv(where.read().decode("utf-8-sig"))
        return _of_table(columns, files, values, where.name)


def _csv(text: str) -> tuple[list[tuple[str, ...]], list[str], np.ndarray]:
    lines = [line for line in csv.reader(io.StringIO(text)) if line]
    heads = [line for line in lines[: len(HEAD)] if line[0] in HEAD]
    if not heads:
        raise ValueError("its first row is not the scorer")
    first = next(k for k, cell in enumerate(heads[0]) if k and cell)  # before it: folder, video
    columns = list(zip(*(line[first:] for line in heads), strict=True))
    rows = lines[len(heads) :]
    files = ["/".join(cell for cell in line[:first] if cell) for line in rows]
    cells = [[float(cell) if cell.strip() else np.nan for cell in line[first:]] for line in rows]
    return columns, files, np.array(cells, np.float64).reshape(len(rows), len(columns))


def _of_table(
    columns: Sequence[tuple[str, ...]], files: Sequence[str], values: np.ndarray, name: str
) -> KeyPoints:
    """Points of a table (N C) whose columns are scorer, perhaps individual, body part, coordinate.

    >>> columns = [("me", "nose", "x"), ("me", "nose", "y")]
    >>> _of_table(columns, ["a.png"], np.array([[1.0, 2.0]]), "a.csv").values.tolist()
    [[[1.0, 2.0, 2.0]]]
    """
    known = {one[:-2] for one in columns}
    if len({one[1:] for one in known}) > 1:
        raise SourceProblem(
            f"{name} marks several individuals: fallow finds one in each picture, so cut them "
            "apart and mark one in each"
        )
    if len(known) > 1:
        raise SourceProblem(f"{name} is of several scorers: keep one of them")
    parts = list(dict.fromkeys(one[-2] for one in columns))
    at = {one[-2:]: place_ for place_, one in enumerate(columns)}
    x, y = (values[:, [at[part, axis] for part in parts]] for axis in ("x", "y"))
    marked = np.isfinite(x) & np.isfinite(y)
    points = np.stack([x, y, 2.0 * marked], -1)
    points[~marked] = 0
    scores = None
    if all((part, "likelihood") in at for part in parts):
        scores = np.nan_to_num(values[:, [at[part, "likelihood"] for part in parts]])
    rows: list[Row] = [
        (file, points[row], (np.nan, np.nan), None if scores is None else scores[row])
        for row, file in enumerate(files)
    ]
    return gathered(rows, parts, (), name)


def _project(where: Any) -> KeyPoints:
    """All marked pictures of a project; its configuration says which points are joined."""
    folder = where if where.is_folder() else where.parent()
    names = sorted(folder.walk())
    tables = [n for n in names if n.rpartition("/")[2].startswith("CollectedData_")]
    chosen = {n.rpartition(".")[0]: n for n in tables if n.lower().endswith(".h5")}
    chosen |= {n.rpartition(".")[0]: n for n in tables if n.lower().endswith(".csv")}
    if not chosen:
        raise SourceProblem(f"{folder} is no DeepLabCut project: no CollectedData_ file is in it")
    held = [read(str(folder.child(name))) for name in chosen.values()]
    if any(one.names != held[0].names for one in held):
        raise SourceProblem(
            f"{folder.name} mixes skeletons: the body parts of its CollectedData_ files differ"
        )
    bones: list[tuple[int, int]] = []
    if "config.yaml" in names:
        said = plain_yaml(folder.child("config.yaml").read().decode()) or {}
        known = {name: slot for slot, name in enumerate(held[0].names)}
        pairs = [pair for pair in said.get("skeleton") or [] if len(pair) == 2]
        bones = [(known[a], known[b]) for a, b in pairs if a in known and b in known]
    rows: list[Row] = [
        (file, values, (np.nan, np.nan), None)
        for one in held
        for file, values in zip(one.files, one.values, strict=True)
    ]
    return gathered(rows, held[0].names, bones, folder.name)


def table_of(held: KeyPoints) -> tuple[list[tuple[str, str, str]], np.ndarray]:
    """Columns and values (N C) as DeepLabCut has them: not marked is not a number."""
    axes = ("x", "y") if held.scores is None else ("x", "y", "likelihood")
    columns = [(SCORER, name, axis) for name in held.names for axis in axes]
    values = np.where(held.values[..., 2:] > 0, held.values[..., :2], np.nan)
    if held.scores is not None:
        values = np.concatenate([values, held.scores[..., None]], -1)
    return columns, values.reshape(len(held.files), -1)


def write(held: KeyPoints, path: Path) -> None:
    """Write a CSV, or HDF5 where the name ends so."""
    columns, values = table_of(held)
    if path.suffix.lower() in (".h5", ".hdf5"):
        hdf.write(path, columns, held.files, values)
        return
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    for title, head in zip(
        ("scorer", "bodyparts", "coords"), zip(*columns, strict=True), strict=True
    ):
        out.writerow([title, *head])
    for file, row in zip(held.files, values, strict=True):
        out.writerow([file, *("" if np.isnan(cell) else repr(float(cell)) for cell in row)])
    with atomic_write(path) as target:
        target.write(text.getvalue().encode())
