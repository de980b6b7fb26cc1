"""Where pictures from above were taken: boxes in degrees, and metres a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.images import tables
from fallow.images.places import place
from fallow.images.projections import degrees
from fallow.problems import SourceProblem

if TYPE_CHECKING:
    from fallow.images import Images

METRES = 111_320.0  # of a degree of latitude
NAMES = ("west", "south", "east", "north")
SCALE, TIE, KEYS = 33550, 33922, 34735  # tags of GeoTIFF
MODEL, PROJECTION = 1024, 3072  # keys: the kind of model, and the EPSG code of one in metres
PROJECTED = 1  # a model in metres; others are in degrees
EDGE = np.linspace(0, 1, 9)  # places along an edge, which bends when it is brought into degrees


def footprints(images: Images, source: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N 4: west, south, east, north) and metres a pixel (N); NaN where unknown.

    From a CSV with the columns path, west, south, east, north and maybe gsd, from such columns of
    the collection, or from the tags of GeoTIFF files, in degrees or in metres that
    `projections.degrees` knows.
    """
    held = images if source is None else images.join(_table(source))
    boxes = np.full((len(images), 4), np.nan)
    if set(NAMES) <= set(held.columns):
        for place_of, name in enumerate(NAMES):
            column = held.table.column(name).to_pylist()
            boxes[:, place_of] = [np.nan if value is None else float(value) for value in column]
    else:
        for row in range(len(images)):
            boxes[row] = _of_tiff(images, row)
    if np.isnan(boxes).any(1).all():
        raise SourceProblem(
            f"no picture of {images.name} says where it was taken: give a CSV with the columns "
            "path, west, south, east, north, or GeoTIFF files in degrees, UTM or web Mercator"
        )
    wrong = (boxes[:, 1] > boxes[:, 3]) | (np.abs(boxes[:, 1::2]) > 90).any(1)
    if wrong.any():
        path = images.table.column("path")[int(np.flatnonzero(wrong)[0])].as_py()
        raise SourceProblem(
            f"the footprint of {path} is no box in degrees: west, south, east, north in this order"
        )
    width = images.column("width").astype(np.float64)
    across = np.mod(boxes[:, 2] - boxes[:, 0], 360)  # a box may cross the date line
    middle = np.radians((boxes[:, 1] + boxes[:, 3]) / 2)
    measured = across * METRES * np.cos(middle) / width
    if "gsd" in held.columns:
        given = held.table.column("gsd").to_pylist()
        told = np.array([np.nan if value is None else float(value) for value in given])
        measured = np.where(np.isnan(told), measured, told)
    return boxes, measured


def _table(source: Any) -> Any:
    where = place(source)
    if not where.is_file():
        raise SourceProblem(f"there is no file of footprints {source}: check the name")
    return tables.read_table(where.read(), where.name)


def _of_tiff(images: Images, row: int) -> np.ndarray:
    """The box in degrees that holds what a GeoTIFF's tags tell."""
    import io

    from PIL import Image

    nothing = np.full(4, np.nan)
    path = images.table.column("path")[row].as_py().lower()
    if not path.endswith((".tif", ".tiff")):
        return nothing
    with Image.open(io.BytesIO(images._fetch(row))) as opened:
        tags: Any = opened.tag_v2  # type: ignore[attr-defined]
        if SCALE not in tags or TIE not in tags:
            return nothing
        keys = list(tags.get(KEYS, ()))
        told = {keys[k]: keys[k + 3] for k in range(4, len(keys) - 3, 4)}
        scale_x, scale_y = tags[SCALE][:2]
        column, line, _, x, y = tags[TIE][:5]
        width, height = opened.size
    left, top = x - column * scale_x, y + line * scale_y
    right, bottom = left + width * scale_x, top - height * scale_y
    if told.get(MODEL) != PROJECTED:
        return np.array([left, bottom, right, top])
    across, down = left + EDGE * (right - left), bottom + EDGE * (top - bottom)
    rim_x = np.concatenate([across, across, np.full(9, left), np.full(9, right)])
    rim_y = np.concatenate([np.full(9, bottom), np.full(9, top), down, down])
    places = degrees(told.get(PROJECTION, 0), rim_x, rim_y)
    if places is None:
        return nothing
    lon, lat = places
    return np.array([lon.min(), lat.min(), lon.max(), lat.max()])
