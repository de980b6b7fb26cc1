"""Addresses of the collection that change labels: set, undo, redo, versions, export."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from fallow.problems import SettingProblem
from fallow.studio import selection
from fallow.studio.changes import Change
from fallow.studio.desk import Desk

LISTED = 50  # versions shown


class Said(BaseModel):
    """What these pictures are said to be; no value takes away the one they have."""

    rows: list[int] = Field(min_length=1, max_length=10_000_000)
    column: str = "label"
    value: str | None = None


class Changed(BaseModel):
    """What is true now."""

    version: int
    kind: str
    column: str
    pictures: int
    value: str | None  # where all of them have one
    undo: bool  # whether there is anything left to
    redo: bool


class Version(BaseModel):
    """One line of the history."""

    version: int
    when: str
    kind: str
    column: str
    pictures: int
    value: str | None


class Versions(BaseModel):
    """The last versions, the newest first."""

    versions: list[Version]
    version: int
    undo: bool
    redo: bool


def router(desk: Desk) -> APIRouter:
    """The addresses."""
    routes = APIRouter()

    def changed(change: Change) -> Changed:
        return Changed(**_line(change).model_dump(exclude={"when"}), **_left(desk))

    @routes.post("/label")
    def say(said: Said) -> Changed:
        """Set a column of text for some pictures, as a new version."""
        return changed(desk.change(said.column, dict.fromkeys(said.rows, said.value)))

    @routes.post("/undo")
    def undo() -> Changed:
        """Take the last change back."""
        return changed(desk.undo())

    @routes.post("/redo")
    def redo() -> Changed:
        """Do again what was undone last."""
        return changed(desk.redo())

    @routes.get("/versions")
    def versions() -> Versions:
        """What was said when."""
        last = [_line(one) for one in desk.changes.last(LISTED)]
        return Versions(versions=last, version=desk.version, **_left(desk))

    @routes.get(
        "/labels.csv",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}}}},
    )
    def labels(
        where: str = "", find: str = "", version: Annotated[int | None, Field(ge=0)] = None
    ) -> Response:
        """Path and label of every picture that has one, and columns of one's own, as CSV."""
        if version is not None and version > desk.version:
            raise SettingProblem(f"there is no version {version}: the last is {desk.version}")
        table = desk.table if version is None else desk.at(version)
        own = [name for name in desk.changes.columns if name in table.column_names]
        names = [name for name in dict.fromkeys(["label", *own]) if name in table.column_names]
        rows = selection.chosen(desk.table, where, "", find)
        chosen = table.select(names).take(pa.array(rows)).to_pylist()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["path", *names])
        for row, cells in zip(rows.tolist(), chosen, strict=True):
            if any(cell is not None for cell in cells.values()):
                writer.writerow([desk.ids[row], *cells.values()])
        shown = "labels.csv" if version is None else f"labels-{version}.csv"
        headers = {"content-disposition": f'attachment; filename="{shown}"'}
        return Response(text.getvalue(), media_type="text/csv", headers=headers)

    return routes


def _line(change: Change) -> Version:
    values = set(change.values.values())
    return Version(
        version=change.version,
        when=change.when,
        kind=change.kind,
        column=change.column,
        pictures=len(change.values),
        value=values.pop() if len(values) == 1 else None,
    )


def _left(desk: Desk) -> dict[str, Any]:
    return {"undo": bool(desk.changes.done), "redo": bool(desk.changes.undone)}
