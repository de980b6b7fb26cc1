"""A source of pictures or the folder of a run, opened for the studio."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.files import data_dir, fingerprint
from fallow.images import Images
from fallow.images import opened as opened_images
from fallow.problems import Problem, SettingProblem
from fallow.studio import runs_read

NOTHING = pa.table({"id": pa.array([], pa.string()), "path": pa.array([], pa.string())})


@dataclass(repr=False)
class Opened:
    """Pictures are addressed by their row in `base`, and by nothing else."""

    name: str
    base: pa.Table  # one row per picture, as it was opened
    place: Path  # the studio's own: what people said, queue, subscribers, cards
    images: Images | None = None  # None where only a run is left
    rows: np.ndarray | None = None  # of `images` by row of the table; None: the same
    findings: dict[str, Any] = field(default_factory=dict)  # of explore
    vectors: np.ndarray | None = None  # N D, unit length
    run: Path | None = None  # the folder of the run, where one was opened

    def __len__(self) -> int:
        return int(self.base.num_rows)

    def row(self, row: int) -> int:
        """The row itself, if there is one."""
        if not 0 <= row < len(self):
            raise SettingProblem(f"there is no picture {row}: there are {len(self):,}")
        return row


def opened(source: Any, pictures: Any = None) -> Opened:
    """Open a source of pictures, or the folder of a run, whose `pictures` may be elsewhere now.

    What people say is kept beside a run, and of a source in the data folder under its address:
    pictures that are added later change nothing of it.

    >>> from fallow.images.samples import shapes
    >>> len(opened(shapes(3, side=16)))
    3
    """
    if not isinstance(source, Images) and runs_read.is_run(source):
        run = Path(source).resolve()
        found = runs_read.read(run)
        images, rows = _pictures(found, pictures)
        table = found.table
        if table is None:
            table = NOTHING if images is None else images.table
        return Opened(
            run.name, table, run / "studio", images, rows, found.findings, found.vectors, run
        )
    images = opened_images(source)
    named = images.source or images.fingerprint
    place = data_dir() / "studio" / fingerprint(named.encode())
    return Opened(images.name, images.table, place, images)


def _pictures(found: runs_read.Run, given: Any) -> tuple[Images | None, np.ndarray | None]:
    """The pictures a run was made of, and the row of each in its source."""
    source = given or found.source
    if not source:
        return None, None
    try:
        images = opened_images(source)
    except Problem:
        if given:
            raise
        return None, None  # moved away since; what the run kept is shown
    if found.table is None:
        return images, None
    for name in ("id", "path"):
        if name in found.table.column_names:
            place = {key: row for row, key in enumerate(images.table.column(name).to_pylist())}
            keys = found.table.column(name).to_pylist()
            rows = np.array([place.get(key, -1) for key in keys], np.int64)
            if (rows >= 0).any() or given:
                return images, rows
    return images if given else None, None
