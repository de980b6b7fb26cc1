"""Packs: pictures decoded once into one memory-mapped file, so the second epoch never decodes.

Layout, little-endian: a head of fixed size, a table of entries (row, offset, height, width,
checksum), the pixels one picture after the other, and a JSON tail that says what this is.
The head is written last, the file is renamed into place when whole, and a lock for each pack
lets a second process wait for the first instead of doing the same work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fallow.files import atomic_write, cache_dir, fingerprint, locked
from fallow.images.decode import reduced_size
from fallow.images.stores import FileProblem
from fallow.problems import Problem, SettingProblem, SourceProblem

MAGIC = b"FALLOWPK"
VERSION = 1  # raised when the layout or the decoder's results change
_HEAD = struct.Struct("<8sIIQQQQ16s")  # magic version side entries reserved pixels tail checksum
_ENTRY = np.dtype(
    [("row", "<i8"), ("offset", "<i8"), ("height", "<i4"), ("width", "<i4"), ("check", "<u4")]
)
_CHECKED = 32  # pictures compared with their checksum whenever a pack is opened


class Pack:
    """Decoded pictures in one mapped file: `pack[i]` is a view, H W 3 uint8, never a copy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                raise _Torn
            magic, version, self.side, entries, reserved, pixels, tail, check = _HEAD.unpack(head)
            start = _HEAD.size + reserved * _ENTRY.itemsize
            if magic != MAGIC or version != VERSION or entries > reserved:
                raise _Torn
            if size != start + pixels + tail:
                raise _Torn
            table = file.read(entries * _ENTRY.itemsize)
            file.seek(start + pixels)
            about = file.read(tail)
        if _checksum(table, about) != check:
            raise _Torn
        found = np.frombuffer(table, _ENTRY)
        self.rows = found["row"].astype(np.int64)
        self.offsets = found["offset"].astype(np.int64)
        self.heights = found["height"].astype(np.int32)
        self.widths = found["width"].astype(np.int32)
        self._checks = found["check"]
        self.about: dict[str, Any] = json.loads(about)
        self.name: str = self.about["name"]
        self.problems = [FileProblem(*problem) for problem in self.about["problems"]]
        self.pixels = np.memmap(path, np.uint8, "r", offset=start, shape=(pixels,))
        self._flat = self.pixels.view(np.ndarray)  # slices of a memmap cost ten times as much

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        height, width = int(self.heights[index]), int(self.widths[index])
        start = int(self.offsets[index])
        return self._flat[start : start + height * width * 3].reshape(height, width, 3)

    def __repr__(self) -> str:
        return f"Pack({self.name}: {len(self):,} images, short side up to {self.side})"

    def __reduce__(self) -> Any:
        return Pack, (self.path,)

    def damaged(self, entries: np.ndarray | None = None) -> list[int]:
        """Entries whose pixels no longer fit their checksum; all of them unless told which."""
        which = range(len(self)) if entries is None else entries.tolist()
        return [index for index in which if zlib.crc32(self[index].data) != self._checks[index]]


@dataclass(frozen=True)
class CachedPack:
    """One line of `fallow cache`."""

    name: str
    side: int
    images: int
    bytes: int
    path: Path
    last_used: datetime


class Pictures(Protocol):
    """What a pack is made of: rows that can be decoded, known by name and content."""

    name: str
    table: Any
    problems: Any

    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def map(self, function: Any, *, side: int, threads: int) -> Any: ...


class _Torn(Exception):
    """The file is not a whole pack of this version."""


def pack(images: Pictures, side: int = 256, *, threads: int | None = None) -> Pack:
    """The pack of these pictures at this side, from the cache or built now."""
    if side < 1:
        raise SettingProblem(f"a side of {side} pixels is not possible: use 1 or more")
    if len(images) == 0:
        raise SourceProblem(f"{images.name} has no images to pack: change the selection")
    key = fingerprint(f"{VERSION} {side} {images.fingerprint}".encode())
    folder = _folder()
    path = folder / f"{key}.pack"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{key}.lock"):
            if (found := _whole(path)) is None:
                _sweep(folder, key)
                _build(images, side, path, threads or max(2, os.cpu_count() or 1))
                found = Pack(path)
    except OSError as error:
        raise Problem(
            f"cannot write a pack of {images.name} to {folder} ({error.strerror or error}): "
            "free some space there, or point FALLOW_CACHE to another folder"
        ) from error
    for problem in found.problems:
        images.problems.add(problem)
    return found


