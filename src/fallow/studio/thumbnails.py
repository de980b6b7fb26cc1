"""Small pictures as JPEG, made when asked for or just before, kept by content in one file."""

from __future__ import annotations

import io
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

LIMIT = 4 << 30  # bytes kept; the oldest go first
AHEAD = 200_000  # pictures that are made small before anybody asks
PIECE = 8  # of them at once
IDLE = 2.0  # seconds without a request before those nobody spoke of are made
EXPECTED = 100  # pages that are likely to be asked for next; the oldest are forgotten
BUSY = 20  # seconds another process may hold the file

Make = Callable[[int], bytes]


def jpeg(pixels: np.ndarray, side: int, quality: int = 82) -> bytes:
    """A picture that fits into a square of that side, as JPEG, which costs a fifth of WebP.

    >>> jpeg(np.zeros((8, 4, 3), np.uint8), 4)[:3]
    b'\\xff\\xd8\\xff'
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


class Piece(NamedTuple):
    """Some thumbnails to make: `make(place)` gives that of a key."""

    keys: dict[str, int]  # key -> place
    side: int
    make: Make


class Shelf:
    """Thumbnails by content and side. Any number of threads and processes may share the file.

    Those that somebody waits for go before those that will probably be asked for next, and these
    before all others. What two ask for at once is made once.

    >>> import tempfile
    >>> shelf = Shelf(Path(tempfile.mkdtemp()))
    >>> shelf.many(["a"], 64, lambda place: b"small"), shelf.many(["a"], 64, lambda place: b"")
    ([b'small'], [b'small'])
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.limit = folder / "thumbnails.sqlite", limit
        self._here = threading.local()
        self._cores = os.cpu_count() or 1
        # decoding holds whole pictures: no more at once than there are cores
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="fallow-thumbnail")
        # one thread writes: several would wait for each other in steps of milliseconds
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="fallow-shelf")
        self._coming: dict[tuple[str, int], Future[bytes]] = {}  # until they are in the file
        self._turn = threading.Condition()
        self._asking = 0  # requests that wait for thumbnails
        self._asked = 0.0  # when somebody last asked
        self._expected: deque[Piece] = deque()  # what will be asked for next, the newest last
        self._others: Iterator[Piece] = iter(())
        self._started = False  # threads that make what nobody waits for
        self._since = 0  # bytes written
        try:
            self._base()
        except sqlite3.DatabaseError:  # all of it can be made again
            self.path.unlink()
            self._here = threading.local()
            self._base()

    def many(self, keys: Sequence[str], side: int, make: Make) -> list[bytes]:
        """Thumbnails by key, in order; `make(place)` gives those that are not there yet."""
        with self._turn:
            self._asking, self._asked = self._asking + 1, time.monotonic()
        try:
            found, coming, mine = self._sought(_places(keys), side)
            for piece in _pieces(mine, side, make):
                self._pool.submit(self._fill, piece)
            found |= {key: one.result() for key, one in coming.items()}
            return [found[key] for key in keys]
        finally:
            with self._turn:
                self._asking -= 1
                self._turn.notify_all()

    def expect(self, keys: Sequence[str], side: int, make: Make) -> None:
        """Make what will probably be asked for next, as soon as nobody waits."""
        with self._turn:
            self._expected.extend(reversed([*_pieces(_places(keys), side, make)]))
            while len(self._expected) > EXPECTED * PIECE:
                self._expected.popleft()
            self._turn.notify_all()
        self._start()

    def ahead(self, keys: Sequence[str], side: int, make: Make) -> None:
        """Make all the others while nobody asks for anything."""
        with self._turn:
            self._others = _pieces(_places(keys[:AHEAD]), side, make)
        self._start()

    # --- in the background ---

    def _start(self) -> None:
        with self._turn:
            started, self._started = self._started, True
        for _ in range(0 if started else self._cores):
            threading.Thread(target=self._keep, name="fallow-ahead", daemon=True).start()

    def _keep(self) -> None:
        while True:
            with self._turn:
                while (piece := self._next()) is None:
                    self._turn.wait(IDLE / 4)
            _, _, mine = self._sought(piece.keys, piece.side)
            self._fill(piece._replace(keys=mine))

    def _next(self) -> Piece | None:
        if self._asking:
            return None
        if self._expected:
            return self._expected.pop()
        return next(self._others, None) if time.monotonic() > self._asked + IDLE else None

    # --- one at a time ---

    def _sought(
        self, places: dict[str, int], side: int
    ) -> tuple[dict[str, bytes], dict[str, Future[bytes]], dict[str, int]]:
        """Those that are there, those that are on their way, and of these the caller's to make."""
        with self._turn:
            coming = {key: one for key in places if (one := self._coming.get((key, side)))}
        # what is no longer on its way by now is in the file
        found = self._read([key for key in places if key not in coming], side)
        mine = {}
        with self._turn:
            for key, place in places.items():
                if key in found or key in coming:
                    continue
                if (key, side) not in self._coming:
                    self._coming[key, side] = Future()
                    mine[key] = place
                coming[key] = self._coming[key, side]
        return found, coming, mine

    def _fill(self, piece: Piece) -> None:
        made = {}
        for key, place in piece.keys.items():
            there = self._coming[key, piece.side]
            try:
                made[key] = piece.make(place)
                if not made[key]:
                    self._arrived([key], piece.side)  # whoever asks next tries again
                there.set_result(made[key])
            except BaseException as error:  # whoever waits for it is told
                self._arrived([key], piece.side)
                there.set_exception(error)
        self._writer.submit(self._write, piece, made)

    def settle(self) -> None:
        """Wait until all that has been made is in the file."""
        with self._turn:
            self._turn.wait_for(lambda: not self._coming)

    def _arrived(self, keys: Iterable[str], side: int) -> None:
        with self._turn:
            for key in keys:
                self._coming.pop((key, side), None)
            self._turn.notify_all()

    def _base(self) -> sqlite3.Connection:
        if not hasattr(self._here, "base"):
            base = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)
            base.execute("pragma journal_mode = wal")
            base.execute("pragma synchronous = off")  # lost in a power cut is made again
            base.execute("drop table if exists thumbnail")  # of an earlier version, as WebP
            base.execute("create table if not exists small (key text, side integer, data blob,"
                         " primary key (key, side))")  # fmt: skip
            self._here.base = base
        return self._here.base  # type: ignore[no-any-return]

    def _read(self, keys: Sequence[str], side: int) -> dict[str, bytes]:
        holes = ",".join("?" * len(keys))
        # nothing but question marks is put into the text
        asked = f"select key, data from small where side = ? and key in ({holes})"  # nosec B608
        return dict(self._base().execute(asked, [side, *keys]).fetchall())

    def _write(self, piece: Piece, made: dict[str, bytes]) -> None:
        try:
            rows = [(key, piece.side, data) for key, data in made.items() if data]
            base = self._base()
            base.execute("begin immediate")
            base.executemany("insert or replace into small values (?, ?, ?)", rows)
            base.execute("commit")
            self._since += sum(len(data) for *_, data in rows)
            if self._since > self.limit // 16:
                self._since = 0
                if self.path.stat().st_size > self.limit:
                    base.execute("delete from small")
                    base.execute("vacuum")
        finally:  # a full disk costs the keeping, not the thumbnails
            self._arrived((key for key, data in made.items() if data), piece.side)


def _places(keys: Sequence[str]) -> dict[str, int]:
    return {key: place for place, key in enumerate(keys)}


def _pieces(places: dict[str, int], side: int, make: Make) -> Iterator[Piece]:
    items = list(places.items())
    for start in range(0, len(items), PIECE):
        yield Piece(dict(items[start : start + PIECE]), side, make)
