"""The vectors of a job in one LanceDB table, with an index that says how much it misses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.files import owned
from fallow.inventory.nearest import most_similar_among
from fallow.inventory.store import rows_of
from fallow.problems import SourceProblem
from fallow.scale.parts import Parts

NAME = "vectors"
ENOUGH = 5000  # rows from which an index is worth its training


class Indexed(NamedTuple):
    """A table to search, and how well its index does on queries drawn from it."""

    table: Any
    recall: float  # share of the exact k nearest that a search finds
    seconds: np.ndarray  # of single searches


def indexed(
    folder: Any, out: str | Path, *, k: int = 10, queries: int = 200, seed: int = 0
) -> Indexed:
    """Gather the parts below `folder` into `out`/vectors.lance, a part in memory at a time.

    From 5,000 rows on, an index is trained; queries drawn from the vectors measure what it
    misses beside an exact search over all parts, so that nobody has to believe it.
    """
    from lancedb.index import IvfSq

    from fallow.inventory.lance import lancedb

    parts = Parts(folder)
    numbers = [number for number in parts.finished() if parts.rows(number)]
    if not numbers:
        raise SourceProblem(f"{folder} holds no parts: write them with embed --engine ray")
    schema = parts.read(numbers[0]).schema.remove_metadata()

    def batches() -> Iterator[pa.RecordBatch]:
        for number in numbers:
            yield from parts.read(number).cast(schema).to_batches()

    with owned(out):
        base = lancedb.connect(str(out))
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        table = base.create_table(NAME, reader, mode="overwrite")
        rows = table.count_rows()
        if rows >= ENOUGH:
            cells = max(2, round(rows**0.5 / 2))
            table.create_index(
                "embedding", config=IvfSq(distance_type="cosine", num_partitions=cells)
            )
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(queries, rows), replace=False))
    return _measured(table, parts, numbers, chosen, min(k, rows), rows)


def _measured(
    table: Any, parts: Parts, numbers: list[int], chosen: np.ndarray, k: int, rows: int
) -> Indexed:
    """Search for rows of the table, and compare with what an exact pass over all parts finds."""
    starts = np.concatenate([[0], np.cumsum([parts.rows(number) for number in numbers])])
    asked = np.concatenate(
        [
            rows_of(parts.read(number, ["embedding"]).column("embedding"))[
                chosen[(chosen >= starts[at]) & (chosen < starts[at + 1])] - starts[at]
            ]
            for at, number in enumerate(numbers)
        ]
    )
    blocks = (
        (int(starts[at]), rows_of(parts.read(number, ["embedding"]).column("embedding")))
        for at, number in enumerate(numbers)
    )
    exact = most_similar_among(asked, rows, blocks, k)  # the queries stand for no row
    # equal pictures may stand for one another: what counts is how near a hit is
    least = exact.cosines[:, -1] - 1e-5
    hits, seconds = 0, []
    for query, bound in zip(asked, least, strict=True):
        begun = time.perf_counter()
        found = (
            table.search(query, vector_column_name="embedding")
            .distance_type("cosine")
            .nprobes(20)
            .refine_factor(2)  # true distances for the last choice
            .select(["id"])
            .limit(k)
            .to_arrow()
        )
        seconds.append(time.perf_counter() - begun)
        distances = found.column("_distance").to_numpy()
        hits += int(((1 - distances) >= bound).sum())
    return Indexed(table, hits / exact.rows.size, np.array(seconds))
