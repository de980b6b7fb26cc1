"""`Images`: an immutable table of pictures and what is known about them, with lazy pixels."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.images import tables
from fallow.images.decode import (
    Unreadable,
    decode,
    decode_mask,
    decode_opacity,
    reduce_array,
    shown,
    tags,
    to_uint8,
)
from fallow.images.stores import Arrays, FileProblem, Store
from fallow.images.where import where as _where
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    from fallow.images.pack import Pack

Result = TypeVar("Result")

MEASURED = ("id", "path", "width", "height", "format", "bytes", "hash")


class Problems(list[FileProblem]):
    """Files left out so far, each named once; selections of one source share the list."""

    def __init__(self, found: Sequence[FileProblem] = ()) -> None:
        super().__init__(dict.fromkeys(found))
        self._known = set(self)
        self._lock = threading.Lock()

    def add(self, problem: FileProblem) -> None:
        with self._lock:
            if problem not in self._known:
                self._known.add(problem)
                self.append(problem)

    def __reduce__(self) -> Any:
        return Problems, (list(self),)


class Images:
    """What `fallow.open` returns: `len`, `images[i]`, `.table`, `.problems`, selections.

    >>> import fallow.images
    >>> images = fallow.images.open([np.zeros((4, 6, 3), np.uint8)] * 3, labels=["a", "b", None])
    >>> len(images), images[0].shape, images.where("label is null").column("id").tolist()
    (3, (4, 6, 3), ['000002'])
    """

    def __init__(
        self,
        table: pa.Table,
        store: Store,
        *,
        name: str,
        problems: Problems | None = None,
        notes: list[str] | None = None,
        source: str = "",
    ) -> None:
        self.table = table
        self.store = store
        self.name = name
        self.problems = Problems() if problems is None else problems
        self.notes = [] if notes is None else notes
        self.source = source  # the address it was opened at, if it has one

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        problems = f", {len(self.problems):,} problems" if self.problems else ""
        return f"Images({self.name}: {len(self):,} images{problems})"

    def __getitem__(self, index: int) -> np.ndarray:
        return self.read(index)

    @property
    def columns(self) -> list[str]:
        return list(self.table.column_names)

    @cached_property
    def _paths(self) -> list[str]:
        return self.table.column("path").to_pylist()

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal files in equal order, whatever their labels."""
        digest = hashlib.blake2b(digest_size=16)
        for column in ("id", "hash"):
            digest.update("\n".join(self.table.column(column).to_pylist()).encode())
            digest.update(b"\0")
        return digest.hexdigest()

    def column(self, name: str) -> np.ndarray:
        """One column as an array; missing text is None and missing numbers are NaN."""
        self._known(name)
        return self.table.column(name).to_numpy(zero_copy_only=False)

    def _known(self, name: str) -> None:
        if name not in self.table.column_names:
            raise SettingProblem(f"there is no column {name}: {did_you_mean(name, self.columns)}")

    @property
    def labels(self) -> tuple[np.ndarray, list[str]]:
        """Column `label` as codes, -1 where missing, and the names they stand for."""
        if "label" not in self.table.column_names:
            return np.full(len(self), -1, np.int64), []
        values = self.table.column("label")
        present = pc.unique(values.drop_null())
        known = sorted(present.to_pylist())
        codes = pc.index_in(values, pa.array(known, present.type)).fill_null(-1)
        return codes.to_numpy().astype(np.int64), [str(value) for value in known]

    def labels_in(self, names: Sequence[str]) -> np.ndarray:
        """Labels as places in `names`, -1 where missing or not among them.

        Two collections number their own names; what was learnt from one is asked in its numbers.

        >>> from fallow.images.samples import digits
        >>> digits().where("label = '8' or label = '9'").labels_in(["9", "7"])[:4]
        array([-1,  0, -1,  0])
        """
        codes, own = self.labels
        place = {name: number for number, name in enumerate(names)}
        return np.array([place.get(name, -1) for name in own] + [-1], np.int64)[codes]

    def address(self, index: int) -> str:
        """Where image `index` lies: a path, a URL, or `archive.zip::name`."""
        return self.store.address(self._paths[index])

    # pixels

    def read(self, index: int, side: int | None = None) -> np.ndarray:
        """Upright RGB pixels, uint8, the short side reduced to `side` if larger.  H W 3"""
        _check_side(side)
        return self._made(index, lambda row, data: self._decode(row, data, side))

    def shown(self, index: int, side: int | None, within: int) -> np.ndarray | bytes:
        """What `read` gives, or the file where it is a small JPEG: see `decode.shown`."""
        _check_side(side)

        def make(row: int, data: bytes) -> np.ndarray | bytes:
            return shown(data, side, within) if data else self._decode(row, data, side)

        return self._made(index, make)

    def _made(self, index: int, make: Callable[[int, bytes], Result]) -> Result:
        """What is made of a file; one that cannot be read is noted, and said."""
        index = self._row(index)
        try:
            return make(index, self._fetch(index))
        except Unreadable as error:
            path = self._paths[index]
            self.problems.add(FileProblem(path, str(error)))
            raise SourceProblem(f"{path} cannot be used: {error}") from error

    def tags(self, index: int) -> tuple[bytes, bytes]:
        """ICC profile and EXIF of the file, as an upright copy should carry them; b"" for none."""
        if isinstance(self.store, Arrays):
            return b"", b""
        return tags(self._fetch(self._row(index)))

    def opacity(self, index: int) -> np.ndarray | None:
        """How opaque the picture is, 0 to 255, if it says so.  H W"""
        index = self._row(index)
        path = self._paths[index]
        if isinstance(self.store, Arrays):
            pixels = self.store.pixels[path]
            return pixels[..., -1] if pixels.ndim == 3 and pixels.shape[2] in (2, 4) else None
        try:
            return decode_opacity(read_bytes(self.store, path))
        except Unreadable as error:
            self.problems.add(FileProblem(path, str(error)))
            raise SourceProblem(f"{path} cannot be used: {error}") from error

    def _row(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return int(index) % len(self)

    def _fetch(self, index: int) -> bytes:
        if isinstance(self.store, Arrays):
            return b""
        return read_bytes(self.store, self._paths[index])

    def _decode(self, index: int, data: bytes, side: int | None) -> np.ndarray:
        if isinstance(self.store, Arrays):
            return np.array(reduce_array(to_uint8(self.store.pixels[self._paths[index]]), side))
        return decode(data, side)

    def map(
        self,
        function: Callable[[np.ndarray], Result],
        side: int | None = None,
        threads: int = 2,
    ) -> Iterator[tuple[int, Result | FileProblem]]:
        """(row, function(pixels)) in order, decoded in threads, a few images ahead.

        A picture that cannot be decoded yields its FileProblem, which also joins `problems`.
        """
        _check_side(side)
        ordered = self.store.sequential

        def work(index: int, data: bytes | Unreadable | None) -> Result | FileProblem:
            try:
                if isinstance(data, Unreadable):
                    raise data
                pixels = self._decode(index, self._fetch(index) if data is None else data, side)
            except Unreadable as error:
                problem = FileProblem(self._paths[index], str(error))
                self.problems.add(problem)
                return problem
            return function(pixels)

        def fetched(index: int) -> bytes | Unreadable | None:
            if not ordered:
                return None
            try:
                return self._fetch(index)
            except Unreadable as error:
                return error

        waiting: deque[tuple[int, Future[Result | FileProblem]]] = deque()
        pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="fallow-decode")
        try:
            for index in range(len(self)):
                waiting.append((index, pool.submit(work, index, fetched(index))))
                if len(waiting) > 4 * max(1, threads):
                    row, future = waiting.popleft()
                    yield row, future.result()
            while waiting:
                row, future = waiting.popleft()
                yield row, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def mask(self, index: int) -> np.ndarray:
        """The picture's mask as stored: integers.  H W"""
        self._known("mask")
        index = self._row(index)
        name = self.table.column("mask")[index].as_py()
        path = self._paths[index]
        if name is None:
            raise SourceProblem(f'{path} has no mask: select with where("mask is not null") first')
        try:
            if isinstance(self.store, Arrays):
                return self.store.pixels[name]
            return decode_mask(read_bytes(self.store, name))
        except Unreadable as error:
            self.problems.add(FileProblem(name, str(error)))
            raise SourceProblem(f"the mask {name} cannot be used: {error}") from error

    # selections

    def select(self, rows: Sequence[int] | np.ndarray | slice) -> Images:
        """The pictures in these rows, in this order; a boolean array selects where it is true."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise SettingProblem(
                    f"a selection of {chosen.size} does not fit {len(self)} images"
                )
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64).reshape(-1)
        if chosen.size and not (-len(self) <= chosen.min() and chosen.max() < len(self)):
            raise SettingProblem(f"rows must lie between 0 and {len(self) - 1}")
        chosen = np.where(chosen < 0, chosen + len(self), chosen)
        return self._with(self.table.take(pa.array(chosen)))

    def _with(self, table: pa.Table, notes: Sequence[str] = ()) -> Images:
        return Images(
            table,
            self.store,
            name=self.name,
            problems=self.problems,
            notes=[*self.notes, *notes],
            source=self.source,
        )

    def where(self, predicate: str) -> Images:
        """The pictures a predicate like `label is null and split = 'train'` holds for."""
        return self.select(_where(self.table, predicate))

    def sample(self, n: int, seed: int = 0) -> Images:
        """At most `n` pictures drawn by `seed`, in their old order; larger samples hold smaller."""
        if n < 0:
            raise SettingProblem(f"cannot draw {n} images: use a number from 0 up")
        drawn = np.random.default_rng(seed).permutation(len(self))[:n]
        return self.select(np.sort(drawn))

    def split(
        self, fraction: float = 0.8, seed: int = 0, by: str | None = None
    ) -> tuple[Images, Images]:
        """Two parts drawn by `seed`; pictures that share a value of column `by` stay together."""
        if not 0 <= fraction <= 1:
            raise SettingProblem(
                f"a split of {fraction} is not possible: use a fraction from 0 to 1"
            )
        random = np.random.default_rng(seed)
        if by is None:
            first = np.zeros(len(self), bool)
            first[random.permutation(len(self))[: round(fraction * len(self))]] = True
        else:
            self._known(by)
            values = self.table.column(by).combine_chunks()
            groups = values.dictionary_encode().indices.fill_null(-1).to_numpy().copy()
            alone = groups < 0  # a missing value ties a picture to nothing
            groups[alone] = len(self) + np.arange(alone.sum())
            first = _whole_groups(groups, fraction * len(self), random)
        return self.select(first), self.select(~first)

    @property
    def labelled(self) -> Images:
        if "label" not in self.table.column_names:
            return self.select(np.zeros(len(self), bool))
        return self.where("label is not null")

    @property
    def unlabelled(self) -> Images:
        return self if "label" not in self.table.column_names else self.where("label is null")

    def join(self, labels: Any, on: str = "path") -> Images:
        """The same pictures with the columns of a label file or table, matched by `on`."""
        if isinstance(labels, (str, os.PathLike)):
            from fallow.images.places import place

            where = place(labels)
            if not where.exists() and os.fspath(labels) in self.store.names:
                data, name = read_bytes(self.store, os.fspath(labels)), os.fspath(labels)
            else:
                if not where.is_file():
                    raise SourceProblem(f"there is no label file {labels}: check the name")
                data, name = where.read(), where.name
            table = tables.read_table(data, name)
        else:
            table, name = tables.as_table(labels), "the label table"
        key = "path" if on == "path" else on
        self._known(key)
        ids = [str(value) for value in self.table.column(key).to_pylist()]
        found, notes = tables.join(ids, table, on=on, name=name)
        joined, clashes = with_columns(self.table, found)
        return self._with(joined, [*notes, *clashes])

    def pack(self, side: int = 256, threads: int | None = None) -> Pack:
        """All pictures decoded once into one memory-mapped file, kept in the cache."""
        from fallow.images.pack import pack

        return pack(self, side, threads=threads)


def read_bytes(store: Store, name: str) -> bytes:
    """One file's bytes; whatever goes wrong on the way is a reason, not a crash."""
    try:
        return store.read(name)
    except Unreadable:
        raise
    except FileNotFoundError as error:
        raise Unreadable("the file is missing") from error
    except KeyError as error:
        raise Unreadable("there is no such file") from error
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a remote file system raises what it likes
        raise Unreadable(f"cannot be read: {error}") from error


