"""Part `map`: where every picture lies, what it may be coloured by, and what was chosen, as CSV."""

from __future__ import annotations

import io
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from fallow.colours import palette, ramp
from fallow.outcomes.tables import spelled
from fallow.problems import SettingProblem, did_you_mean
from fallow.studio.collection import BINARY, holds
from fallow.studio.desk import Desk

PAGE = "map"
NONE = 65535  # the code of a picture of which a column says nothing
OTHER = 65534  # of one of the many values that have no name of their own
NAMED = 256  # values with a name of their own, the most frequent ones
FEW = 64  # whole numbers that are rather names than measures
MIDDLE = (0.02, 0.98)  # share of the values that spans the ramp: one freak must not
FIRST = ("group", "label", "flags", "suggested")  # what people ask for first
EXPORTED = ("path", "id", "label", "group", "excluded")
Column = Annotated[str, Query(description="a column of the table", max_length=80)]


class Overview(BaseModel):
    """What there is to draw."""

    pictures: int
    places: bool  # whether every picture has a place
    version: int
    columns: list[str]  # it can be coloured by


class Legend(BaseModel):
    """What the codes of a column mean: names, or a measure from low to high."""

    column: str
    kind: Literal["names", "measure"]
    names: list[str] = []
    counts: list[int] = []
    colours: list[str]  # of the names, over and over; or of the measure
    low: float = 0.0
    high: float = 0.0
    missing: int = 0  # pictures of which the column says nothing
    other: int = 0  # pictures of values without a name here


class Chosen(BaseModel):
    """Pictures to export; none means all that are not excluded."""

    rows: list[int] = Field(default=[], max_length=5_000_000)


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.get("/")
    def overview() -> Overview:
        """What there is to draw and to colour by."""
        table = desk.table
        return Overview(
            pictures=table.num_rows,
            places=mapped(table),
            version=desk.version,
            columns=colourable(table),
        )

    @routes.get("/points", response_class=Response, responses=holds(BINARY))
    def points() -> Response:
        """Places 0 to 1 as float32: x y x y ..., a pair for every row."""
        return Response(places(desk.table).tobytes(), media_type=BINARY)

    @routes.get("/legend")
    def legend(column: Column) -> Legend:
        """What the codes of a column mean."""
        return coloured(desk.table, column, desk.base).legend

    @routes.get("/codes", response_class=Response, responses=holds(BINARY))
    def codes(column: Column) -> Response:
        """A code for every row as uint16; 65535 where the column says nothing."""
        found = coloured(desk.table, column, desk.base).codes
        return Response(found.astype("<u2").tobytes(), media_type=BINARY)

    @routes.post("/export", response_class=Response, responses=holds("text/csv"))
    def export(chosen: Chosen) -> Response:
        """The chosen pictures as CSV, with what is said of them now."""
        rows = [desk.row(row) for row in chosen.rows] or kept(desk.table)
        return Response(
            exported(desk.table, rows),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="pictures.csv"'},
        )

    return routes


def mapped(table: pa.Table) -> bool:
    """Whether every picture has a place."""
    return {"x", "y"} <= set(table.column_names)


def places(table: pa.Table) -> np.ndarray:
    """Places from 0 to 1 on both axes, whose lengths mean nothing.  N 2

    >>> places(pa.table({"x": [2.0, 4.0, None], "y": [7.0, 7.0, 7.0]})).tolist()
    [[0.0, 0.5], [1.0, 0.5], [0.5, 0.5]]
    """
    if not mapped(table):
        raise SettingProblem("these pictures have no places yet: open a run of explore")
    axes = []
    for name in ("x", "y"):
        values = table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
        known = values[np.isfinite(values)]
        low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
        even = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
        axes.append(np.nan_to_num(even, nan=0.5))
    return np.stack(axes, axis=1).astype("<f4")


class Coloured(NamedTuple):
    """A code for every row, and what the codes mean."""

    codes: np.ndarray  # N uint16
    legend: Legend


