"""A file or folder, on this machine or behind an fsspec address, through the same few calls."""

from __future__ import annotations

import builtins
import io
import os
import posixpath
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pyarrow.fs import FileSelector, FileType

from fallow.files import atomic_write
from fallow.problems import SourceProblem


@dataclass(frozen=True)
class Local:
    """A path on this machine."""

    path: str

    @property
    def name(self) -> str:
        return os.path.basename(os.path.abspath(self.path)) or self.path

    def exists(self) -> bool:
        return os.path.exists(self.path)

    def is_folder(self) -> bool:
        return os.path.isdir(self.path)

    def child(self, name: str) -> Local:
        return Local(os.path.join(self.path, *name.split("/")))

    def parent(self) -> Local:
        return Local(os.path.dirname(os.path.abspath(self.path)))

    def read(self) -> bytes:
        with builtins.open(self.path, "rb") as file:
            return file.read()

    def read_range(self, start: int, size: int) -> bytes:
        with builtins.open(self.path, "rb") as file:
            file.seek(start)
            return file.read(size)

    def size(self) -> int:
        return os.path.getsize(self.path)

    def open(self) -> BinaryIO:
        return builtins.open(self.path, "rb")

    def walk(self) -> Iterator[str]:
        """Relative names of the files below, hidden ones left out; no folder is entered twice."""
        yield from self._walk("", {os.path.realpath(self.path)})

    def _walk(self, below: str, seen: set[str]) -> Iterator[str]:
        folder = os.path.join(self.path, below)
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if is_hidden(entry.name):
                continue
            if entry.is_dir():
                if entry.is_symlink():
                    real = os.path.realpath(entry.path)
                    if real in seen:
                        continue
                    seen.add(real)
                try:
                    yield from self._walk(name, seen)
                except PermissionError:
                    yield name + "/"  # reported as a problem by whoever lists
            else:
                yield name

    def is_file(self) -> bool:
        return os.path.isfile(self.path)

    def write(self, data: bytes) -> None:
        """The whole file or none of it, whatever happens on the way."""
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        with atomic_write(self.path) as file:
            file.write(data)

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Remote:
    """A path on a file system fsspec knows: gs, az, http, memory, …"""

    system: Any
    path: str

    @property
    def name(self) -> str:
        return posixpath.basename(self.path.rstrip("/")) or self.path

    def exists(self) -> bool:
        return bool(self.system.exists(self.path))

    def is_folder(self) -> bool:
        return bool(self.system.isdir(self.path))

    def child(self, name: str) -> Remote:
        return Remote(self.system, f"{self.path.rstrip('/')}/{name}")

    def parent(self) -> Remote:
        return Remote(self.system, posixpath.dirname(self.path.rstrip("/")))

    def read(self) -> bytes:
        return bytes(self.system.cat_file(self.path))

    def read_range(self, start: int, size: int) -> bytes:
        return bytes(self.system.cat_file(self.path, start=start, end=start + size))

    def size(self) -> int:
        return int(self.system.size(self.path))

    def open(self) -> BinaryIO:
        return self.system.open(self.path, "rb")

    def walk(self) -> Iterator[str]:
        root = self.path.rstrip("/") + "/"
        for full in sorted(self.system.find(self.path)):
            name = full[len(root) :] if full.startswith(root) else full
            if name and not any(is_hidden(part) for part in name.split("/")):
                yield name

    def is_file(self) -> bool:
        return bool(self.system.isfile(self.path))

    def write(self, data: bytes) -> None:
        """An object appears when all of it has arrived."""
        self.system.pipe_file(self.path, data)

    def __str__(self) -> str:
        return str(self.system.unstrip_protocol(self.path))


