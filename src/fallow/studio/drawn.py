"""Masks and key points drawn by hand: a new file for every version, never over anybody's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, Field, ValidationError

from fallow.annotations.points import within
from fallow.colours import palette
from fallow.files import atomic_write, write_json
from fallow.images.classes import IGNORE, Classes, named_classes
from fallow.images.decode import Unreadable, decode_mask
from fallow.outcomes.maps import save_codes
from fallow.outcomes.tables import without_ending
from fallow.problems import SettingProblem, SourceProblem
from fallow.studio.desk import Desk

MASK, POINTS = "mask_version", "points_version"  # columns of the desk: which version counts
LARGEST = 64_000_000  # pixels of a mask
MOST = 500  # key points of a picture


class Point(BaseModel):
    """A named place of a picture, 0 being the middle of its first pixel; None: not seen."""

    name: str = Field(min_length=1, max_length=80)
    x: float | None = None
    y: float | None = None
    sure: float | None = None  # of the one who proposed it; a person is sure


class Drawn:
    """What is drawn over the pictures of a desk, beside the run it corrects."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.folder = (desk.run or desk.place) / "corrected"
        self.facts = _facts(desk.run / "run.json") if desk.run is not None else {}

    # classes of masks

    @property
    def classes(self) -> Classes:
        """Of the run, or those a person named, or one object on a ground."""
        if listed := self.listed:
            hues = [tuple(int(one["colour"][k : k + 2], 16) for k in (1, 3, 5)) for one in listed]
            names, values = ([one[what] for one in listed] for what in ("name", "value"))
            ignore = self.facts.get("ignore") or [_unused(values)]
            return Classes(tuple(names), tuple(values), tuple(hues), tuple(ignore))  # type: ignore[arg-type]
        named = self.folder / "classes.yaml"
        if named.is_file():
            return named_classes(named)
        return named_classes(["background", "object"])

    @cached_property
    def listed(self) -> list[dict[str, Any]]:
        """The classes a run of segment writes; those of discover are no masks' classes."""
        listed = self.facts.get("classes")
        masks = isinstance(listed, list) and listed and isinstance(listed[0], dict)
        return listed if masks and "value" in listed[0] else []  # type: ignore[return-value,index]

    def name_classes(self, names: list[str]) -> None:
        """Say which classes are drawn, where no run says so."""
        if self.listed:
            raise SettingProblem("the run's masks say what classes there are")
        told = [" ".join(name.split())[:80] for name in names]
        if len(set(told)) < 2 or not all(told) or len(told) > 64 or "ignore" in told:
            raise SettingProblem("name 2 to 64 different classes, the background first")
        old = self.classes.names
        if self.rows(MASK) and tuple(told[: len(old)]) != old:
            raise SettingProblem("masks are drawn already: add classes behind those there are")
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.folder / "classes.yaml") as file:
            file.write(yaml.safe_dump({n: k for k, n in enumerate(told)}, sort_keys=False).encode())

    # versions

    def name(self, row: int) -> str:
        """Below which name a picture's drawings lie, whatever its id holds."""
        return without_ending(self.desk.ids[self.desk.row(row)])

    def version(self, row: int, column: str) -> int:
        """The version that counts; 0 is what was there before anybody drew."""
        table = self.desk.table
        if column not in table.column_names:
            return 0
        return int(table.column(column)[self.desk.row(row)].as_py() or 0)

    def _path(self, row: int, column: str, version: int) -> Path:
        kind, ending = ("masks", "png") if column == MASK else ("points", "json")
        return self.folder / "versions" / kind / f"{self.name(row)}.v{version}.{ending}"

    def _next(self, row: int, column: str) -> int:
        there = 1
        while self._path(row, column, there).exists():
            there += 1
        return there

    def rows(self, column: str) -> list[int]:
        """Rows for which somebody drew something."""
        table = self.desk.table
        if column not in table.column_names:
            return []
        cells = table.column(column).to_pylist()
        return [row for row, cell in enumerate(cells) if cell is not None]

    # masks

    def mask(self, row: int) -> np.ndarray:
        """Class codes of a picture, 255 where nobody is to judge.  H W uint8"""
        known = self.known_mask(row)
        return np.zeros(self._size(row), np.uint8) if known is None else known

    def known_mask(self, row: int) -> np.ndarray | None:
        """The same, where somebody drew a mask or the run found one."""
        version = self.version(row, MASK)
        path = self._path(row, MASK, version) if version else self._found(row)
        if path is None:
            return None
        try:
            values = decode_mask(path.read_bytes())
        except (OSError, Unreadable) as error:
            raise SourceProblem(f"the mask of {self.name(row)} cannot be read: {error}") from error
        classes = self.classes
        if max(classes.values) > 255:  # such files hold codes
            return np.where(values < len(classes), values, IGNORE).astype(np.uint8)
        return classes.codes(values, self.name(row))

    def _found(self, row: int) -> Path | None:
        """The file the run wrote, if it wrote any."""
        table = self.desk.base
        if self.desk.run is None or "mask" not in table.column_names:
            return None
        told = str(table.column("mask")[row].as_py() or "")
        if told.endswith(".nii.gz"):
            raise SettingProblem("masks of volumes are corrected in a program for volumes")
        path = self.desk.run / "masks" / f"{self.name(row)}.png"
        return path if path.is_file() else None

    def _size(self, row: int) -> tuple[int, int]:
        table = self.desk.base
        if {"width", "height"} <= set(table.column_names):
            return tuple(int(table.column(name)[row].as_py()) for name in ("height", "width"))  # type: ignore[return-value]
        height, width = self.desk.pixels(row).shape[:2]
        return height, width

    def save_mask(self, row: int, codes: np.ndarray) -> int:
        """A mask (H W) as a new version; returns its number."""
        expected = self.mask(row).shape
        if codes.shape != expected:
            raise SettingProblem(f"the mask is {codes.shape}, the picture {expected}")
        classes = self.classes
        if not ((codes < len(classes)) | (codes == IGNORE)).all():
            raise SettingProblem(f"the mask holds more than {len(classes)} classes")
        version = self._next(row, MASK)
        path = self._path(row, MASK, version)
        save_codes(path, classes.written(codes), classes.palette())
        self.desk.change(MASK, {row: str(version)})
        return version

    # key points

    def points(self, row: int) -> list[Point]:
        """Key points of a picture: those drawn, or those the run found, or none."""
        version = self.version(row, POINTS)
        if version:
            path = self._path(row, POINTS, version)
            try:
                return [Point(**one) for one in json.loads(path.read_text())["points"]]
            except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
                raise SourceProblem(f"{path} cannot be read ({error}): move it away") from error
        return self._proposed(row)

    def _proposed(self, row: int) -> list[Point]:
        """What a run of pose found: columns for x, y and confidence of every point."""
        cells = {
            name: self.desk.base.column(name)[row].as_py()
            for point in self._named
            for name in (f"{point} x", f"{point} y", f"{point} confidence")
            if name in self.desk.base.column_names
        }
        size = np.array(self._size(row)[::-1]) if cells else np.zeros(2)
        points = []
        for name in self._named:
            x, y, sure = (cells.get(f"{name} {what}") for what in ("x", "y", "confidence"))
            if x is None or y is None or not within(np.array([x, y]), size):
                x = y = None
            points.append(Point(name=name, x=x, y=y, sure=sure))
        return points

    @cached_property
    def _named(self) -> list[str]:
        """The points a run of pose knows, in its order."""
        there = self.desk.base.column_names
        return [n[:-2] for n in there if n.endswith(" x") and f"{n[:-2]} y" in there]

    @cached_property
    def limbs(self) -> list[list[int]]:
        """Which points are joined by a line, as the run says."""
        if self.desk.run is None:
            return []
        about = _facts(self.desk.run / "pointer" / "pointer.json").get("about") or {}
        return [[int(a), int(b)] for a, b in about.get("bones", [])]

    @property
    def labels(self) -> bool:
        """Whether a mask or key points are what a picture of this run is labelled by."""
        return bool(self.listed or self._named)

    def save_points(self, row: int, points: list[Point]) -> int:
        """Key points as a new version; returns its number."""
        names = [point.name for point in points]
        if len(set(names)) != len(names) or len(names) > MOST:
            raise SettingProblem(f"give at most {MOST} points, each a name of its own")
        size = np.array(self._size(row)[::-1])
        for one in points:
            if (one.x is None) != (one.y is None):
                raise SettingProblem(f"{one.name} has half a place: give x and y, or neither")
            if one.x is not None and not within(np.array([one.x, one.y]), size):
                raise SettingProblem(f"{one.name} lies outside its picture")
        version = self._next(row, POINTS)
        path = self._path(row, POINTS, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"points": [one.model_dump() for one in points]})
        self.desk.change(POINTS, {row: str(version)})
        return version

    # for the next run

    def collect(self) -> tuple[Path, int, int]:
        """All that counts now in one folder, as the next run wants it: masks, classes, points.

        Those the run was given are among them: the next run learns from more, not from others.
        """
        masks, points = self._kept(MASK), self._kept(POINTS)
        if not masks and not points:
            raise SettingProblem("nothing was drawn yet")
        classes, target = self.classes, self.folder / "masks"
        current = {target / f"{self.name(row)}.png" for row in masks}
        for left in set(target.rglob("*.png")) - current:
            left.unlink()  # collected before, and taken back since
        for row in masks:
            path = target / f"{self.name(row)}.png"
            save_codes(path, classes.written(self.mask(row)), classes.palette())
        if masks:
            coloured = max(classes.values) > 255  # then files hold codes
            values = range(len(classes)) if coloured else classes.values
            named: dict[str, Any] = dict(zip(classes.names, values, strict=True))
            named["ignore"] = [IGNORE] if coloured else [*classes.ignore]
            with atomic_write(self.folder / "classes.yaml") as file:
                file.write(yaml.safe_dump(named, sort_keys=False).encode())
        if points:
            write_json(self.folder / "points.json", self._coco(points))
        return self.folder, len(masks), len(points)

    def _kept(self, column: str) -> list[int]:
        """Rows for which something was drawn, and those the run was given."""
        drawn, table = set(self.rows(column)), self.desk.base
        there = "mask" in table.column_names if column == MASK else bool(self._named)
        if drawn and there and "given" in table.column_names:
            drawn |= {row for row, given in enumerate(table.column("given").to_pylist()) if given}
        return sorted(drawn)

    def _coco(self, rows: list[int]) -> dict[str, Any]:
        """Key points as COCO writes them, which `pose` reads."""
        held = [self.points(row) for row in rows]
        names = list(dict.fromkeys(point.name for points in held for point in points))
        pictures, marks = [], []
        for number, (row, points) in enumerate(zip(rows, held, strict=True), start=1):
            height, width = self._size(row)
            pictures.append({"id": number, "file_name": self.desk.ids[row],
                             "width": width, "height": height})  # fmt: skip
            placed = {p.name: [p.x, p.y, 2] for p in points if p.x is not None}
            flat = [value for name in names for value in placed.get(name, [0, 0, 0])]
            marks.append({"id": number, "image_id": number, "category_id": 1, "keypoints": flat,
                          "num_keypoints": len(placed), "bbox": [0, 0, width, height],
                          "area": width * height, "iscrowd": 0})  # fmt: skip
        skeleton = [[a + 1, b + 1] for a, b in self.limbs]
        kind = {"id": 1, "name": "object", "keypoints": names, "skeleton": skeleton}
        return {"images": pictures, "annotations": marks, "categories": [kind]}


def colours(classes: Classes) -> list[str]:
    """Of the classes, as a page writes them; the ground is not tinted."""
    known = ["#{:02x}{:02x}{:02x}".format(*one) for one in classes.colours]
    spare = palette(len(known) + 1)
    return [c if c != "#000000" or k == 0 else spare[k] for k, c in enumerate(known)]


def _unused(values: Sequence[int]) -> int:
    """A byte that stands for no class: 255, unless masks are black and white.

    >>> _unused([0, 1]), _unused([0, 255])
    (255, 254)
    """
    return next(value for value in range(IGNORE, -1, -1) if value not in values)


def _facts(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the desk says what is wrong with a run
    return found if isinstance(found, dict) else {}
