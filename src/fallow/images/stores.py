"""Where the bytes of named files come from: a folder, a zip, a tar, a table, arrays.

A store has `names` (images and everything else), `read(name)`, `problems` met while listing,
and `sequential`, which says that reading in order is much cheaper than reading at will.
Nothing is ever extracted: an entry of an archive is read where it lies.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np

from fallow.images.decode import BYTES_LIMIT, Unreadable
from fallow.images.places import Local, Place, is_hidden, safe_name
from fallow.problems import SourceProblem


@dataclass(frozen=True)
class FileProblem:
    """A file that was left out, and why."""

    path: str
    reason: str


class Store(Protocol):
    """What every source of files offers."""

    names: list[str]
    problems: list[FileProblem]
    sequential: bool

    def read(self, name: str) -> bytes: ...

    def address(self, name: str) -> str: ...


class Folder:
    """The files below a folder."""

    sequential = False

    def __init__(self, root: Place, names: Sequence[str] | None = None) -> None:
        self.root = root
        self.names: list[str] = []
        self.problems: list[FileProblem] = []
        for name in root.walk() if names is None else names:
            if name.endswith("/"):
                self.problems.append(FileProblem(name, "the folder may not be read"))
            elif not _is_text(name):
                shown = name.encode("utf-8", "backslashreplace").decode()
                self.problems.append(FileProblem(shown, "its name is not valid UTF-8: rename it"))
            else:
                self.names.append(name)

    def read(self, name: str) -> bytes:
        where = self.place(name)
        # a pipe or device would be waited for without end
        if not where.is_file():
            raise Unreadable("not a regular file" if where.exists() else "the file is missing")
        if where.size() > BYTES_LIMIT:
            raise Unreadable(f"is larger than the limit of {BYTES_LIMIT:,} bytes")
        return where.read()

    def place(self, name: str) -> Place:
        return self.root.child(name)

    def address(self, name: str) -> str:
        return str(self.place(name))


class Listed(Folder):
    """Files a manifest names, relative to it; a local manifest may name any local file."""

    def __init__(self, root: Place, names: Sequence[str]) -> None:
        super().__init__(root, names)

    def place(self, name: str) -> Place:
        if isinstance(self.root, Local):
            return self.root.child(name) if not name.startswith("/") else Local(name)
        if (reason := safe_name(name)) is not None:
            raise Unreadable(reason)
        return self.root.child(name)


@dataclass(frozen=True)
class _ZipEntry:
    start: int
    stored: int
    size: int
    method: int
    crc: int


class Zip:
    """The entries of a zip; each is read by its own range, so any number of threads may."""

    sequential = False

    def __init__(self, archive: Place) -> None:
        self.archive = archive
        self.problems: list[FileProblem] = []
        self.entries: dict[str, _ZipEntry] = {}
        try:
            with archive.open() as file, zipfile.ZipFile(file) as listing:
                for entry in listing.infolist():
                    self._add(entry)
        except Exception as error:  # a parser of hostile bytes: anything may come out
            raise SourceProblem(f"{archive.name} is not a readable zip archive: {error}") from error
        self.names = sorted(self.entries)

    def _add(self, entry: zipfile.ZipInfo) -> None:
        name = entry.filename.removeprefix("./")
        if entry.is_dir() or any(is_hidden(part) for part in name.split("/") if part != ".."):
            return
        reason = safe_name(name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            reason = "a link, and links in archives are not followed"
        elif entry.flag_bits & 1:
            reason = "encrypted"
        elif entry.compress_type not in _INFLATE:
            reason = "compressed in a way that is not supported"
        elif entry.file_size > BYTES_LIMIT:
            reason = f"is larger than the limit of {BYTES_LIMIT:,} bytes"
        elif not _is_text(name):
            reason, name = "its name is not valid text", repr(name)
        elif name in self.entries:
            reason = "the archive holds two files of this name: the last one is used"
        if reason is not None:
            self.problems.append(FileProblem(name, reason))
            if name not in self.entries:
                return
        self.entries[name] = _ZipEntry(
            entry.header_offset,
            entry.compress_size,
            entry.file_size,
            entry.compress_type,
            entry.CRC,
        )

    def read(self, name: str) -> bytes:
        entry = self.entries[name]
        if entry.stored > BYTES_LIMIT or entry.start < 0:
            raise Unreadable("damaged: the archive's list of files is wrong")
        # the local header repeats the name, in a length of its own
        slack = 32 + len(name.encode()) + 256
        head = self.archive.read_range(entry.start, slack + entry.stored)
        if len(head) < 30 or head[:4] != b"PK\3\4":
            raise Unreadable("damaged: the archive's list of files is wrong")
        before = 30 + sum(struct.unpack("<HH", head[26:30]))
        if before > slack:
            head = self.archive.read_range(entry.start, before + entry.stored)
        packed = head[before : before + entry.stored]
        try:
            data = _INFLATE[entry.method](packed, entry.size)
        except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
            raise Unreadable(f"damaged inside the archive: {error}") from error
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            raise Unreadable("damaged inside the archive: its checksum does not fit")
        return data

    def address(self, name: str) -> str:
        return f"{self.archive}::{name}"


def _deflated(packed: bytes, size: int) -> bytes:
    return zlib.decompressobj(-15).decompress(packed, size + 1)


_INFLATE = {
    zipfile.ZIP_STORED: lambda packed, size: packed,
    zipfile.ZIP_DEFLATED: _deflated,
    zipfile.ZIP_BZIP2: lambda packed, size: bz2.BZ2Decompressor().decompress(packed, size + 1),
}


class Tar:
    """The files of a tar; a compressed one keeps one reader, so it wants reading in order."""

    def __init__(self, archive: Place) -> None:
        self.archive = archive
        self.problems: list[FileProblem] = []
        self.entries: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._reader: BinaryIO | None = None
        self._opener: Any = None
        try:
            magic = archive.read_range(0, 6)
        except Exception as error:  # every file system raises what it likes
            raise SourceProblem(f"cannot read {archive}: {error}") from error
        for start, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7z", lzma.open)):
            if magic.startswith(start):
                self._opener = opener
        self.sequential = self._opener is not None
        try:
            with self._open() as file, tarfile.open(fileobj=file, mode="r:") as listing:
                for entry in listing:
                    self._add(entry)
        except Exception as error:  # a parser of hostile bytes: anything may come out
            if not self.entries:
                raise SourceProblem(
                    f"{archive.name} is not a readable tar archive: {error}"
                ) from error
            self.problems.append(
                FileProblem(archive.name, f"the archive is cut off or damaged: {error}")
            )
        self.names = sorted(self.entries)
        if self.sequential:  # in the order they lie, which is the order they are cheap in
            self.names.sort(key=lambda name: self.entries[name][0])

    def _open(self) -> BinaryIO:
        file = self.archive.open()
        return self._opener(file) if self._opener else file

    def _add(self, entry: tarfile.TarInfo) -> None:
        name = entry.name.removeprefix("./")
        if entry.isdir() or any(is_hidden(part) for part in name.split("/") if part != ".."):
            return
        reason = safe_name(name)
        if entry.issym() or entry.islnk():
            reason = "a link, and links in archives are not followed"
        elif not entry.isreg() or entry.issparse():
            reason = "not a regular file"
        elif entry.size > BYTES_LIMIT:
            reason = f"is larger than the limit of {BYTES_LIMIT:,} bytes"
        elif not _is_text(name):
            reason, name = "its name is not valid UTF-8", repr(name)
        if reason is not None:
            self.problems.append(FileProblem(name, reason))
        else:
            self.entries[name] = (entry.offset_data, entry.size)

    def read(self, name: str) -> bytes:
        start, size = self.entries[name]
        if not self.sequential:
            data = self.archive.read_range(start, size)
        else:
            with self._lock:
                if self._reader is None:
                    self._reader = self._open()
                try:
                    self._reader.seek(start)
                    data = self._reader.read(size)
                except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
                    self._reader = None
                    raise Unreadable(f"damaged inside the archive: {error}") from error
        if len(data) != size:
            raise Unreadable("truncated: the end of the archive is missing")
        return data

    def address(self, name: str) -> str:
        return f"{self.archive}::{name}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_reader": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class Shards:
    """Several archives as one; a name starts with its shard's."""

    def __init__(self, shards: Sequence[Tar]) -> None:
        self.shards = {shard.archive.name: shard for shard in shards}
        self.sequential = any(shard.sequential for shard in shards)
        self.names = [f"{key}/{name}" for key, shard in self.shards.items() for name in shard.names]
        self.problems = [
            FileProblem(f"{key}/{problem.path}", problem.reason)
            for key, shard in self.shards.items()
            for problem in shard.problems
        ]

    def read(self, name: str) -> bytes:
        key, inner = name.split("/", 1)
        return self.shards[key].read(inner)

    def address(self, name: str) -> str:
        key, inner = name.split("/", 1)
        return self.shards[key].address(inner)


