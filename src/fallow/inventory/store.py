"""The LanceDB table a run leaves behind, and what the next run takes from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.inventory.statistics import MEASURES
from fallow.problems import Problem, SourceProblem

NAME = "images"
WITH_WEIGHTS = ("tiny", "lite", "lite1", "lite2")
FORMAT = 2  # rises when measures or statistics change their meaning: old rows are measured anew


@dataclass
class Measured:
    """What was read from pixels, one row per distinct content."""

    measures: np.ndarray  # N len(MEASURES) float32
    hashes: np.ndarray  # N uint64
    statistics: np.ndarray  # N S float32
    embedding: np.ndarray  # N D float32
    thumbnails: list[bytes]
    sketches: list[bytes]  # what copies are found by

    def take(self, rows: Sequence[int] | np.ndarray) -> Measured:
        chosen = np.asarray(rows, np.int64)
        return Measured(
            self.measures[chosen],
            self.hashes[chosen],
            self.statistics[chosen],
            self.embedding[chosen],
            [self.thumbnails[row] for row in chosen],
            [self.sketches[row] for row in chosen],
        )

    def append(self, other: Measured) -> Measured:
        return Measured(
            np.concatenate([self.measures, other.measures]),
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.statistics, other.statistics]),
            np.concatenate([self.embedding, other.embedding]),
            self.thumbnails + other.thumbnails,
            self.sketches + other.sketches,
        )


def encoder_key(encoder: Any) -> str:
    """A name that changes when the encoder would see differently: its name and its weights."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{encoder.name} {encoder.dimension} {FORMAT}".encode())
    if hasattr(encoder, "state_dict"):
        for name, value in encoder.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().float().numpy().tobytes())
    return f"{encoder.name}-{digest.hexdigest()}"


def vectors_column(values: np.ndarray) -> pa.Array:
    """Rows of a float32 array (N D) as an Arrow list column of fixed size."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def rows_of(column: pa.ChunkedArray) -> np.ndarray:
    """The float32 array (N D) behind such a column."""
    joined = column.combine_chunks()
    size = joined.type.list_size
    return joined.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)


def write(folder: Path, table: pa.Table, measured: Measured, vectors: np.ndarray, key: str) -> int:
    """Add a version to `folder`/images.lance; returns its number. Older ones stay readable."""
    from fallow.inventory.lance import lancedb

    columns = [_storable(column) for column in table.columns]
    beside = columns_of(measured) | {"vector": vectors_column(vectors)}
    needed = ["embedding", "statistics", "vector", "thumbnail", "sketch"]
    names = [*table.column_names, *needed]
    columns += [beside[name] for name in needed]
    whole = pa.table(columns, names=names).replace_schema_metadata({"fallow": key})
    base = lancedb.connect(str(folder))
    try:
        if exists(folder):
            opened = base.open_table(NAME)
            if opened.schema.equals(whole.schema, check_metadata=True):
                opened.add(whole, mode="overwrite")
                return int(opened.version)
        return int(base.create_table(NAME, whole, mode="overwrite").version)
    except (OSError, RuntimeError) as error:
        raise Problem(
            f"{folder / NAME}.lance cannot be written ({_first_line(error)}), and stays as it was: "
            "free some space, or choose another output folder"
        ) from error


def encoder_of(folder: Path) -> str | None:
    """The encoder an earlier run saw with, if its name alone brings it back."""
    name = made_with(folder)
    known = name is not None and (name in WITH_WEIGHTS or name.startswith("hf:"))
    return name if known else None


def made_with(folder: Path) -> str | None:
    """The name of the encoder an earlier run saw with, if there was one."""
    if not exists(folder):
        return None
    from fallow.inventory.lance import lancedb

    try:
        schema = lancedb.connect(str(folder)).open_table(NAME).schema
    except (OSError, RuntimeError, ValueError):
        return None  # `read` says what is wrong with it
    return (schema.metadata or {}).get(b"fallow", b"").decode().rpartition("-")[0] or None


def exists(folder: Path) -> bool:
    """Whether an earlier run left a table there."""
    return (folder / f"{NAME}.lance").is_dir()


def read(folder: Path, key: str) -> tuple[list[str], Measured] | None:
    """Content hashes and measurements of the last run, if it saw with the same encoder."""
    from fallow.inventory.lance import lancedb

    try:
        opened = lancedb.connect(str(folder)).open_table(NAME)
        if (opened.schema.metadata or {}).get(b"fallow", b"").decode() != key:
            return None
        needed = ["hash", *MEASURES, "looks", "statistics", "embedding", "thumbnail", "sketch"]
        table = opened.search().select(needed).limit(max(opened.count_rows(), 1)).to_arrow()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceProblem(
            f"{folder / NAME}.lance cannot be read ({_first_line(error)}): "
            "move it away, or choose another output folder"
        ) from error
    return table.column("hash").to_pylist(), measured_of(table)


def measured_of(table: pa.Table) -> Measured:
    """What columns of a table say was read from pixels."""
    return Measured(
        np.stack([table.column(name).to_numpy() for name in MEASURES], axis=1),
        table.column("looks").to_numpy(),
        rows_of(table.column("statistics")),
        rows_of(table.column("embedding")),
        table.column("thumbnail").to_pylist(),
        table.column("sketch").to_pylist(),
    )


def columns_of(measured: Measured) -> dict[str, pa.Array]:
    """The columns `measured_of` reads."""
    return {
        **{name: pa.array(measured.measures[:, place]) for place, name in enumerate(MEASURES)},
        "looks": pa.array(measured.hashes),
        "embedding": vectors_column(measured.embedding),
        "statistics": vectors_column(measured.statistics),
        "thumbnail": pa.array(measured.thumbnails, pa.binary()),
        "sketch": pa.array(measured.sketches, pa.binary()),
    }


def _storable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column nobody filled has no type; the table needs one."""
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def plain(findings: Mapping[str, Any]) -> str:
    """Findings as JSON text, thumbnails left out."""
    kept = {name: value for name, value in findings.items() if name != "thumbnails"}
    return json.dumps(kept, ensure_ascii=False, indent=None, separators=(",", ":"), allow_nan=False)
