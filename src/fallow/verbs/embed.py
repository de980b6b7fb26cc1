"""`embed`: one vector per image, from any encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from fallow import declare
from fallow.encoders import chosen_encoder
from fallow.files import atomic_write
from fallow.images import opened
from fallow.inventory.look import embedded
from fallow.inventory.store import vectors_column
from fallow.outcomes import Result, counted, save_parquet, unreadable, writable
from fallow.problems import SettingProblem, SourceProblem


@declare.verb(
    example="fallow embed photos/ --encoder hf:facebook/dinov2-small --out vectors.parquet"
)
def embed(
    source: declare.Source,
    *,
    labels: declare.Labels = None,
    where: declare.Where = None,
    encoder: declare.EncoderName = None,
    out: Annotated[
        declare.Address | None,
        declare.Option(
            "the .parquet or .npy file to write; a folder with engine ray", required=True
        ),
    ] = None,
    batch: int = 64,
    engine: declare.Engine = "here",
    workers: declare.Workers = None,
) -> Result:
    """Encode every readable image; `.table` has the images' columns and `embedding`.

    `encoder` is a name or an encoder; without one, the built-in. `out` is a `.parquet` file (the
    table) or a `.npy` file (the vectors alone, in the table's order). With engine ray it is a
    folder or an address such as s3://bucket/vectors, in which every part of the collection becomes
    a Parquet file of its own; the same command goes on after the last part that was finished, and
    `.table` says how many images each part has.
    """
    if engine == "ray":
        return _spread(source, labels, where, encoder, out, workers)
    declare.without_workers(engine, workers)
    path = None if out is None else Path(out)
    if path is not None:
        if path.suffix not in (".parquet", ".npy"):
            raise SettingProblem(f"embed writes .parquet or .npy, not {path.name}: rename out=")
        writable(path.parent)
    images = opened(source, labels, where)
    chosen, note = chosen_encoder(encoder)
    rows, vectors = embedded(images, chosen, batch)
    if not len(rows):
        raise SourceProblem(f"none of the {len(images):,} images in {images.name} can be decoded")
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


def _spread(
    source: Any, labels: Any, where: str | None, encoder: Any, out: Any, workers: int | None
) -> Result:
    """The same vectors, in parts, by as many workers as there are."""
    from fallow.scale.pictures import embed as in_parts

    if out is None or str(out).endswith((".parquet", ".npy")):
        raise SettingProblem("engine ray writes many parts: name a folder or address with out=")
    made = in_parts(source, out, labels=labels, where=where, encoder=encoder, workers=workers)
    images, parts = sum(made.table["images"].to_pylist()), made.table.num_rows
    lines = [f"{images:,} images, {made.encoder.dimension} numbers each, from {made.encoder.name}"]
    lines.append(f"{counted(parts, 'part')} in {made.job.parts.folder}")
    if made.before:
        lines.append(f"{made.before:,} of them were there: the job went on after them")
    lines += [*unreadable(made.problems), *([made.note] if made.note else [])]
    problems = [{"path": each.path, "reason": each.reason} for each in made.problems]
    return Result(made.table, headlines=lines, findings={"problems": problems})