class Cells:
    """Image files that lie in the binary cells of Arrow or Parquet tables.

    `places` maps a name to (piece, column, row); Arrow pieces are memory-mapped tables,
    Parquet pieces are read a row group at a time.
    """

    sequential = True
    kept_groups = 4

    def __init__(self, address: str, places: dict[str, tuple[Any, str, int]]) -> None:
        self.where = address
        self.places = places
        self.names = list(places)
        self.problems: list[FileProblem] = []
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[str, str, int], Any] = OrderedDict()

    def read(self, name: str) -> bytes:
        piece, column, row = self.places[name]
        try:
            cell = (
                self._from_parquet(piece, column, row)
                if isinstance(piece, ParquetPiece)
                else piece.column(column)[row].as_py()
            )
        except Exception as error:  # Arrow on a hostile file: anything may come out
            raise Unreadable(f"damaged: {error}") from error
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if data is None:
            raise Unreadable("the table holds no bytes for this image")
        return bytes(data)

    def _from_parquet(self, piece: ParquetPiece, column: str, row: int) -> Any:
        group = int(np.searchsorted(piece.ends, row, side="right"))
        key = (str(piece.file), column, group)
        with self._lock:
            if key not in self._groups:
                import pyarrow.parquet

                with piece.file.open() as file:
                    table = pyarrow.parquet.ParquetFile(file).read_row_group(group, [column])
                self._groups[key] = table.column(column)
                while len(self._groups) > self.kept_groups:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(key)
            values = self._groups[key]
        return values[row - int(piece.starts[group])].as_py()

    def address(self, name: str) -> str:
        return f"{self.where}::{name}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_groups": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


@dataclass(frozen=True)
class ParquetPiece:
    """One Parquet file and where its row groups begin and end."""

    file: Place
    starts: np.ndarray
    ends: np.ndarray


class Arrays:
    """Pictures that are in memory already."""

    sequential = False

    def __init__(self, pixels: dict[str, np.ndarray]) -> None:
        self.pixels = pixels
        self.names = list(pixels)
        self.problems: list[FileProblem] = []

    def read(self, name: str) -> bytes:
        return np.ascontiguousarray(self.pixels[name]).tobytes()

    def address(self, name: str) -> str:
        return name


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
