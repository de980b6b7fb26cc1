"""What one studio session has open: pictures, their table, what was found, what people said."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.declare import Declaration
from fallow.files import cache_dir, fingerprint
from fallow.images.decode import Unreadable, decode
from fallow.inventory import store
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.studio import runs_read
from fallow.studio.changes import Change, Changes, Values
from fallow.studio.nearness import Nearness
from fallow.studio.opening import Opened, opened
from fallow.studio.thumbnails import Make, Shelf, jpeg

SIDES = (96, 160, 320)  # thumbnails are kept in these sizes
LARGE = 1600  # the long side of a picture shown whole
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Verbs(Mapping[str, Declaration]):
    """Declarations by name, read when asked for: a declaration imports its verb's module."""

    def __init__(
        self,
        names: Sequence[str] = (),
        read: Callable[[str], Declaration] | None = None,
        summary: Callable[[str], str] = str,
        purposes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._names, self._read, self.summary = tuple(names), read, summary
        self.purposes = {"": self._names} if purposes is None else purposes

    def __getitem__(self, name: str) -> Declaration:
        if name not in self._names or self._read is None:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Desk(Opened):
    """One session's state on what was opened.

    >>> from fallow.images.samples import shapes
    >>> desk = Desk.opened(shapes(3, side=24))
    >>> len(desk), desk.thumbnail(0, 96)[:2], desk.change("label", {1: "moon"}).version
    (3, b'\\xff\\xd8', 1)
    >>> desk.table.column("label").to_pylist(), desk.undo().kind, desk.version
    (['disc', 'moon', 'square'], 'undo', 2)
    """

    def __init__(
        self,
        what: Opened,
        *,
        encoder: Any = None,
        words: Any = None,
        verbs: Verbs | None = None,
    ) -> None:
        super().__init__(**vars(what))
        self.verbs = verbs or Verbs()
        self.changes = Changes(self.place / "changes.jsonl")
        self.nearness = Nearness(self, encoder, words)
        self._lock = threading.RLock()
        self._shown: tuple[int, pa.Table] = (-1, self.base)

    @classmethod
    def opened(cls, source: Any, pictures: Any = None, **more: Any) -> Desk:
        """Open a source of pictures, or the folder of a run, whose `pictures` are elsewhere now.

        `encoder` is what pictures are compared with where no run says it, `words` a run of align
        to search by words with, `verbs` what forms are made of.
        """
        return cls(opened(source, pictures), **more)

    # what people say

    @property
    def version(self) -> int:
        """Rises with every change of a label or of another column."""
        return self.changes.version

    @property
    def table(self) -> pa.Table:
        """The table with all that people have said since."""
        with self._lock:
            if self._shown[0] != self.version:
                self._shown = self.version, self._with(self.changes.columns)
            return self._shown[1]

    def at(self, version: int) -> pa.Table:
        """The table as it was at a version."""
        return self._with(self.changes.at(version))

    def _with(self, columns: Mapping[str, Mapping[str, str | None]]) -> pa.Table:
        table = self.base
        for name, values in columns.items():
            held = self._text(name)
            for key, value in values.items():
                if (row := self._row_of.get(key)) is not None:
                    held[row] = value
            column = pa.array(held, pa.string())
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), name, column)
            else:
                table = table.append_column(name, column)
        return table

    def _text(self, name: str) -> list[str | None]:
        if name not in self.base.column_names:
            return [None] * len(self)
        return [None if v is None else str(v) for v in self.base.column(name).to_pylist()]

    @cached_property
    def ids(self) -> list[str]:
        """What names a picture in a file: of a run that kept no ids, its path or its row."""
        for name in ("id", "path"):
            if name in self.base.column_names:
                return [str(value) for value in self.base.column(name).to_pylist()]
        return [str(row) for row in range(len(self))]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.ids)}

    def change(self, column: str, values: Mapping[int, str | None]) -> Change:
        """Set a column of text for some rows: `label`, or one of one's own such as `excluded`."""
        if not _NAME.fullmatch(column):
            raise SettingProblem(
                f"{column!r} cannot name a column: use up to 40 small letters, digits and _"
            )
        there = column in self.base.column_names
        if there and column != "label":
            raise SettingProblem(f"the column {column} is measured: choose another name")
        rows = [self.row(row) for row in values]
        if not rows:
            raise SettingProblem("no pictures were chosen")
        with self._lock:
            table, now = self.table, [None] * len(rows)
            if column in table.column_names:
                now = table.column(column).take(pa.array(rows)).to_pylist()
            before: Values = {
                self.ids[row]: None if value is None else str(value)
                for row, value in zip(rows, now, strict=True)
            }
            told = {self.ids[row]: _said(value) for row, value in values.items()}
            return self.changes.add(column, told, before)

    def undo(self) -> Change:
        """Take the last change back, as a new version."""
        with self._lock:
            return self.changes.undo()

    def redo(self) -> Change:
        """Do again what was undone last, as a new version."""
        with self._lock:
            return self.changes.redo()

    # pictures

    @cached_property
    def shelf(self) -> Shelf:
        return Shelf(cache_dir() / "studio")

    @cached_property
    def keys(self) -> list[str]:
        """What a thumbnail is kept under: the content, or the run and row where it is not known."""
        if "hash" in self.base.column_names:
            return [str(value) for value in self.base.column("hash").to_pylist()]
        about = self.images.fingerprint if self.images is not None else str(self.run)
        return [fingerprint(f"{about} {key}".encode()) for key in self.ids]

    def thumbnail(self, row: int, side: int) -> bytes:
        """One small picture as JPEG; empty where it cannot be decoded."""
        return self.thumbnails([row], side)[0]

    def thumbnails(self, rows: Sequence[int], side: int) -> list[bytes]:
        """Small pictures as JPEG, in order; empty where one cannot be decoded."""
        return self.shelf.many(*self._wanted(rows, side))

    def expect(self, rows: Sequence[int], side: int) -> None:
        """Make small pictures that will probably be asked for next, as soon as nobody waits."""
        self.shelf.expect(*self._wanted(rows, side))

    def _wanted(self, rows: Sequence[int], side: int) -> tuple[list[str], int, Make]:
        if side not in SIDES:
            raise SettingProblem(f"thumbnails have a side of {', '.join(map(str, SIDES))}")
        chosen = [self.row(row) for row in rows]
        keys = [self.keys[row] for row in chosen]
        return keys, side, lambda place: self._small(chosen[place], side)

    def prepare(self) -> None:
        """Make the small pictures of the page's own size while nobody asks for anything."""
        self.shelf.ahead(self.keys, SIDES[1], lambda row: self._small(row, SIDES[1]))

    def _small(self, row: int, side: int) -> bytes:
        short = self._short(row, side)
        try:
            if self.images is None or (at := self._at(row)) < 0:
                return jpeg(self.pixels(row, short), side)
            found = self.images.shown(at, short, side)
            return found if isinstance(found, bytes) else jpeg(found, side)
        except Problem:
            return b""

    def picture(self, row: int) -> bytes:
        """A whole picture as JPEG, upright, its long side at most `LARGE`."""
        return jpeg(self.pixels(row, self._short(row, LARGE)), LARGE, quality=90)

    def _short(self, row: int, side: int) -> int:
        """The short side of a picture whose long side is `side`: no more of a file is decoded."""
        if not {"width", "height"} <= set(self.base.column_names):
            return side
        both = [self.base.column(name)[self.row(row)].as_py() or 1 for name in ("width", "height")]
        return max(1, round(side * min(both) / max(both)))

    def _at(self, row: int) -> int:
        """Where a picture stands among `images`; -1 where it is not among them."""
        row = self.row(row)
        return row if self.rows is None else int(self.rows[row])

    def pixels(self, row: int, side: int | None = None) -> np.ndarray:
        """Pixels of a picture, or its small one where the run alone is left.  H W 3"""
        row = self.row(row)
        if self.images is not None and (at := self._at(row)) >= 0:
            return self.images.read(at, side)
        if self.run is not None and store.exists(self.run):
            try:
                return decode(runs_read.kept_thumbnail(self.run, row), side)
            except Unreadable as error:
                raise SourceProblem(f"the small picture of {self.ids[row]}: {error}") from error
        raise SourceProblem(
            f"the picture {self.ids[row]} is not here: open the run with --pictures FOLDER"
        )


def _said(value: str | None) -> str | None:
    """A value as people mean it: nothing but spaces is none."""
    text = " ".join(value.split()) if value else ""
    if len(text) > 200:
        raise SettingProblem("a value may have 200 letters at most")
    return text or None
