"""Files fallow writes: whole or not at all, and where its cache lives."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from fallow.problems import Problem, SourceProblem

Value = TypeVar("Value")

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


LOCK = ".fallow.lock"  # in an output folder, while somebody writes there


def cache_dir() -> Path:
    """The folder for what can be made again: $FALLOW_CACHE, or the platform's cache folder."""
    return _platform_folder(
        "FALLOW_CACHE",
        windows=("LOCALAPPDATA", "~/AppData/Local"),
        mac="~/Library/Caches",
        other=("XDG_CACHE_HOME", "~/.cache"),
    )


def data_dir() -> Path:
    """The folder for what people made and nothing makes again: $FALLOW_DATA, or the platform's."""
    return _platform_folder(
        "FALLOW_DATA",
        windows=("APPDATA", "~/AppData/Roaming"),
        mac="~/Library/Application Support",
        other=("XDG_DATA_HOME", "~/.local/share"),
    )


def _platform_folder(
    chosen: str, *, windows: tuple[str, str], mac: str, other: tuple[str, str]
) -> Path:
    """The folder a variable names, else fallow's own where this platform keeps such things."""
    if named := os.environ.get(chosen):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        base = mac
    else:
        base = os.environ.get(*(windows if sys.platform == "win32" else other))
    return Path(base).expanduser() / "fallow"


def fingerprint(data: bytes) -> str:
    """A short name for some bytes: equal bytes, equal name.

    >>> fingerprint(b"fallow")
    '3012c1c30b982c9525290f23d4d0de46'
    """
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def inside(name: str) -> str:
    """An image's id as a path below a folder, wherever the image itself lies.

    >>> inside("../up/a.png"), inside("C:/x/b?.png")
    ('up/a.png', 'C_/x/b_.png')
    """
    parts = [re.sub(r'[<>:"|?*\\\x00-\x1f]', "_", part) for part in PurePosixPath(name).parts]
    return "/".join(part for part in parts if part not in ("/", "..", ".")) or "image"


def plain_yaml(text: str) -> Any:
    """What YAML says, but `on`, `off`, `yes` and `no` are words: settings and classes have them.

    >>> plain_yaml("compile: off"), plain_yaml("true")
    ({'compile': 'off'}, True)
    """
    import yaml

    truth = "tag:yaml.org,2002:bool"

    class Plain(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [rule for rule in rules if rule[0] != truth or first in "tTfF"]
            for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return yaml.load(text, Plain)  # nosec B506


def plain_xml(data: bytes, *, largest: int = 4 << 20, deepest: int = 64) -> Element:
    """The root of an XML text from a stranger; a ValueError says why it is refused.

    A document type is refused whole, and so nothing in the text can stand for more than itself.

    >>> plain_xml(b"<a><b>1</b></a>")[0].text
    '1'
    >>> plain_xml(b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>')
    Traceback (most recent call last):
    ...
    ValueError: it declares a document type, which may make a short text long
    """
    from xml.etree import ElementTree

    if len(data) > largest:
        raise ValueError(f"{len(data):,} bytes are more than the limit of {largest:,}")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if wide else "utf-8-sig")  # whatever else it says of itself
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it declares a document type, which may make a short text long")
    try:
        root = ElementTree.fromstring(text)  # nosec B314
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    level, depth = [root], 0
    while level := [child for node in level for child in node]:
        depth += 1
        if depth > deepest:
            raise ValueError(f"it is nested more than {deepest} deep")
    return root


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file object whose bytes appear under `path` only when the block ends well.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_write(target) as file:
    ...     written = file.write(b"all of it")
    >>> target.read_bytes()
    b'all of it'
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def write_json(path: Path, value: Any) -> None:
    """A JSON file, written whole or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=2, default=str) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; nothing where there is no such file (yet).

    >>> read_json(Path("nowhere.json"))
    {}
    """
    try:
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}


def part_of(state: Mapping[str, Value], name: str) -> dict[str, Value]:
    """What a state of several parts holds of one, as that part itself calls it.

    >>> part_of({"head.weight": 1, "header.bias": 2}, "head")
    {'weight': 1}
    """
    prefix = f"{name}."
    return {key.removeprefix(prefix): one for key, one in state.items() if key.startswith(prefix)}


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the system knows how to."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock the system drops when this process dies; yields whether it was had.

    >>> import tempfile
    >>> with locked(Path(tempfile.mkdtemp()) / "door.lock") as mine:
    ...     mine
    True
    """
    with open(path, "a+b") as file:
        had = _lock(file, wait)
        try:
            yield had
        finally:
            if had:
                _unlock(file)


_owned: set[str] = set()  # by this process: a verb may call another on the same folder


@contextlib.contextmanager
def owned(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes from writing into an output folder meanwhile; they get a Problem.

    The folder is made, and taken away again if nothing was put into it.

    >>> import tempfile
    >>> with owned(Path(tempfile.mkdtemp()) / "out"):
    ...     pass
    """
    path = Path(folder)
    if (name := os.path.realpath(path)) in _owned:
        yield
        return
    missing = [one for one in (path, *path.parents) if not one.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        door = _door(path / LOCK)
    except OSError as error:
        raise SourceProblem(
            f"cannot write to {path} ({error.strerror}): choose another folder with out="
        ) from error
    if door is None:
        raise Problem(
            f"another process is writing to {path}: wait for it, or choose another out folder"
        )
    with door:
        _owned.add(name)
        try:
            yield
        finally:
            _owned.discard(name)
            with contextlib.suppress(OSError):  # where something is in it, it stays
                (path / LOCK).unlink()
                for one in missing:
                    one.rmdir()


def _door(path: Path) -> BinaryIO | None:
    """The lock's file, held; None where another process holds it."""
    while True:
        file = open(path, "a+b")  # noqa: SIM115 (held for as long as it is open)
        if not _lock(file, wait=False):
            file.close()
            return None
        # who held it before may have taken the file away meanwhile: then the lock is of nothing
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO, wait: bool) -> bool:
        file.seek(0)
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return True
            except OSError:  # noqa: PERF203 (Windows gives up after ten tries; we do not)
                if not wait:
                    return False

    def _unlock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO, wait: bool) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
