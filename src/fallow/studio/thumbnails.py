"""Small pictures as WebP, made when asked for and kept by content in one file of the cache."""

from __future__ import annotations

import io
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

LIMIT = 4 << 30  # bytes kept; the oldest go first
AHEAD = 200_000  # pictures that are made small before anybody asks
STEP = 32  # of them at once
IDLE = 2.0  # seconds without a request before that goes on


def webp(pixels: np.ndarray, side: int, quality: int = 78) -> bytes:
    """A picture that fits into a square of that side, as WebP.

    >>> webp(np.zeros((8, 4, 3), np.uint8), 4)[8:12]
    b'WEBP'
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality, method=1)
    return file.getvalue()


def _later(make: Callable[[int], bytes], start: int, place: int) -> bytes:
    return make(start + place)


class Shelf:
    """Thumbnails by content and side. Any number of threads and processes may share the file.

    >>> import tempfile
    >>> shelf = Shelf(Path(tempfile.mkdtemp()))
    >>> shelf.many(["a"], 64, lambda place: b"small"), shelf.many(["a"], 64, lambda place: b"")
    ([b'small'], [b'small'])
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.limit = folder / "thumbnails.sqlite", limit
        self._here = threading.local()
        # decoding holds whole pictures: no more at once than there are cores
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="fallow-thumbnail")
        self._since = 0  # bytes written
        self._asked = 0.0  # when somebody last asked
        try:
            self._base()
        except sqlite3.DatabaseError:  # all of it can be made again
            self.path.unlink()
            self._here = threading.local()
            self._base()

    def many(self, keys: Sequence[str], side: int, make: Callable[[int], bytes]) -> list[bytes]:
        """Thumbnails by key, in order; `make(place)` gives those that are not there yet."""
        self._asked = time.monotonic()
        return self._many(keys, side, make, self._pool.map)

    def ahead(self, keys: Sequence[str], side: int, make: Callable[[int], bytes]) -> None:
        """Make what will be asked for, in a thread of its own, while nobody asks for anything."""

        def work() -> None:
            if sys.platform == "linux":  # where a thread has a priority of its own
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
            for start in range(0, min(len(keys), AHEAD), STEP):
                while (rest := self._asked + IDLE - time.monotonic()) > 0:
                    time.sleep(rest)
                self._many(keys[start : start + STEP], side, partial(_later, make, start), map)

        threading.Thread(target=work, name="fallow-ahead", daemon=True).start()

    def _many(
        self,
        keys: Sequence[str],
        side: int,
        make: Callable[[int], bytes],
        each: Callable[..., Iterable[bytes]],
    ) -> list[bytes]:
        found = self._read(keys, side)
        missing = {key: place for place, key in enumerate(keys) if key not in found}
        if missing:
            made = dict(zip(missing, each(make, missing.values()), strict=True))
            self._write(((key, side, data) for key, data in made.items() if data))
            found |= made
        return [found[key] for key in keys]

    def _base(self) -> sqlite3.Connection:
        if not hasattr(self._here, "base"):
            base = sqlite3.connect(self.path, timeout=20, isolation_level=None)
            base.execute("pragma journal_mode = wal")
            base.execute("pragma synchronous = off")  # lost in a power cut is made again
            base.execute("create table if not exists thumbnail (key text, side integer,"
                         " data blob, primary key (key, side)) without rowid")  # fmt: skip
            self._here.base = base
        return self._here.base  # type: ignore[no-any-return]

    def _read(self, keys: Sequence[str], side: int) -> dict[str, bytes]:
        holes = ",".join("?" * len(keys))
        # nothing but question marks is put into the text
        asked = f"select key, data from thumbnail where side = ? and key in ({holes})"  # nosec B608
        return dict(self._base().execute(asked, [side, *keys]).fetchall())

    def _write(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        base, rows = self._base(), list(rows)
        base.execute("begin immediate")
        base.executemany("insert or replace into thumbnail values (?, ?, ?)", rows)
        base.execute("commit")
        self._since += sum(len(data) for *_, data in rows)
        if self._since > self.limit // 16:
            self._since = 0
            if self.path.stat().st_size > self.limit:
                base.execute("delete from thumbnail")
                base.execute("vacuum")
