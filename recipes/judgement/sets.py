"""The labelled sets that judgements are chosen and tried on, as vectors an encoder made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.judgement.sets import CLASSED, collection

import fallow
from fallow.files import atomic_write
from fallow.vectors.space import leading, unit

SETS = (*CLASSED, "grocery", "tiles")
MOST = 3000  # pictures of a set; more would only make trials slower
DIRECTIONS = 256  # of the vectors, the main ones: what lies beyond changes no judgement


@dataclass(frozen=True)
class Seen:
    """One set as an encoder sees it."""

    name: str
    vectors: np.ndarray  # N F float32
    truth: np.ndarray  # N, codes from 0

    @property
    def classes(self) -> int:
        return int(self.truth.max()) + 1

    def take(self, rows: np.ndarray) -> Seen:
        """Some rows; classes that are gone leave no gap in the codes."""
        return Seen(self.name, self.vectors[rows], np.unique(self.truth[rows], False, True)[1])


def seen(data: Path, name: str, encoder: str, cache: Path) -> Seen:
    """A set's vectors, from `cache` where they are there; else made by the encoder and kept."""
    kept = cache / f"{encoder}-{name}.npz"
    if not kept.is_file():
        whole = collection(data, name, most=MOST)
        chosen = fallow.encoder(encoder)
        parts = []
        for first in range(0, len(whole), 64):
            rows = range(first, min(first + 64, len(whole)))
            parts.append(chosen.embed([np.asarray(whole.picture(row)) for row in rows]))
        vectors = unit(np.concatenate(parts))
        vectors -= vectors.mean(0)
        vectors = vectors @ leading(vectors, min(DIRECTIONS, len(vectors) - 1))[1]
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as target:
            np.savez(target, vectors=vectors.astype(np.float32), truth=whole.labels)
    with np.load(kept) as found:
        return Seen(name, found["vectors"], found["truth"])
