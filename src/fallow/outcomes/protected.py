"""The outcome of `protect`: a row for each copy, the protector, and what must be known of both."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.images import Images
from fallow.outcomes.result import Result
from fallow.outcomes.sentences import counted
from fallow.outcomes.tables import save_json

CUT = 0.25  # share of a pattern lost at black and white that is worth a sentence
LIMITS = (
    "This is not a guarantee: adversarial training, strong augmentation, greyscale and JPEG weaken "
    "such patterns, and only copies that are all protected protect each other."
)


class Protected(Result):
    """What `protect` returns: a row for each copy, and the protector for later images."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        protector: Any,
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        super().__init__(table, findings=findings, page=page)
        self.protector = protector

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Table, report and protect.json: all of it private."""
        place = super().save(folder)
        save_json(place / "protect.json", self.findings, ("examples", "patterns", "items"))
        return place


def median(table: pa.Table, column: str) -> float:
    values = table.column(column).to_numpy()
    return float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0


def notes_of(images: Images, table: pa.Table, patterns: int, hidden: Path, note: str) -> list[str]:
    """What a reader must know before publishing the copies."""
    lines = [
        f"Keep {hidden} to yourself: whoever has the patterns in it can take them off the copies.",
        LIMITS,
    ]
    cut = median(table, "cut")
    if cut > CUT:
        lines.append(
            f"Black or white areas cut away {cut:.0%} of the pattern (median): "
            "such pictures are protected less."
        )
    empty = sum(size == 0 for size in np.bincount(
        table.column("cluster").to_numpy(), minlength=patterns))  # fmt: skip
    if empty:
        lines.append(f"{empty} of {patterns} patterns are used by none of these images.")
    if images.problems:
        lines.append(f"{counted(len(images.problems), 'file')} could not be read and got no copy.")
    return [*lines, *([note] if note else [])]
