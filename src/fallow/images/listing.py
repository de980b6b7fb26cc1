"""What is there under an address, before any of it is opened."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from fallow.images.stores import (
    FileProblem,
    Store,
)


@dataclass
class Listing:
    """What a source holds before any picture has been looked at."""

    store: Store
    names: list[str]  # the pictures
    ids: list[str]
    columns: pa.Table | None = None  # what the source itself knows, one row for each name
    notes: list[str] = field(default_factory=list)
    problems: list[FileProblem] = field(default_factory=list)
