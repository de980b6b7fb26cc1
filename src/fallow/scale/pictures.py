"""A collection, its vectors and measurements, part by part, by the functions one machine uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from fallow.encoders import chosen_encoder
from fallow.images import Images
from fallow.images.collection import Problems
from fallow.images.named import Named, named
from fallow.images.stores import FileProblem
from fallow.inventory import store
from fallow.inventory.look import Ready, embedded, measured
from fallow.outcomes.pictures import thumbnail
from fallow.problems import SettingProblem, SourceProblem
from fallow.scale.parts import Parts
from fallow.scale.spread import spread

SIZE = 1024  # pictures in a part: some ten seconds of work, some megabytes of vectors


@dataclass(frozen=True)
class Job:
    """What every worker has to know."""

    named: Named
    where: str | None
    encoder: Any
    parts: Parts
    size: int

    def images(self, number: int) -> Images:
        """The pictures of a part, with their sizes and hashes."""
        rows = slice(number * self.size, (number + 1) * self.size)
        images = self.named.part(rows).look()
        return images.where(self.where) if self.where and len(images) else images

    @property
    def count(self) -> int:
        return -(-len(self.named) // self.size)


@dataclass(frozen=True)
class Made:
    """A finished job."""

    job: Job
    encoder: Any
    note: str  # to print with what was found, if any
    before: int  # parts that an earlier, interrupted run had finished
    table: pa.Table  # part, images, unreadable: one row for each part

    @property
    def problems(self) -> list[FileProblem]:
        """Everything that could not be read, in the order of the parts."""
        parts = (self.job.parts.problems(number) for number in range(self.job.count))
        return [*self.job.named.problems, *(one for some in parts for one in some)]

    def images(self, table: pa.Table) -> Images:
        """Pictures of the job as a collection, from their columns."""
        named = self.job.named
        return Images(
            table, named.store, name=named.name,
            problems=Problems(self.problems), notes=named.notes, source=named.source,
        )  # fmt: skip


def embed(
    source: Any,
    out: Any,
    *,
    labels: Any = None,
    where: str | None = None,
    encoder: Any = None,
    workers: int | None = None,
    size: int = SIZE,
) -> Made:
    """One vector per picture, in parts of `size` pictures below `out`."""
    return _made(_embed, "vectors", source, out, labels, where, encoder, workers, size)


def look(
    source: Any,
    out: Any,
    *,
    labels: Any = None,
    where: str | None = None,
    encoder: Any = None,
    workers: int | None = None,
    size: int = SIZE,
) -> tuple[Images, tuple[list[str], store.Measured], Made]:
    """Everything `explore` reads from pixels, in parts below `out`.

    The pictures that could be read; what was seen of them, by content hash; and the job.
    """
    made = _made(_look, "looks", source, out, labels, where, encoder, workers, size)
    pictures = pa.concat_tables(made.job.parts.each(), promote_options="default")
    if pictures.num_rows == 0:
        raise SourceProblem(f"none of the images in {made.job.named.name} can be decoded")
    seen = store.measured_of(pictures)
    hashes = pictures.column("hash").to_pylist()
    return made.images(pictures.drop_columns(list(store.columns_of(seen)))), (hashes, seen), made


def collection(
    source: Any,
    out: Any,
    *,
    labels: Any = None,
    where: str | None = None,
    workers: int | None = None,
    size: int = SIZE,
) -> Images:
    """What `fallow.open` makes of a source, its files read by workers, in parts below `out`."""
    made = _made(_list, "names", source, out, labels, where, None, workers, size)
    images = made.images(pa.concat_tables(made.job.parts.each(), promote_options="default"))
    if not len(images) and images.problems:
        raise SourceProblem(f"none of the images in {images.name} can be read")
    return images


def _made(
    work: Callable[[Job, int], dict[str, Any]],
    what: str,
    source: Any,
    out: Any,
    labels: Any,
    where: str | None,
    encoder: Any,
    workers: int | None,
    size: int,
) -> Made:
    if not isinstance(source, str) and not hasattr(source, "__fspath__"):
        raise SettingProblem("engine ray reads a folder, archive or address: give its name")
    if workers is not None and workers < 1:
        raise SettingProblem(f"workers={workers} is not possible: use one or more")
    pictures = named(source, labels)
    chosen: Any = None
    note = ""
    if work is not _list:
        chosen, note = chosen_encoder(encoder)
    if hasattr(chosen, "eval"):
        chosen.eval()
    job = Job(pictures, where, chosen, Parts(out), size)
    job.parts.begin(
        {
            "what": what,
            "images": pictures.fingerprint,
            "where": where,
            "encoder": None if chosen is None else store.encoder_key(chosen),
            "size": size,
            "parts": job.count,
        }
    )
    there = job.parts.finished()
    left = sorted(set(range(job.count)) - set(there))
    gpus = 0.0 if chosen is None else float(torch.cuda.is_available())
    for _ in spread(work, job, left, workers=workers, gpus=gpus):
        pass  # all that is said of a part is in the part
    lines = [
        {"part": k, "images": job.parts.rows(k), "unreadable": len(job.parts.problems(k))}
        for k in range(job.count)
    ]
    return Made(job, chosen, note, len(there), pa.Table.from_pylist(lines))


def _list(job: Job, number: int) -> dict[str, Any]:
    images = job.images(number)
    job.parts.write(number, images.table, images.problems)
    return {"part": number}


def _embed(job: Job, number: int) -> dict[str, Any]:
    images = job.images(number)
    rows, vectors = embedded(images, job.encoder)
    table = images.table.take(pa.array(rows))
    table = table.append_column("embedding", store.vectors_column(vectors))
    job.parts.write(number, table, images.problems)
    return {"part": number}


def _look(job: Job, number: int) -> dict[str, Any]:
    images = job.images(number)
    ready: Future[Ready] = Future()
    ready.set_result(Ready(job.encoder, "", "", lambda: None))
    with ThreadPoolExecutor(1) as encoding:
        try:
            rows, seen, _ = measured(images, encoding, ready, None, 1, thumbnail)
        except SourceProblem:  # not one of them can be decoded: the part says why
            job.parts.write(number, pa.table({}), images.problems)
            return {"part": number}
    table = images.table.take(pa.array(rows))
    for name, column in store.columns_of(seen).items():
        table = table.append_column(name, column)
    job.parts.write(number, table, images.problems)
    return {"part": number}
