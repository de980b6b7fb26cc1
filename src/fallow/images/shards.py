"""Tar shards as one listing, whose files are samples where they are grouped as WebDataset does."""

from __future__ import annotations

import glob
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fallow.images import tables
from fallow.images.collection import read_bytes
from fallow.images.decode import Unreadable
from fallow.images.listing import SUFFIXES, Listing, of_store
from fallow.images.places import Place
from fallow.images.stores import FileProblem, Shards, Store, Tar
from fallow.problems import SourceProblem

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def expanded(address: str) -> list[str] | None:
    """Addresses a pattern like shard-{000..003}.tar or shard-*.tar stands for, or None.

    >>> expanded("shard-{008..010}.tar")
    ['shard-008.tar', 'shard-009.tar', 'shard-010.tar']
    """
    found = re.search(r"\{([^{}]*)\}", address)
    if found and not os.path.exists(address):
        inside = found.group(1)
        span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
        if span:
            first, last = int(span.group(1)), int(span.group(2))
            if last - first >= 100_000:
                raise SourceProblem(f"{address} stands for more than 100,000 shards: narrow it")
            words = [f"{at:0{len(span.group(1))}d}" for at in range(first, last + 1)]
        else:
            words = inside.split(",")
        before, after = address[: found.start()], address[found.end() :]
        several = []
        for word in words:
            one = before + word + after
            several += expanded(one) or [one]
        return several
    if (
        "://" not in address
        and any(sign in address for sign in "*?")
        and not os.path.exists(address)
    ):
        several = sorted(glob.glob(address))
        if not several:
            raise SourceProblem(f"nothing matches {address}: check the pattern")
        return several
    return None


def of_shards(places: Sequence[Place]) -> Listing:
    for where in places:
        if not where.exists():
            raise SourceProblem(f"there is nothing at {where}: check the name")
        if not where.name.lower().endswith(TARS):
            raise SourceProblem(f"{where} is not a .tar: only shards can be given by a pattern")
    stores = [Tar(where) for where in places]
    names = Counter(store.archive.name for store in stores)
    if len(names) < len(stores):
        raise SourceProblem("two shards have the same file name: open them one by one")
    store: Store = stores[0] if len(stores) == 1 else Shards(stores)
    listing = of_store(store)
    return _web_data_set(listing) or listing


def _web_data_set(listing: Listing) -> Listing | None:
    """Samples grouped by base name: a picture, and its class, text or json beside it."""
    samples: dict[str, dict[str, str]] = {}
    for name in listing.store.names:
        folder, file = posixpath.split(name)
        stem, _, ending = file.partition(".")
        samples.setdefault(posixpath.join(folder, stem), {})[ending.lower()] = name
    sidecars = ("cls", "txt", "caption", "json")
    if not any(
        ending in sidecars and len(files) > 1 for files in samples.values() for ending in files
    ):
        return None
    names, ids, rows = [], [], []
    for key, files in samples.items():
        pictures = [ending for ending in files if "." + ending.rsplit(".", 1)[-1] in SUFFIXES]
        if not pictures:
            continue
        main = min(pictures, key=lambda ending: (ending.count("."), ending))
        row: dict[str, Any] = {}
        for ending, name in files.items():
            if ending in sidecars:
                try:
                    row.update(_sidecar(ending, read_bytes(listing.store, name)))
                except (Unreadable, ValueError) as error:
                    listing.problems.append(FileProblem(name, f"cannot be read: {error}"))
            elif ending in pictures and ending != main and re.match(r"(mask|seg)", ending):
                row.setdefault("mask", name)
        names.append(files[main])
        ids.append(key)
        rows.append(row)
    columns = sorted({column for row in rows for column in row})
    table = tables.typed(
        pa.table({column: _plain([row.get(column) for row in rows]) for column in columns})
        if columns
        else pa.table({"label": pa.nulls(len(rows), pa.string())})
    )
    shards = Counter(key.split("/", 1)[-1] for key in ids)
    if isinstance(listing.store, Shards) and max(shards.values(), default=0) == 1:
        ids = [key.split("/", 1)[-1] for key in ids]
    return Listing(listing.store, names, ids, table, listing.notes, listing.problems)


def _sidecar(ending: str, data: bytes) -> dict[str, Any]:
    text = data.decode("utf-8").strip()
    if ending == "cls":
        return {"label": text or None}
    if ending in ("txt", "caption"):
        return {"caption": text}
    content = json.loads(text)
    return content if isinstance(content, dict) else {"json": content}


def _plain(values: list[Any]) -> pa.Array:
    """One Arrow column of loose values: what does not fit together becomes text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or kinds in ({str}, {bool}):
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass  # integers beyond 64 bits: kept as text below
    return pa.array(
        [
            value if value is None or isinstance(value, str) else json.dumps(value)
            for value in values
        ],
        pa.string(),
    )
