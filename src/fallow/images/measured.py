"""Size, format and hash of every picture, read from its bytes without decoding them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from fallow.images.collection import MEASURED, read_bytes
from fallow.images.decode import Unreadable, header, to_uint8
from fallow.images.stores import Arrays, FileProblem, Store

TYPES = (pa.string(), pa.string(), pa.int32(), pa.int32(), pa.string(), pa.int64(), pa.string())


def measured(store: Store, pairs: Sequence[tuple[str, str]]) -> tuple[pa.Table, list[FileProblem]]:
    """A row for each (name, id) that can be read, and what cannot."""

    def look_at(chunk: Sequence[tuple[str, str]]) -> list[tuple[Any, ...] | FileProblem]:
        return [_look(store, name, key) for name, key in chunk]

    chunks = [pairs[start : start + 32] for start in range(0, len(pairs), 32)]
    workers = 1 if store.sequential else min(8, (os.cpu_count() or 1) + 2)
    with ThreadPoolExecutor(workers, thread_name_prefix="fallow-measured") as pool:
        seen = [one for chunk in pool.map(look_at, chunks) for one in chunk]
    rows = [one for one in seen if not isinstance(one, FileProblem)]
    table = pa.table(
        {
            column: pa.array([row[at] for row in rows], kind)
            for at, (column, kind) in enumerate(zip(MEASURED, TYPES, strict=True))
        }
    )
    return table, [one for one in seen if isinstance(one, FileProblem)]


def _look(store: Store, name: str, key: str) -> tuple[Any, ...] | FileProblem:
    """The row of one picture."""
    try:
        if isinstance(store, Arrays):
            height, width = to_uint8(store.pixels[name]).shape[:2]
            kind, data = "ARRAY", store.read(name)
            data = f"{store.pixels[name].dtype} {store.pixels[name].shape} ".encode() + data
        else:
            data = read_bytes(store, name)
            seen = header(data)
            width, height, kind = seen.width, seen.height, seen.format
    except Unreadable as error:
        return FileProblem(name, str(error))
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return key, name, width, height, kind, len(data), digest
