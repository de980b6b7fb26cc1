"""Tables, facts and tensors as files, written whole or not at all; and what a run left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa

from fallow.files import atomic_write, inside, write_json
from fallow.problems import SourceProblem


def save_csv(path: str | Path, table: pa.Table, columns: Sequence[str] | None = None) -> Path:
    """A table as CSV; of the columns asked for, those that there are."""
    import pyarrow.csv as csv

    kept = [name for name in columns or table.column_names if name in table.column_names]
    with atomic_write(path) as target:
        csv.write_csv(table.select(kept), target)
    return Path(path)


def spelled(table: pa.Table) -> pa.Table:
    """The table with lists as text, which a CSV can hold.

    >>> spelled(pa.table({"a": [["x", "y"], None]})).to_pylist()
    [{'a': 'x; y'}, {'a': None}]
    """

    def text(cell: Any) -> str | None:
        return (
            None
            if cell is None
            else "; ".join(f"{one:.6g}" if isinstance(one, float) else str(one) for one in cell)
        )

    columns = [
        pa.array([text(cell) for cell in one.to_pylist()], pa.string())
        if pa.types.is_list(one.type)
        else one
        for one in table
    ]
    return pa.table(columns, names=table.column_names)


def rounded(table: pa.Table, digits: int = 4) -> pa.Table:
    """The table with fewer digits, for eyes.

    >>> rounded(pa.table({"share": [1 / 3], "name": ["a"]})).to_pylist()
    [{'share': 0.3333, 'name': 'a'}]
    """
    import pyarrow.compute as pc

    columns = [pc.round(one, digits) if pa.types.is_floating(one.type) else one for one in table]
    return pa.table(columns, names=table.column_names)


def save_parquet(path: str | Path, table: pa.Table) -> Path:
    """A table as Parquet."""
    import pyarrow.parquet as pq

    with atomic_write(path) as target:
        pq.write_table(table, target)
    return Path(path)


def save_json(path: str | Path, facts: Any, without: Sequence[str] = ()) -> Path:
    """Facts as JSON, but those that are for the report alone."""
    kept = {k: v for k, v in facts.items() if k not in without} if without else facts
    write_json(Path(path), kept)
    return Path(path)


def save_tensors(path: str | Path, tensors: Mapping[str, Any]) -> Path:
    """Tensors as safetensors, on no device in particular."""
    import torch
    from safetensors.torch import save

    held = {
        name: each.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, each in tensors.items()
    }
    with atomic_write(path) as target:
        target.write(save(held, metadata={"format": "pt"}))
    return Path(path)


def saved_run(
    folder: str | PathLike[str], facts: str, what: str, tensors: str = ""
) -> tuple[Any, Any]:
    """The facts and the tensors a verb saved; a Problem that says what is missing.

    >>> saved_run("nowhere", "run.json", "a run of spot")
    Traceback (most recent call last):
    ...
    fallow.problems.SourceProblem: nowhere is not a run of spot: it needs run.json
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    place = Path(folder)
    try:
        about = json.loads((place / facts).read_text())
        return about, load((place / tensors).read_bytes()) if tensors else {}
    except FileNotFoundError:
        needed = " and ".join(name for name in (facts, tensors) if name)
        raise SourceProblem(f"{place} is not {what}: it needs {needed}") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise SourceProblem(f"{what} in {place} cannot be used: {error}") from error


def without_ending(key: str) -> str:
    """An image's id without its ending, as a path below a folder.

    >>> without_ending("../a/b.c.jpg"), without_ending("a.d/b")
    ('a/b.c', 'a.d/b')
    """
    name = inside(key)
    stem, dot, _ = name.rpartition(".")
    return stem if dot and "/" not in name[len(stem) :] else name
