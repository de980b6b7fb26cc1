"""Manifests, Parquet and saved data sets as listings of pictures."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.images import tables
from fallow.images.decode import Unreadable
from fallow.images.listing import Listing
from fallow.images.places import Local, Place
from fallow.images.stores import (
    Cells,
    Folder,
    Listed,
    ParquetPiece,
)
from fallow.problems import SourceProblem


def read_manifest(where: Place, address: str) -> Listing:
    if where.name.lower().endswith(".parquet"):
        import pyarrow.parquet

        try:
            with where.open() as file:
                schema = pyarrow.parquet.ParquetFile(file).schema_arrow
        except Exception as error:  # Arrow on hostile bytes: anything may come out
            raise SourceProblem(f"{address} is not a readable Parquet file: {error}") from error
        if any(_holds_images(column) for column in schema):
            return of_parquet([(None, where)], address)
    table = tables.read_table(where.read(), where.name)
    key = tables.path_column(table, where.name)
    names = table.column(key).to_pylist()
    if any(not isinstance(name, str) or not name for name in names):
        raise SourceProblem(f"{where.name} has rows without a {key}: fill them or drop them")
    names = [name.replace("\\", "/").removeprefix("./") for name in names]
    ids = list(names)
    store = Listed(where.parent(), [name for name in names if not name.endswith("/")])
    if not names:
        raise SourceProblem(f"{address} names no images: it has a header and no rows")
    columns = table.drop_columns([key])
    return Listing(store, names, ids, columns)


def _holds_images(column: pa.Field) -> bool:
    kind = column.type
    if pa.types.is_struct(kind):
        return any(part.name == "bytes" and _is_binary(part.type) for part in kind)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def saved_data_set(where: Place, store: Folder, top: Sequence[str], address: str) -> Listing:
    """`save_to_disk` of a Hugging Face data set: Arrow streams below, split by split."""
    pieces = []
    features: dict[str, Any] = {}
    for name in store.names:
        if name.endswith(".arrow") and not posixpath.basename(name).startswith("cache-"):
            split = posixpath.dirname(name) or None
            pieces.append((split, where.child(name)))
        elif posixpath.basename(name) == "dataset_info.json":
            try:
                info = json.loads(store.read(name))
                features = info.get("features") or features
            except (ValueError, Unreadable, AttributeError) as error:
                raise SourceProblem(f"{name} of the data set cannot be read: {error}") from error
    if not pieces:
        raise SourceProblem(f"{address} looks like a saved data set but holds no .arrow files")
    return of_arrow(pieces, features, address)


def of_arrow(
    pieces: Sequence[tuple[str | None, Place]], features: dict[str, Any], address: str
) -> Listing:
    loaded = []
    for split, where in pieces:
        try:
            source = (
                pa.memory_map(where.path)
                if isinstance(where, Local)
                else pa.py_buffer(where.read())
            )
            try:
                table = pa.ipc.open_stream(source).read_all()
            except pa.ArrowInvalid:  # the other of the two forms Arrow files have
                table = pa.ipc.open_file(source).read_all()
            table.validate(full=True)  # damaged offsets would be followed out of the file
        except Exception as error:  # Arrow on hostile bytes: anything may come out
            raise SourceProblem(f"{where} is not a readable Arrow file: {error}") from error
        features = features or _features(table.schema)
        loaded.append((split or None, table, table))
    return _cells_or_problem(loaded, features, address)


def of_parquet(pieces: Sequence[tuple[str | None, Place]], address: str) -> Listing:
    import pyarrow.parquet

    loaded = []
    features: dict[str, Any] = {}
    for split, where in pieces:
        try:
            with where.open() as handle:
                file = pyarrow.parquet.ParquetFile(handle)
                schema = file.schema_arrow
                light: list[str] = []
                for column in schema:  # everything but the bytes of the pictures
                    if not _holds_images(column):
                        light.append(column.name)
                    elif pa.types.is_struct(column.type):
                        light += [
                            f"{column.name}.{part.name}"
                            for part in column.type
                            if part.name != "bytes"
                        ]
                table = file.read(columns=light)
                sizes = [
                    file.metadata.row_group(group).num_rows
                    for group in range(file.metadata.num_row_groups)
                ]
        except Exception as error:  # Arrow on hostile bytes: anything may come out
            raise SourceProblem(f"{where} is not a readable Parquet file: {error}") from error
        for column in schema:
            if column.name not in table.column_names:
                nothing = pa.nulls(sum(sizes), pa.struct([("bytes", pa.binary())]))
                table = table.append_column(column.name, nothing)
        table = table.select([column.name for column in schema])
        ends = np.cumsum(sizes)
        piece = ParquetPiece(where, ends - np.array(sizes, np.int64), ends)
        features = features or _features(schema)
        images = [column.name for column in schema if _holds_images(column)]
        loaded.append((split, table, piece, images))
    return _cells_or_problem(loaded, features, address)


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What a Hugging Face writer left in the schema about class names."""
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}  # written by something else: there are no class names to find


