"""What is read from pixels, once: decoding and encoding side by side, in bounded memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fallow.inventory import store
from fallow.inventory.sketches import sketch
from fallow.inventory.statistics import DIMENSION, Described, describe
from fallow.problems import SourceProblem

if TYPE_CHECKING:
    from fallow.images import FileProblem, Images

DECODE_SIDE = 256
ENCODING = min(4, os.cpu_count() or 1)  # batches encoded at once


class Ready(NamedTuple):
    encoder: Any
    note: str
    key: str
    restore: Callable[[], None]  # training mode and thread count as they were


def ready_encoder(asked: Any) -> Ready:
    """The encoder asked for, in eval mode for all batches: they are encoded side by side."""
    from fallow.encoders import chosen_encoder  # in its own thread, while files are listed

    chosen, note = chosen_encoder(asked)
    modules = list(chosen.modules()) if hasattr(chosen, "modules") else []
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0

    def restore() -> None:
        for module in training:
            module.training = True
        if torch:
            torch.set_num_threads(before)

    return Ready(chosen, note, store.encoder_key(chosen), restore)


class Seen(NamedTuple):
    described: Described
    thumbnail: bytes
    sketch: bytes
    pixels: np.ndarray


def embedded(images: Images, encoder: Any, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Readable rows, and the encoder's vector of each (N D)."""
    rows: list[int] = []
    parts = [np.zeros((0, encoder.dimension), np.float32)]
    waiting: list[np.ndarray] = []
    side = max(DECODE_SIDE, int(getattr(encoder, "size", DECODE_SIDE)))
    for row, pixels in images.map(lambda pixels: pixels, side=side):
        if isinstance(pixels, np.ndarray):
            rows.append(row)
            waiting.append(pixels)
        if len(waiting) == batch:
            parts.append(np.asarray(encoder.embed(waiting), np.float32))
            waiting = []
    if waiting:
        parts.append(np.asarray(encoder.embed(waiting), np.float32))
    return np.array(rows, np.int64), np.concatenate(parts)


def measured(
    images: Images,
    encoding: Executor,
    ready: Future[Ready],
    known: tuple[list[str], store.Measured] | None,
    threads: int,
    thumbnail: Callable[[np.ndarray], bytes],
    batch: int = 64,
    ahead: int = 6,
) -> tuple[np.ndarray, store.Measured, int]:
    """Readable rows, their measurements, and how many contents had to be looked at.

    Decoding runs at most `ahead` batches before encoding, so that memory stays bounded.
    """
    hashes = images.table.column("hash").to_pylist()
    where = {key: row for row, key in enumerate(known[0])} if known else {}
    stored = len(known[0]) if known else 0
    news: dict[str, int] = {}  # unseen content -> the first row that has it
    for row, key in enumerate(hashes):
        if key not in where:
            news.setdefault(key, row)
    failed: dict[str, FileProblem] = {}
    described: list[Described] = []
    thumbnails: list[bytes] = []
    sketches: list[bytes] = []
    embedded: list[Future[np.ndarray]] = []
    waiting: list[np.ndarray] = []

    def encode(pixels: list[np.ndarray]) -> np.ndarray:
        encoder = ready.result().encoder
        # batches share the cores; threads inside one that wait for each other would burn them
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // ENCODING))
        return np.asarray(encoder.embed(pixels), np.float32)

    def look(pixels: np.ndarray) -> Seen:
        return Seen(describe(pixels), thumbnail(pixels), sketch(pixels), pixels)

    if news:
        unseen = images.select(list(news.values()))
        for key, (_, seen) in zip(
            news, unseen.map(look, side=DECODE_SIDE, threads=threads), strict=True
        ):
            if not isinstance(seen, Seen):
                failed[key] = seen  # the first such file; Images has it among its problems
                continue
            where[key] = stored + len(described)
            described.append(seen.described)
            thumbnails.append(seen.thumbnail)
            sketches.append(seen.sketch)
            waiting.append(seen.pixels)
            if len(waiting) == batch:
                embedded.append(encoding.submit(encode, waiting))
                waiting = []
                if len(embedded) > ahead:
                    embedded[-1 - ahead].result()
    if waiting:
        embedded.append(encoding.submit(encode, waiting))
    paths = images.table.column("path")
    for row, key in enumerate(hashes):
        if key in failed and row != news[key]:
            images.problems.append(replace(failed[key], path=paths[row].as_py()))
    rows = np.array([row for row, key in enumerate(hashes) if key in where], np.int64)
    if len(rows) == 0:
        reason = f" ({images.problems[0].reason})" if images.problems else ""
        raise SourceProblem(f"none of the images in {images.name} can be decoded{reason}")
    fresh = len(described)
    if fresh:
        new = store.Measured(
            np.stack([each.measures for each in described]),
            np.array([each.hash for each in described], np.uint64),
            np.stack([each.statistics for each in described]).reshape(fresh, DIMENSION),
            np.concatenate([each.result() for each in embedded]),
            thumbnails,
            sketches,
        )
        everything = known[1].append(new) if known else new
    else:
        assert known is not None
        everything = known[1]
    return rows, everything.take([where[hashes[row]] for row in rows]), fresh
