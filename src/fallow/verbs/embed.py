"""`embed`: one vector per image, from any encoder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.device import best_device
from fallow.inventory.store import vectors_column
from fallow.problems import SettingProblem, SourceProblem
from fallow.result import Result, writable

if TYPE_CHECKING:
    from fallow.images import Images

DECODE_SIDE = 256


def embed(
    source: Any,
    *,
    encoder: Any = None,
    out: str | os.PathLike[str] | None = None,
    labels: Any = None,
    batch: int = 64,
) -> Result:
    """Encode every readable image; `.table` has the images' columns and `embedding`.

    `encoder` is a name or an encoder; without one, the built-in. `out` is a `.parquet` file (the
    table) or a `.npy` file (the vectors alone, in the table's order).
    """
    path = None if out is None else Path(out)
    if path is not None:
        if path.suffix not in (".parquet", ".npy"):
            raise SettingProblem(f"embed writes .parquet or .npy, not {path.name}: rename out=")
        writable(path.parent)
    images = opened(source, labels)
    chosen, note = chosen_encoder(encoder)
    rows: list[int] = []
    parts: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    side = max(DECODE_SIDE, int(getattr(chosen, "size", DECODE_SIDE)))
    for row, pixels in images.map(lambda pixels: pixels, side=side):
        if isinstance(pixels, np.ndarray):
            rows.append(row)
            waiting.append(pixels)
        if len(waiting) == batch:
            parts.append(chosen.embed(waiting))
            waiting = []
    if waiting:
        parts.append(chosen.embed(waiting))
    if not rows:
        raise SourceProblem(f"none of the {len(images):,} images in {images.name} can be decoded")
    vectors = np.concatenate(parts).astype(np.float32)
    kept = images.table.take(pa.array(rows))
    table = kept.append_column("embedding", vectors_column(vectors))
    headlines = [f"{len(rows):,} images, {vectors.shape[1]} numbers each, from {chosen.name}"]
    if images.problems:
        headlines.append(f"{len(images.problems):,} files could not be read")
    if note:
        headlines.append(note)
    problems = [{"path": each.path, "reason": each.reason} for each in images.problems]
    if path is not None:
        _write(path, table, vectors)
    return Result(table, headlines=headlines, findings={"problems": problems})


def _write(path: Path, table: pa.Table, vectors: np.ndarray) -> None:
    from fallow.files import atomic_write

    with atomic_write(path) as target:
        if path.suffix == ".npy":
            np.save(target, vectors)
        else:
            import pyarrow.parquet as pq

            pq.write_table(table, target)


def opened(source: Any, labels: Any = None, where: str | None = None) -> Images:
    """The source as Images; Images pass through. With labels joined, and only the rows wanted."""
    import fallow

    if hasattr(source, "map") and hasattr(source, "problems"):
        images = source if labels is None else source.join(labels)
    else:
        images = fallow.open(source, labels=labels)
    return images.where(where) if where else images


def chosen_encoder(encoder: Any = None) -> tuple[Any, str]:
    """The encoder asked for, by default tiny, and a sentence to print with its findings, if any."""
    import fallow
    from fallow.encoders import from_random

    name = "tiny" if encoder is None else encoder
    if not isinstance(name, str):
        return encoder, ""
    return fallow.encoder(name).to(best_device()), UNTRAINED if from_random(name) else ""


UNTRAINED = "The encoder is untrained: likeness here means colour, texture and layout, not meaning."