def _cells_or_problem(
    loaded: Sequence[tuple[Any, ...]], features: dict[str, Any], address: str
) -> Listing:
    try:
        return _cells(loaded, features, address)
    except SourceProblem:
        raise
    except Exception as error:  # Arrow on hostile bytes: anything may come out
        raise SourceProblem(f"{address} is damaged: {error}") from error


def _cells(loaded: Sequence[tuple[Any, ...]], features: dict[str, Any], address: str) -> Listing:
    places: dict[str, tuple[Any, str, int]] = {}
    names: list[str] = []
    ids: list[str] = []
    parts: list[pa.Table] = []
    several = len({split for split, *_ in loaded}) > 1
    offsets: Counter[str | None] = Counter()
    for split, table, piece, *given in loaded:
        columns = given[0] if given else [c.name for c in table.schema if _holds_images(c)]
        if not columns:
            raise SourceProblem(
                f"{address} has no column of images (columns: {', '.join(table.column_names)})"
            )
        main = next((c for c in columns if c in ("image", "img", "bytes")), columns[0])
        start = offsets[split]
        offsets[split] += table.num_rows
        keys = [
            f"{split}/{row:06d}" if several and split else f"{row:06d}"
            for row in range(start, start + table.num_rows)
        ]
        kept = table.drop_columns(columns)
        for row, key in enumerate(keys):
            places[key] = (piece, main, row)
        for column in columns:
            if column == main:
                continue
            cells = [f"{column}/{key}" for key in keys]
            for row, cell in enumerate(cells):
                places[cell] = (piece, column, row)
            target = "mask" if re.search(r"mask|seg|annotation", column) else column
            kept = kept.append_column(target, pa.array(cells))
        for column in kept.column_names:
            kept = _class_names(kept, column, features)
        if split and "split" not in kept.column_names:
            kept = kept.append_column("split", pa.array([split] * table.num_rows, pa.string()))
        names += keys
        ids += _written_names(table, main, keys)
        parts.append(kept)
    columns_table = (
        parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="permissive")
    )
    if len(set(ids)) < len(ids):
        ids = list(names)
    return Listing(Cells(address, places), names, ids, columns_table)


def _written_names(table: pa.Table, column: str, keys: list[str]) -> list[str]:
    """File names the writer kept beside the bytes, or the row numbers."""
    kind = table.schema.field(column).type
    if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
        return keys
    import pyarrow.compute as pc

    paths = pc.struct_field(table.column(column), "path").to_pylist()
    return paths if all(isinstance(path, str) and path for path in paths) else keys


def _class_names(table: pa.Table, column: str, features: dict[str, Any]) -> pa.Table:
    feature = features.get(column) if isinstance(features, dict) else None
    names = feature.get("names") if isinstance(feature, dict) else None
    values = table.column(column)
    if not isinstance(names, list) or not pa.types.is_integer(values.type):
        return table
    words = [
        str(names[code]) if code is not None and 0 <= code < len(names) else None
        for code in values.to_pylist()
    ]
    at = table.column_names.index(column)
    return table.set_column(at, column, pa.array(words, pa.string()))