def _folder() -> Path:
    return cache_dir() / "packs"


def _whole(path: Path) -> Pack | None:
    """The pack at `path` if it is there and sound, marked as used now."""
    try:
        found = Pack(path)
    except (FileNotFoundError, _Torn, ValueError, KeyError, TypeError):
        return None
    probes = np.unique(np.linspace(0, len(found) - 1, _CHECKED).astype(np.int64))
    if found.damaged(probes):
        return None
    with contextlib.suppress(PermissionError):  # a shared cache may be read-only for us
        os.utime(path)
    return found


def _build(images: Pictures, side: int, path: Path, threads: int) -> None:
    widths = images.table.column("width").to_numpy().tolist()
    heights = images.table.column("height").to_numpy().tolist()
    sizes = [reduced_size(*size, side) for size in zip(widths, heights, strict=True)]
    expected = 3 * sum(width * height for width, height in sizes)
    if expected > (free := shutil.disk_usage(path.parent).free):
        raise OSError(28, f"it takes {expected / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free")
    reserved = len(images)
    entries = np.zeros(reserved, _ENTRY)
    problems: list[tuple[str, str]] = []
    count = offset = 0
    with atomic_write(path) as file:
        file.seek(_HEAD.size + entries.nbytes)
        for row, pixels in images.map(np.ascontiguousarray, side=side, threads=threads):
            if isinstance(pixels, FileProblem):
                problems.append((pixels.path, pixels.reason))
                continue
            height, width = pixels.shape[:2]
            entries[count] = (row, offset, height, width, zlib.crc32(pixels.data))
            file.write(pixels.data)
            count, offset = count + 1, offset + pixels.nbytes
        if count == 0:
            raise SourceProblem(
                f"none of the {reserved:,} images in {images.name} can be decoded: "
                f"for example {problems[0][0]}, {problems[0][1]}"
            )
        about = json.dumps(
            {
                "name": images.name,
                "side": side,
                "images": images.fingerprint,
                "problems": problems,
            }
        ).encode()
        file.write(about)
        table = entries[:count].tobytes()
        check = _checksum(table, about)
        file.seek(0)
        file.write(
            _HEAD.pack(MAGIC, VERSION, side, count, reserved, offset, len(about), check) + table
        )


def _checksum(table: bytes, about: bytes) -> bytes:
    return hashlib.blake2b(table + about, digest_size=16).digest()


def _sweep(folder: Path, mine: str | None) -> None:
    """Remove what killed writers left: a half-written file whose lock nobody holds."""
    for temporary in folder.glob(".*.pack.*.tmp"):
        key = temporary.name[1:].split(".", 1)[0]
        if key == mine:
            temporary.unlink(missing_ok=True)
            continue
        with locked(folder / f"{key}.lock", wait=False) as idle:
            if idle:
                temporary.unlink(missing_ok=True)


def cached_packs() -> list[CachedPack]:
    """The packs in the cache, the last used first."""
    found = [_described(path) for path in _folder().glob("*.pack")]
    there = [one for one in found if one is not None]
    return sorted(there, key=lambda one: one.last_used, reverse=True)


def _described(path: Path) -> CachedPack | None:
    try:
        facts = path.stat()
        used = datetime.fromtimestamp(facts.st_mtime, timezone.utc)
        one = Pack(path)
    except FileNotFoundError:
        return None  # cleared by someone else a moment ago
    except (_Torn, ValueError, KeyError, TypeError):
        return CachedPack("(damaged)", 0, 0, facts.st_size, path, used)
    return CachedPack(one.name, one.side, len(one), facts.st_size, path, used)


def clear_packs() -> int:
    """Empty the cache of packs, leaving those being written; returns the bytes freed."""
    folder = _folder()
    if not folder.is_dir():
        return 0
    _sweep(folder, None)
    freed = 0
    for path in folder.glob("*.pack"):
        freed += path.stat().st_size
        path.unlink(missing_ok=True)
    for lock in folder.glob("*.lock"):
        with locked(lock, wait=False) as idle:
            if idle:
                lock.unlink(missing_ok=True)
    return freed
