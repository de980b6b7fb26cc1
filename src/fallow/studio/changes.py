"""What people say about pictures: labels and other columns, every change a version, undoable."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from fallow.files import locked
from fallow.problems import SettingProblem, SourceProblem

Values = dict[str, str | None]  # by the picture's id; None is no value


class Change(BaseModel):
    """One version: what a column says now of some pictures, and what it said before."""

    version: int
    when: str
    kind: Literal["change", "undo", "redo"] = "change"
    column: str
    values: Values
    before: Values
    of: int = 0  # the version that is undone or done again


class Changes:
    """All versions, in one file of lines that is only ever added to; undo is a version too.

    >>> import tempfile
    >>> changes = Changes(Path(tempfile.mkdtemp()) / "changes.jsonl")
    >>> _ = changes.add("label", {"a.png": "cat"}, {"a.png": None})
    >>> changes.undo().version, changes.columns
    (2, {'label': {'a.png': None}})
    >>> changes.redo().values
    {'a.png': 'cat'}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._read = 0  # bytes of the file that are known
        self.columns: dict[str, Values] = {}
        self.done: list[Change] = []  # what undo takes back, the last first
        self.undone: list[Change] = []
        self.version = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def refresh(self) -> None:
        """Take up what was written since, here or by another studio on the same pictures."""
        with self._lock:
            if not self.path.exists() or self.path.stat().st_size == self._read:
                return
            with open(self.path, "rb") as file:
                file.seek(self._read)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]  # a line cut short was never confirmed
            for line in whole.splitlines():
                self._take(_change(line, self.path))
            self._read += len(whole)

    def add(self, column: str, values: Values, before: Values) -> Change:
        """A new version in which these pictures have these values."""
        with self._lock:
            return self._append(column=column, values=values, before=before)

    def undo(self) -> Change:
        """Take the last change back, as a version of its own."""
        with self._lock:
            self.refresh()
            if not self.done:
                raise SettingProblem("there is nothing to undo")
            last = self.done[-1]
            return self._append(kind="undo", column=last.column, values=last.before,
                                before=last.values, of=last.version)  # fmt: skip

    def redo(self) -> Change:
        """Do again what was undone last."""
        with self._lock:
            self.refresh()
            if not self.undone:
                raise SettingProblem("there is nothing to do again")
            last = self.undone[-1]
            return self._append(kind="redo", column=last.column, values=last.values,
                                before=last.before, of=last.version)  # fmt: skip

    def _append(self, **what: Any) -> Change:
        with locked(self.path.with_suffix(".lock")):
            self.refresh()
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            change = Change(version=self.version + 1, when=now, **what)
            line = (change.model_dump_json() + "\n").encode()
            with open(self.path, "r+b" if self.path.exists() else "xb") as file:
                file.seek(self._read)
                file.truncate()  # of a line cut short
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._read += len(line)
        self._take(change)
        return change

    def _take(self, change: Change) -> None:
        self.columns.setdefault(change.column, {}).update(change.values)
        self.version = change.version
        if change.kind == "undo":
            self.undone.append(self.done.pop())
        elif change.kind == "redo":
            self.done.append(self.undone.pop())
        else:
            self.done.append(change)
            self.undone.clear()

    def last(self, count: int) -> list[Change]:
        """The last versions, the newest first."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes()[: self._read].splitlines()[-count:]
        return [_change(line, self.path) for line in reversed(lines)]

    def at(self, version: int) -> Mapping[str, Values]:
        """All columns as they were at a version."""
        found: dict[str, Values] = {}
        if not self.path.exists():
            return found
        for line in self.path.read_bytes()[: self._read].splitlines():
            change = _change(line, self.path)
            if change.version > version:
                break
            found.setdefault(change.column, {}).update(change.values)
        return found


def _change(line: bytes, path: Path) -> Change:
    try:
        return Change.model_validate_json(line)
    except ValidationError as error:
        raise SourceProblem(
            f"{path} holds a line that is no change ({error.error_count()} faults): "
            "move the file away to start anew"
        ) from None
