"""Decisions about pictures, stage by stage, on disk: what was decided once is not decided again.

A stage has a key that changes with its model and settings, and an entry names what it looked at; so
a later run asks only about new pictures, and about all of them where a stage has changed. Lines are
only ever added, and one that a power cut left half written is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from fallow.files import atomic_write, fingerprint
from fallow.inventory.statistics import DIMENSION, MEASURES, Described
from fallow.problems import Problem

Decision = Literal["keep", "drop", "review"]


@dataclass(frozen=True)
class Entry:
    """What a stage decided about one picture, and why."""

    stage: str
    key: str  # of the stage: which model, which settings
    subject: str  # what it looked at: a content hash, and whatever else it was told
    decision: Decision
    reason: str = ""
    score: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """One file of lines for each stage.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Ledger(folder).add([Entry("faces", "model-1", "abc", "drop", "face", 0.9)])
    >>> Ledger(folder).get("faces", "model-1", "abc").reason
    'face'
    >>> Ledger(folder).get("faces", "model-2", "abc") is None
    True
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stages: dict[str, dict[tuple[str, str], Entry]] = {}

    def get(self, stage: str, key: str, subject: str) -> Entry | None:
        """What the stage in this form decided about this subject, if it did."""
        return self._of(stage).get((key, subject))

    def add(self, entries: Iterable[Entry]) -> None:
        """Write entries down before anything depends on them."""
        lines: dict[str, list[str]] = {}
        for entry in entries:
            self._of(entry.stage)[(entry.key, entry.subject)] = entry
            told = {k: v for k, v in asdict(entry).items() if v not in ("", None, {})}
            lines.setdefault(entry.stage, []).append(json.dumps(told, ensure_ascii=False))
        for stage, each in lines.items():
            path = self._path(stage)
            torn = path.is_file() and not _ends_with_a_line(path)
            with open(path, "a", encoding="utf-8") as file:
                file.write("\n" * torn + "\n".join(each) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _of(self, stage: str) -> dict[tuple[str, str], Entry]:
        if stage not in self._stages:
            found: dict[tuple[str, str], Entry] = {}
            path = self._path(stage)
            if path.is_file():
                with open(path, encoding="utf-8", errors="replace") as file:
                    for line in file:
                        entry = _entry(line)
                        if entry is not None:
                            found[(entry.key, entry.subject)] = entry
            self._stages[stage] = found
        return self._stages[stage]

    def _path(self, stage: str) -> Path:
        return self.folder / f"{stage}.jsonl"


def _entry(line: str) -> Entry | None:
    """The entry of a line, or None where the line was cut short."""
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _ends_with_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def key_of(*what: Any) -> str:
    """A short key that changes with anything it is made of.

    >>> key_of("model", 0.5) == key_of("model", 0.5), key_of("model", 0.5) == key_of("model", 0.6)
    (True, False)
    """
    return fingerprint(json.dumps(what, default=str, sort_keys=True).encode())[:12]


class Looks:
    """What pixels say of pictures, kept by content hash in parts that are written once.

    >>> import tempfile
    >>> from fallow.inventory.statistics import describe
    >>> folder = Path(tempfile.mkdtemp())
    >>> Looks(folder).add({"abc": describe(np.zeros((8, 8, 3), np.uint8))})
    >>> "abc" in Looks(folder), Looks(folder).take(["abc"])[0].shape
    (True, (1, 8))
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, Described] = {}
        for path in sorted(self.folder.glob("looks-*.npz")):
            self._load(path)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def add(self, found: dict[str, Described]) -> None:
        """Keep some more."""
        new = {name: one for name, one in found.items() if name not in self._rows}
        if not new:
            return
        self._rows |= new
        path = self.folder / f"looks-{fingerprint(np.array(list(new)).tobytes())}.npz"
        with atomic_write(path) as file:
            save_looks(file, new)

    def take(self, names: Iterable[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measures (N M), perceptual hashes (N) and statistics (N D) of these pictures."""
        rows = [self._rows[name] for name in names]
        return (
            np.array([one.measures for one in rows], np.float32).reshape(-1, len(MEASURES)),
            np.array([one.hash for one in rows], np.uint64),
            np.array([one.statistics for one in rows], np.float32).reshape(-1, DIMENSION),
        )

    def _load(self, path: Path) -> None:
        try:
            self._rows |= load_looks(path)
        except (OSError, ValueError, KeyError) as error:
            raise Problem(f"{path} is damaged ({error}): delete it, and it is made anew") from error


def save_looks(file: IO[bytes], found: Mapping[str, Described]) -> None:
    """What pixels say of pictures, by name, as arrays.

    >>> import io
    >>> from fallow.inventory.statistics import describe
    >>> held = io.BytesIO()
    >>> save_looks(held, {"abc": describe(np.zeros((8, 8, 3), np.uint8))})
    >>> list(load_looks(io.BytesIO(held.getvalue())))
    ['abc']
    """
    rows = list(found.values())
    np.savez(
        file,
        names=np.array(list(found), str),
        measures=np.array([one.measures for one in rows]),
        hashes=np.array([one.hash for one in rows], np.uint64),
        statistics=np.array([one.statistics for one in rows]),
    )


def load_looks(file: Path | IO[bytes]) -> dict[str, Described]:
    """What `save_looks` wrote."""
    with np.load(file, allow_pickle=False) as held:
        parts = [held[name] for name in ("names", "measures", "hashes", "statistics")]
    return {
        str(name): Described(measures, int(hashed), statistics)
        for name, measures, hashed, statistics in zip(*parts, strict=True)
    }
