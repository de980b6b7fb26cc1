"""Part `collection`: the pictures in pages of thumbnails, filtered, sorted and labelled."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from fallow.files import fingerprint
from fallow.problems import SettingProblem
from fallow.studio import labelling, searching, selection
from fallow.studio.desk import Desk

PAGE = "collection"
BINARY = "application/octet-stream"
MOST = 240  # pictures of a page
Side = Annotated[int, Query(description="96, 160 or 320")]
Rows = Annotated[str, Query(description="rows of the table, such as 0,5,7", max_length=2400)]
Then = Annotated[str, Query(description="rows that will be asked for next", max_length=2400)]


class Columns(BaseModel):
    """What can be filtered by, and how many versions there are."""

    columns: list[dict[str, Any]]
    pictures: int
    version: int


class Facts(BaseModel):
    """Cells of some pictures, row by row."""

    rows: list[dict[str, Any]]
    version: int


def router(desk: Desk) -> APIRouter:
    """The addresses of the part."""
    routes = APIRouter()  # addresses that change something, or take a file, are in modules beside
    routes.include_router(searching.router(desk))
    routes.include_router(labelling.router(desk))

    @routes.get("/columns")
    def columns() -> Columns:
        """Every column with its commonest values or its range."""
        described = selection.described(desk.table)
        return Columns(columns=described, pictures=len(desk), version=desk.version)

    @routes.get("/order", response_class=Response, responses=holds(BINARY))
    def order(where: str = "", sort: str = "", find: str = "") -> Response:
        """The rows that a predicate holds for, in order, as uint32 (little-endian)."""
        rows = selection.chosen(desk.table, where, sort, find)
        headers = {"x-version": str(desk.version)}
        return Response(rows.astype("<u4").tobytes(), media_type=BINARY, headers=headers)

    @routes.get("/rows")
    def facts(rows: Rows, columns: str = "") -> Facts:
        """Cells of some pictures; of the columns named, or of all."""
        chosen, table = listed(desk, rows), desk.table
        names = [name for name in columns.split(",") if name] or table.column_names
        for name in names:
            selection.known(table, name)
        found = table.select(names).take(pa.array(chosen)).to_pylist()
        cells = [{"row": row} | {k: selection.plain(v) for k, v in one.items() if k != "row"}
                 for row, one in zip(chosen, found, strict=True)]  # fmt: skip
        return Facts(rows=cells, version=desk.version)

    @routes.get("/sheet", response_class=Response, responses=holds(BINARY))
    def sheet(request: Request, rows: Rows, side: Side = 160, then: Then = "") -> Response:
        """Thumbnails of many pictures in one answer: their lengths as uint32, then JPEG files."""
        chosen = listed(desk, rows)
        tag = _tag(desk, chosen, side)
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        small = desk.thumbnails(chosen, side)
        if then:
            desk.expect(listed(desk, then), side)
        return kept(sheet_of(small), tag, BINARY)

    @routes.get("/thumbnail/{row}", response_class=Response, responses=holds("image/jpeg"))
    def thumbnail(request: Request, row: int, side: Side = 160) -> Response:
        """One small picture as JPEG."""
        tag = _tag(desk, [desk.row(row)], side)
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        if not (small := desk.thumbnail(row, side)):
            raise SettingProblem(f"the picture {row} cannot be read")
        return kept(small, tag, "image/jpeg")

    @routes.get("/picture/{row}", response_class=Response, responses=holds("image/jpeg"))
    def picture(row: int) -> Response:
        """A whole picture as JPEG."""
        return Response(desk.picture(row), media_type="image/jpeg")

    return routes


def holds(kind: str) -> dict[int | str, dict[str, Any]]:
    """What an address answers with, for the description of all addresses."""
    return {200: {"content": {kind: {}}}, 304: {"description": "As it was"}}


def listed(desk: Desk, rows: str) -> list[int]:
    """Rows as a page asks for them; a Problem for anything that is no list of rows."""
    words = [word for word in rows.split(",") if word]
    if not all(word.isascii() and word.isdecimal() and len(word) < 12 for word in words):
        raise SettingProblem("rows are numbers with commas between them, such as 0,5,7")
    if not 0 < len(words) <= MOST:
        raise SettingProblem(f"ask for 1 to {MOST} pictures at once")
    return [desk.row(int(word)) for word in words]


def sheet_of(files: Sequence[bytes]) -> bytes:
    """Many small files in one answer: their lengths as uint32 (little-endian), then they.

    >>> sheet_of([b"ab", b""])
    b'\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00ab'
    """
    return b"".join([struct.pack(f"<{len(files)}I", *map(len, files)), *files])


def _tag(desk: Desk, rows: list[int], side: int) -> str:
    """Equal for equal contents in equal sizes, on any collection."""
    told = "\n".join([str(side), *(desk.keys[row] for row in rows)])
    return f'"{fingerprint(told.encode())}"'


def kept(body: bytes, tag: str, kind: str) -> Response:
    """An answer a browser may keep, if it asks each time whether it still holds."""
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    return Response(body, media_type=kind, headers=headers)