@dataclass(frozen=True)
class Bucket:
    """A path in an S3 store, through Arrow, which asks again where the store throttles or cuts."""

    system: Any  # pyarrow.fs.S3FileSystem
    path: str  # bucket/key

    @property
    def name(self) -> str:
        return posixpath.basename(self.path.rstrip("/")) or self.path

    def exists(self) -> bool:
        return self._kind() != FileType.NotFound

    def is_folder(self) -> bool:
        return self._kind() == FileType.Directory

    def is_file(self) -> bool:
        return self._kind() == FileType.File

    def _kind(self) -> FileType:
        return _again(lambda: self.system.get_file_info(self.path.rstrip("/"))).type

    def child(self, name: str) -> Bucket:
        return Bucket(self.system, f"{self.path.rstrip('/')}/{name}")

    def parent(self) -> Bucket:
        return Bucket(self.system, posixpath.dirname(self.path.rstrip("/")))

    def read(self) -> bytes:
        return self.read_range(0, self.size())

    def read_range(self, start: int, size: int) -> bytes:
        return _again(lambda: self._range(start, size))

    def _range(self, start: int, size: int) -> bytes:
        with self.system.open_input_file(self.path) as file:
            return bytes(file.read_at(size, start))

    def size(self) -> int:
        found = _again(lambda: self.system.get_file_info(self.path))
        if found.type == FileType.NotFound:
            raise FileNotFoundError(str(self))
        return int(found.size)

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Ranges(self), 1 << 20)  # type: ignore[return-value]

    def walk(self) -> Iterator[str]:
        root = self.path.rstrip("/")
        below = FileSelector(root, recursive=True)
        listed = _again(lambda: self.system.get_file_info(below))
        files = [one for one in listed if one.type == FileType.File]
        for full in sorted(one.path for one in files):
            name = full[len(root) + 1 :]
            if not any(is_hidden(part) for part in name.split("/")):
                yield name

    def write(self, data: bytes) -> None:
        """An object appears when all of it has arrived."""
        with self.system.open_output_stream(self.path) as file:
            file.write(data)

    def __str__(self) -> str:
        return f"s3://{self.path}"


class _Ranges(io.RawIOBase):
    """An object as a file, read range by range."""

    def __init__(self, where: Bucket) -> None:
        self.where, self.at, self.end = where, 0, where.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.end}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, into: Any) -> int:
        size = min(len(into), max(0, self.end - self.at))
        data = self.where.read_range(self.at, size) if size else b""
        into[: len(data)] = data
        self.at += len(data)
        return len(data)


Found = TypeVar("Found")
# nobody there, no answer in time, not allowed: Arrow has asked often enough
FINAL = ("ACCESS_DENIED", "curlCode: 6,", "curlCode: 7,", "curlCode: 28,")


def _again(ask: Callable[[], Found], tries: int = 8) -> Found:
    """What a store answers; Arrow asks again where it throttles, not where an answer breaks off."""
    for turn in range(tries - 1):
        try:
            return ask()
        except OSError as error:  # noqa: PERF203 (waits anyway)
            if isinstance(error, FileNotFoundError) or any(one in str(error) for one in FINAL):
                raise
            time.sleep(min(2.0, 0.02 * 2**turn))
    return ask()


@cache
def s3() -> Any:
    """The store that AWS_ENDPOINT_URL names, or Amazon's; keys come from where its tools look.

    >>> type(s3()).__name__
    'S3FileSystem'
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    scheme, _, host = endpoint.rstrip("/").rpartition("://")
    return S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or "https",
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=5),
        connect_timeout=10,
        request_timeout=60,
    )


Place = Local | Remote | Bucket


def place(address: str | os.PathLike[str]) -> Place:
    """The place an address names.

    >>> place("file:///pictures/cats").path
    '/pictures/cats'
    """
    text = os.fspath(address)
    if "://" not in text:
        return Local(os.path.expanduser(text))
    if text.startswith("file://"):
        return Local(text.removeprefix("file://").removeprefix("localhost"))
    if text.startswith("s3://"):
        return Bucket(s3(), text.removeprefix("s3://"))
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(text)
    except Exception as error:  # every file system raises what it likes: say it in our words
        raise SourceProblem(f"cannot reach {text}: {error}") from error
    return Remote(system, path)


def is_hidden(name: str) -> bool:
    """Files and folders a system keeps for itself.

    >>> is_hidden(".DS_Store"), is_hidden("__MACOSX"), is_hidden("cat.jpg")
    (True, True, False)
    """
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def safe_name(name: str) -> str | None:
    """Why a name inside an archive must not be used, or None when it may.

    >>> safe_name("../secret.png")
    'its name climbs out of the archive with ..'
    """
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or (len(parts[0]) == 2 and parts[0][1] == ":"):
        return "its name is absolute"
    if ".." in parts:
        return "its name climbs out of the archive with .."
    return None


def local(path: str | os.PathLike[str]) -> Path | None:
    """The path on this machine an address names, or None."""
    found = place(path)
    return Path(found.path) if isinstance(found, Local) else None