def with_columns(table: pa.Table, found: pa.Table) -> tuple[pa.Table, list[str]]:
    """The table with the new columns; what fallow measured itself is never overwritten."""
    notes = []
    for name in found.column_names:
        values, target = found.column(name), name
        if name in MEASURED:
            measured = table.column(name)
            if pa.types.is_integer(measured.type) and pa.types.is_integer(values.type):
                same = pc.all(pc.equal(measured, values).fill_null(True)).as_py()
            else:
                same = measured.to_pylist() == values.to_pylist()
            if same:
                continue
            target = f"{name}_given"
            notes.append(f"the label column {name} is kept as {target}, as {name} is measured")
        if target in table.column_names:
            table = table.set_column(table.column_names.index(target), target, values)
        else:
            table = table.append_column(target, values)
    return table, notes


def _whole_groups(groups: np.ndarray, wanted: float, random: np.random.Generator) -> np.ndarray:
    """Which rows go first when groups may not be torn: as near to `wanted` as random order gets."""
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    taken = np.zeros(len(names), bool)
    count = 0
    for group in random.permutation(len(names)):
        if abs(count + sizes[group] - wanted) < abs(count - wanted):
            taken[group] = True
            count += int(sizes[group])
    return taken[inverse]


def _check_side(side: int | None) -> None:
    if side is not None and side < 1:
        raise SettingProblem(f"a side of {side} pixels is not possible: use 1 or more")
