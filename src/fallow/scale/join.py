"""Neighbours and copies among the vectors of a job, block by block: memory stays that of two parts.

Every part is a row of blocks: one worker compares it with all parts, one after the other, and
keeps the best of each list. What is found is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.inventory.duplicates import exact_groups
from fallow.inventory.nearest import Similar, most_similar_among
from fallow.inventory.store import rows_of, vectors_column
from fallow.problems import SettingProblem
from fallow.scale.parts import Parts
from fallow.scale.spread import spread


@dataclass(frozen=True)
class Join:
    """Which parts are compared, and where the lists go."""

    vectors: Parts
    numbers: list[int]
    starts: list[int]  # the number of each part's first row in the whole
    lists: Parts
    k: int


def neighbours(folder: Any, k: int = 10, *, workers: int | None = None) -> Parts:
    """The k rows most like each row of a job's vectors: parts beside them, `near-0000000.parquet`.

    Rows are numbered through all parts. Columns are `neighbours` (rows, -1 where there are too
    few) and `cosines`, falling. Begun again, it goes on after the last finished part.
    """
    if k < 1:
        raise SettingProblem(f"k={k} is not possible: ask for one neighbour or more")
    vectors, lists = Parts(folder), Parts(folder, "near")
    numbers = vectors.finished()
    if not numbers:
        raise SettingProblem(f"{folder} holds no parts: write them with embed --engine ray")
    sizes = [vectors.rows(number) for number in numbers]
    starts = list(accumulate(sizes, initial=0))[:-1]
    lists.begin({"what": "neighbours", "k": k, "sizes": sizes})
    join = Join(vectors, numbers, starts, lists, k)
    left = sorted(set(range(len(numbers))) - set(lists.finished()))
    for _ in spread(_one_row, join, left, workers=workers):
        pass
    return lists


def _one_row(join: Join, place: int) -> dict[str, Any]:
    queries = rows_of(join.vectors.read(join.numbers[place], ["embedding"]).column("embedding"))
    found = most_similar_among(queries, join.starts[place], _blocks(join), join.k)
    join.lists.write(place, table_of(found))
    return {"part": place}


def _blocks(join: Join) -> Iterator[tuple[int, np.ndarray]]:
    for number, start in zip(join.numbers, join.starts, strict=True):
        yield start, rows_of(join.vectors.read(number, ["embedding"]).column("embedding"))


def table_of(found: Similar) -> pa.Table:
    """Lists of neighbours as columns."""
    rows = pa.array(found.rows.ravel())
    width = found.rows.shape[1]
    return pa.table(
        {
            "neighbours": pa.FixedSizeListArray.from_arrays(rows, width),
            "cosines": vectors_column(found.cosines),
        }
    )


def copies(folder: Any) -> Iterator[list[str]]:
    """Ids of the pictures that share their content, group by group; a sixteenth is held at once.

    >>> import tempfile
    >>> parts = Parts(tempfile.mkdtemp())
    >>> parts.write(0, pa.table({"id": ["a", "b"], "hash": ["0f", "1e"]}))
    >>> parts.write(1, pa.table({"id": ["c"], "hash": ["0f"]}))
    >>> list(copies(parts.folder.path))
    [['a', 'c']]
    """
    parts = Parts(folder)
    for first in "0123456789abcdef":
        some = [
            table.filter(pc.starts_with(table.column("hash"), first))
            for table in parts.each(["id", "hash"])
            if table.num_rows
        ]
        if some:
            held = pa.concat_tables(some)
            ids = held.column("id").to_pylist()
            for rows in exact_groups(held.column("hash").to_pylist()):
                yield [ids[row] for row in rows]


def alike(lists: Parts, cosine: float) -> list[list[int]]:
    """Groups of rows that neighbours of at least this cosine tie together.

    Four bytes a row are held. Lists are as long as `k`: of more than k equal pictures each still
    reaches k others, so that the group is found.
    """
    counts = [lists.rows(number) for number in lists.finished()]
    parent = np.arange(sum(counts), dtype=np.int32)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    start = 0
    for table in lists.each():
        near = table.column("neighbours").combine_chunks()
        width = near.type.list_size
        found = near.flatten().to_numpy().reshape(-1, width)
        close = rows_of(table.column("cosines")) >= cosine
        for row, other in zip(*np.nonzero(close), strict=True):
            first, second = root(start + int(row)), root(int(found[row, other]))
            parent[max(first, second)] = min(first, second)
        start += table.num_rows
    roots = np.array([root(row) for row in range(len(parent))])
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    return [group.tolist() for group in np.split(order, cuts) if len(group) > 1]