def colourable(table: pa.Table) -> list[str]:
    """Columns that tell pictures apart without naming each one, those asked for first in front.

    >>> colourable(pa.table({"id": ["a", "b"], "sharpness": [0.1, 0.2], "label": ["x", "x"]}))
    ['label', 'sharpness']
    """
    found = []
    for name in table.column_names:
        column = table.column(name)
        if name in ("x", "y", "row") or not _tells(column.type):
            continue
        if pa.types.is_string(column.type):
            distinct = pc.count_distinct(column).as_py()
            if distinct == 0 or distinct > max(FEW, table.num_rows // 4) or name in ("id", "path"):
                continue
        elif column.null_count == len(column):
            continue
        found.append(name)
    return sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def _tells(kind: pa.DataType) -> bool:
    simple = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
    return any(fits(kind) for fits in simple) or (
        pa.types.is_list(kind) and pa.types.is_string(kind.value_type)
    )


def coloured(table: pa.Table, name: str, before: pa.Table | None = None) -> Coloured:
    """Codes and meaning of one column; names keep the colours they had in the table `before`.

    >>> found = coloured(pa.table({"label": ["oak", None, "ash", "oak"]}), "label")
    >>> found.codes.tolist(), found.legend.names, found.legend.counts, found.legend.missing
    ([0, 65535, 1, 0], ['oak', 'ash'], [2, 1], 1)
    """
    known = colourable(table)
    if name not in known:
        raise SettingProblem(f"the map has no colours by {name}: {did_you_mean(name, known)}")
    column = _plain(table, name)
    whole = pa.types.is_integer(column.type)
    if pa.types.is_floating(column.type) or (whole and pc.count_distinct(column).as_py() > FEW):
        return _measured(name, column)
    first = before if before is not None and name in before.column_names else table
    return _named(name, _told(name, column), _told(name, _plain(first, name)))


def _plain(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece; of several values in a cell the first counts."""
    column = table.column(name).combine_chunks()
    if pa.types.is_list(column.type):
        return pa.array([each[0] if each else None for each in column.to_pylist()], pa.string())
    return column


def _told(name: str, column: pa.Array) -> pa.Array:
    """Cells as text; groups are numbered from 0 on and called from 1 on, and -1 is none."""
    if not (pa.types.is_integer(column.type) and name.endswith("group")):
        return column.cast(pa.string())
    values = column.fill_null(-1).to_numpy().astype(np.int64)
    told = [None if value < 0 else f"{name.capitalize()} {value + 1}" for value in values.tolist()]
    return pa.array(told, pa.string())


def _measured(name: str, column: pa.Array) -> Coloured:
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    there = np.isfinite(values)
    low, high = np.quantile(values[there], MIDDLE) if there.any() else (0.0, 0.0)
    share = (np.where(there, values, low) - low) / (high - low or 1.0)
    codes = np.where(there, np.rint(share.clip(0, 1) * 255), NONE).astype(np.uint16)
    return Coloured(
        codes,
        Legend(column=name, kind="measure", colours=ramp(256), low=low, high=high,
               missing=int((~there).sum())),
    )  # fmt: skip


def _named(name: str, column: pa.Array, before: pa.Array) -> Coloured:
    order = {each: place for place, (each, _) in enumerate(_tally(before))}
    counts = dict(_tally(column))
    # a name nobody uses any more keeps its place, so that the others keep their colours
    names = [*order, *(each for each in counts if each not in order)]
    found = pc.index_in(column, pa.array(names, pa.string())).fill_null(NONE).to_numpy()
    codes = np.where((found >= NAMED) & (found != NONE), OTHER, found).astype(np.uint16)
    return Coloured(
        codes,
        Legend(
            column=name,
            kind="names",
            names=names[:NAMED],
            counts=[counts.get(each, 0) for each in names[:NAMED]],
            colours=list(palette(24)),
            missing=column.null_count,
            other=int((codes == OTHER).sum()),
        ),
    )


def _tally(column: pa.Array) -> list[tuple[str, int]]:
    """Values with their number, the most frequent first."""
    tally = [
        (each["values"], each["counts"]) for each in pc.value_counts(column.drop_null()).to_pylist()
    ]
    return sorted(tally, key=lambda each: (-each[1], each[0]))


def kept(table: pa.Table) -> list[int]:
    """Rows that nobody excluded.

    >>> kept(pa.table({"id": ["a", "b"], "excluded": ["yes", None]}))
    [1]
    """
    if "excluded" not in table.column_names:
        return list(range(table.num_rows))
    return np.flatnonzero(table.column("excluded").is_null().to_numpy()).tolist()


def exported(table: pa.Table, rows: list[int]) -> bytes:
    """Some rows as CSV: which pictures they are and what is said of them.

    >>> exported(pa.table({"path": ["a.png", "b.png"], "label": ["oak", None]}), [0]).decode()
    '"path","label"\\n"a.png","oak"\\n'
    """
    import pyarrow.csv as csv

    names = [name for name in EXPORTED if name in table.column_names]
    file = io.BytesIO()
    csv.write_csv(spelled(table.select(names).take(pa.array(rows, pa.int64()))), file)
    return file.getvalue()
