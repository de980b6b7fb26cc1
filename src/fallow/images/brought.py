"""Labels, masks and splits that a source brings along, in files and in names of folders."""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

import pyarrow as pa

from fallow.images import tables
from fallow.images.collection import read_bytes
from fallow.images.decode import Unreadable
from fallow.images.listing import Listing
from fallow.images.places import local
from fallow.images.stores import Store
from fallow.problems import SettingProblem, SourceProblem

SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "unlabelled")
OWN_LABELS = ("labels.csv", "metadata.csv", "metadata.jsonl", "metadata.parquet")


def own_labels(listing: Listing) -> pa.Table | None:
    """labels.csv or metadata.* of the source itself: at its top, or in each sub-folder."""
    found = [
        (name.count("/"), OWN_LABELS.index(posixpath.basename(name).lower()), name)
        for name in listing.store.names
        if posixpath.basename(name).lower() in OWN_LABELS
    ]
    if not found:
        return None
    best = min(found)[:2]  # the shallowest, and of these the first kind
    parts = [_own(listing.store, name) for *which, name in sorted(found) if tuple(which) == best]
    return parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="permissive")


def _own(store: Store, name: str) -> pa.Table:
    """One such file: what it names lies beside it, in a split if its folder is called so."""
    try:
        data = read_bytes(store, name)
    except Unreadable as error:
        raise SourceProblem(
            f"{name} cannot be used: {error} (labels=False opens without it)"
        ) from error
    table = tables.read_table(data, name)
    try:
        key = tables.path_column(table, name)
    except SourceProblem as error:
        raise SourceProblem(f"{error} (labels=False opens without it)") from error
    base = posixpath.dirname(name)
    paths = [
        posixpath.join(base, str(value)) if base and value is not None else value
        for value in table.column(key).to_pylist()
    ]
    table = table.set_column(table.column_names.index(key), "path", pa.array(paths, pa.string()))
    split = base.rsplit("/", 1)[-1].lower()
    if split in SPLITS and "split" not in table.column_names:
        table = table.append_column("split", pa.array([split] * table.num_rows))
    for column in ("mask", "mask_file_name"):
        if base and column in table.column_names:
            values = table.column(column).to_pylist()
            joined = [value and posixpath.join(base, str(value)) for value in values]
            at = table.column_names.index(column)
            table = table.set_column(at, column, pa.array(joined, pa.string()))
    return table


def masks_below(listing: Listing, folder: Any) -> tuple[set[str], dict[str, str]]:
    """All files of a folder of masks, and which of them is called like each picture, by its id."""
    if not isinstance(folder, (str, os.PathLike)):
        raise SettingProblem("mask must be the name of a folder in the source")
    prefix = os.fspath(folder).strip("/") + "/"
    stems = {
        posixpath.splitext(name[len(prefix) :])[0]: name
        for name in listing.names
        if name.startswith(prefix)
    }
    if not stems:
        raise SourceProblem(f"there is no folder {folder} with masks in this source")
    found = {}
    for key in listing.ids:
        parts = posixpath.splitext(key)[0].split("/")
        tails = ("/".join(parts[start:]) for start in range(len(parts)))
        if not key.startswith(prefix) and (hit := next((t for t in tails if t in stems), None)):
            found[key] = stems[hit]
    return set(stems.values()), found


def masks_named(own: pa.Table | None, labels: Any) -> set[str]:
    """The files that a column `mask` names: of the given labels, or of the source's own."""
    table = own
    if isinstance(labels, (pa.Table, dict)):
        table = tables.as_table(labels)
    elif isinstance(labels, (str, os.PathLike)):
        where = local(labels)
        if where is not None and where.is_file():
            table = tables.read_table(where.read_bytes(), where.name)
    if table is None or "mask" not in table.column_names:
        return set()
    return {str(value) for value in table.column("mask").to_pylist() if value is not None}


def folder_columns(table: pa.Table) -> pa.Table:
    """`split` and `label` from folder names, where they say anything."""
    parents = [posixpath.dirname(key).split("/") for key in table.column("id").to_pylist()]
    splits = [
        next((part.lower() for part in parts if part.lower() in SPLITS), None) for parts in parents
    ]
    if len(set(splits) - {None}) > 1:
        table = table.append_column("split", pa.array(splits, pa.string()))
    labels = [
        parts[-1] if parts[-1] and parts[-1].lower() not in SPLITS else None for parts in parents
    ]
    if len(set(labels) - {None}) > 1:
        table = table.append_column("label", pa.array(labels, pa.string()))
    return table


def split_of(name: str) -> str | None:
    """The split that a file's folders or the first word of its name say.

    >>> split_of("data/train-00000-of-00001.parquet")
    'train'
    """
    first = re.split(r"[-_./]", posixpath.basename(name))[0].lower()
    folders = posixpath.dirname(name).lower().split("/")
    return next((part for part in (*folders, first) if part in SPLITS), None)
