"""What a saved run holds: its table, what it found, its vectors, and where its pictures are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.inventory import store
from fallow.problems import SourceProblem

HEAVY = ("embedding", "statistics", "thumbnail", "sketch")
TABLES = ("table.parquet", "pairs.parquet")
FACTS = ("settings.json", "run.json", "findings.json")
MARKS = (*TABLES, "run.json", "metrics.jsonl")  # what only a run leaves


@dataclass
class Run:
    """A run as it lies on the disk."""

    table: pa.Table | None  # None: of a run that was trained, which has its source's
    findings: dict[str, Any]
    vectors: np.ndarray | None
    source: str  # where its pictures were opened; empty where it did not say


def is_run(source: Any) -> bool:
    """Whether a source is the folder of a run.

    >>> is_run("nowhere")
    False
    """
    if not isinstance(source, str | Path):
        return False
    folder = Path(source)
    return store.exists(folder) or any((folder / name).is_file() for name in MARKS)


def read(folder: Path) -> Run:
    """A run of any verb; of explore with everything it found."""
    facts = [_facts(folder / name) for name in FACTS]
    source = next((found for one in facts if (found := _source(one))), "")
    if store.exists(folder):
        table, vectors = _explored(folder)
        return Run(table, facts[2], vectors, source)
    import pyarrow.parquet as pq

    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        return Run(None, facts[2], None, source)
    try:
        return Run(pq.read_table(path), facts[2], None, source)
    except (OSError, pa.ArrowException) as error:
        raise SourceProblem(f"{path} cannot be read ({error}): run the verb again") from error


def _source(facts: dict[str, Any]) -> str:
    """Where a run says that its pictures were opened."""
    about = facts.get("about")
    told = facts.get("address") or facts.get("source") or (about or {}).get("source")
    return told if isinstance(told, str) else ""


def _facts(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SourceProblem(f"{path} cannot be read ({error}): run the verb again") from error
    return found if isinstance(found, dict) else {}


def _explored(folder: Path) -> tuple[pa.Table, np.ndarray]:
    opened = _lance(folder)
    names = [name for name in opened.schema.names if name not in HEAVY]
    try:
        table = opened.search().select(names).limit(max(opened.count_rows(), 1)).to_arrow()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceProblem(f"{folder} cannot be read ({error}): run explore again") from error
    return table.drop_columns(["vector"]), store.rows_of(table.column("vector"))


def columns(folder: Path, names: list[str]) -> pa.Table:
    """Heavy columns of a run of explore, such as `embedding`."""
    opened = _lance(folder)
    return opened.search().select(names).limit(max(opened.count_rows(), 1)).to_arrow()


@lru_cache(maxsize=4)
def _lance(folder: Path) -> Any:
    from fallow.inventory.lance import lancedb

    try:
        return lancedb.connect(str(folder)).open_table(store.NAME)
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceProblem(f"{folder} cannot be read ({error}): run explore again") from error


def encoder_key(folder: Path) -> str:
    """Which encoder, with which weights, a run of explore saw with."""
    return (_lance(folder).schema.metadata or {}).get(b"fallow", b"").decode()


def kept_thumbnail(folder: Path, row: int) -> bytes:
    """The small picture a run of explore kept."""
    found = _lance(folder).take_offsets([row]).select(["thumbnail"]).to_arrow()
    return bytes(found.column("thumbnail")[0].as_py())
