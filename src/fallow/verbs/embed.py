"""`embed`: one vector per image, from any encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa

from fallow.declare import Address, EncoderName, Labels, Option, Source, Where, verb
from fallow.encoders import chosen_encoder
from fallow.files import atomic_write
from fallow.images import opened
from fallow.inventory.store import vectors_column
from fallow.outcomes import Result, save_parquet, unreadable, writable
from fallow.problems import SettingProblem, SourceProblem

DECODE_SIDE = 256


@verb(example="fallow embed photos/ --encoder hf:facebook/dinov2-small --out vectors.parquet")
def embed(
    source: Source,
    *,
    labels: Labels = None,
    where: Where = None,
    encoder: EncoderName = None,
    out: Annotated[
        Address | None, Option("the .parquet or .npy file to write", Path, required=True)
    ] = None,
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
    images = opened(source, labels, where)
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
    headlines += [*unreadable(images.problems), *([note] if note else [])]
    problems = [{"path": each.path, "reason": each.reason} for each in images.problems]
    if path is not None and path.suffix == ".npy":
        with atomic_write(path) as target:
            np.save(target, vectors)
    elif path is not None:
        save_parquet(path, table)
    return Result(table, headlines=headlines, findings={"problems": problems}, folder=path)
