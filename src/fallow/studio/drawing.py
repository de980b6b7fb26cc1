"""Addresses of the findings that are drawn: classes, masks, key points, and masks to lay over."""

from __future__ import annotations

import struct
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, Field

from fallow.files import fingerprint
from fallow.outcomes.sentences import counted
from fallow.problems import SettingProblem
from fallow.studio.collection import BINARY, Rows, Side, holds, kept, listed, sheet_of
from fallow.studio.desk import LARGE, SIDES, Desk
from fallow.studio.drawn import MASK, MOST, POINTS, Drawn, Point, colours
from fallow.studio.overlays import legend, masked, overlay


class Said(BaseModel):
    """What was done, in words."""

    said: str
    version: int


class Classes(BaseModel):
    """What masks are made of."""

    names: list[str]
    colours: list[str]
    fixed: bool  # a run says so
    masks: list[int]  # rows with a mask drawn by hand
    points: list[int]
    limbs: list[list[int]]  # pairs of points with a line between them


class Legend(BaseModel):
    """What masks that are laid over pictures mean; nothing where there are none."""

    there: bool
    classes: dict[str, str]  # colours of those that are tinted, by name


class Names(BaseModel):
    names: list[str] = Field(max_length=64)


class Next(BaseModel):
    """A run that what was found leads to: a verb, and what its form says already."""

    verb: str
    given: dict[str, str]


class Collected(Said):
    """What was written, and what may learn from it."""

    then: list[Next]


class Points(BaseModel):
    """Key points of one picture."""

    points: list[Point] = Field(max_length=MOST)
    version: int = 0


def router(desk: Desk, drawn: Drawn) -> APIRouter:
    """The addresses, on what is drawn over the pictures of a desk."""
    routes = APIRouter()

    @routes.get("/classes")
    def classes() -> Classes:
        """The classes that masks are drawn in, and what was drawn so far."""
        known = drawn.classes
        return Classes(names=list(known.names), colours=colours(known), fixed=bool(drawn.listed),
                       masks=drawn.rows(MASK), points=drawn.rows(POINTS),
                       limbs=drawn.limbs)  # fmt: skip

    @routes.post("/classes")
    def name_classes(asked: Names) -> Classes:
        """Say which classes are drawn, where no run says so."""
        drawn.name_classes(asked.names)
        return classes()

    @routes.get("/legend")
    def classes_shown() -> Legend:
        """Whether there are masks to lay over pictures, and what their colours mean."""
        there = masked(drawn)
        return Legend(there=there, classes=legend(drawn) if there else {})

    @routes.get("/overlays", response_class=Response, responses=holds(BINARY))
    def overlays(request: Request, rows: Rows, side: Side = 160) -> Response:
        """Masks of many pictures in one answer: their lengths as uint32, then PNG files."""
        chosen = listed(desk, rows)
        if side not in (*SIDES, LARGE):
            raise SettingProblem(f"masks have a side of {', '.join(map(str, (*SIDES, LARGE)))}")
        versions = [f"{desk.ids[row]} {drawn.version(row, MASK)}" for row in chosen]
        told = [str(desk.run), str(side), *colours(drawn.classes), *versions]
        tag = f'"{fingerprint(chr(10).join(told).encode())}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return kept(sheet_of([overlay(drawn, row, side) for row in chosen]), tag, BINARY)

    @routes.get("/mask/{row}", response_class=Response, responses=holds(BINARY))
    def mask(row: int) -> Response:
        """A mask: height, width (uint32), then a class for every pixel, 255 for none."""
        codes = drawn.mask(desk.row(row))
        return Response(struct.pack("<2I", *codes.shape) + codes.tobytes(), media_type=BINARY)

    @routes.post("/mask/{row}")
    def save_mask(row: int, body: Annotated[bytes, Body(media_type=BINARY)]) -> Said:
        """A corrected mask, as it was sent: a new version beside the run."""
        version = drawn.save_mask(desk.row(row), _codes(body))
        return Said(said=f"mask saved as version {version}", version=desk.version)

    @routes.get("/points/{row}")
    def points(row: int) -> Points:
        """Key points of a picture."""
        return Points(points=drawn.points(desk.row(row)), version=drawn.version(row, POINTS))

    @routes.post("/points/{row}")
    def save_points(row: int, asked: Points) -> Said:
        """Corrected key points: a new version beside the run."""
        version = drawn.save_points(desk.row(row), asked.points)
        return Said(said=f"key points saved as version {version}", version=desk.version)

    @routes.post("/collect")
    def collect() -> Collected:
        """Write all that was drawn into one folder, as the next run wants it."""
        folder, masks, marked = drawn.collect()
        said, then = [], []
        if masks:
            given = {"masks": folder / "masks", "classes": folder / "classes.yaml"}
            said.append(counted(masks, "mask"))
            then.append(Next(verb="segment", given={k: str(v) for k, v in given.items()}))
        if marked:
            said.append(f"key points of {counted(marked, 'picture')}")
            then.append(Next(verb="pose", given={"points": str(folder / "points.json")}))
        return Collected(said=f"{' and '.join(said)} in {folder}", version=desk.version, then=then)

    return routes


def _codes(body: bytes) -> np.ndarray:
    """A mask as it is sent: height, width, and a byte for every pixel."""
    if len(body) < 8:
        raise SettingProblem("a mask begins with its height and width")
    height, width = struct.unpack("<2I", body[:8])
    if height * width != len(body) - 8 or not height * width:
        raise SettingProblem(f"a mask of {height} x {width} needs {height * width:,} bytes")
    return np.frombuffer(body, np.uint8, offset=8).reshape(height, width)
