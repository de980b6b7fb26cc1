"""What scanners write: volumes beside pictures, and 16 bits few of which are used, stretched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.files import fingerprint
from fallow.images.collection import Images, read_bytes
from fallow.images.decode import Unreadable
from fallow.images.masks import Masked, WithFiles, read_masks
from fallow.images.sources import opened
from fallow.images.stores import Arrays
from fallow.images.volumes import Volumes, holds_volumes, open_volumes, read_volume_masks

DARK = 32  # of 255: below this the brightest pixels would look black
ASKED = 8


def stretched(images: Images) -> tuple[Images, str]:
    """The same pictures, each stretched to its own range if they would be dark; and a sentence.

    Only pictures of more than 8 bits are changed, and only in memory.

    >>> import fallow.images
    >>> scans = fallow.images.open([np.full((4, 4), 900, np.uint16) * np.eye(4, dtype=np.uint16)])
    >>> int(scans[0].max()), int(stretched(scans)[0][0].max())
    (4, 255)
    """
    rows = np.unique(np.linspace(0, len(images) - 1, min(ASKED, len(images))).astype(int))
    asked = [deep(images, int(row)) for row in rows]
    peaks = [np.percentile(one, 99.9) / 65535 * 255 for one in asked if one is not None]
    if len(peaks) < len(rows) / 2 or np.median(peaks) >= DARK:
        return images, ""
    paths = images.column("path")
    made: dict[str, np.ndarray] = {}
    for row in range(len(images)):
        values = deep(images, row)
        if values is not None:
            low, high = np.percentile(values, [0.1, 99.9])
            scale = 255 / max(float(high - low), 1.0)
            made[paths[row]] = ((values - low) * scale).clip(0, 255).round().astype(np.uint8)
    table, names = images.table, images.column("hash").tolist()
    hashes = [
        fingerprint(made[path].tobytes()) if path in made else name
        for path, name in zip(paths, names, strict=True)
    ]
    table = table.set_column(table.column_names.index("hash"), "hash", pa.array(hashes))
    store: Any
    if isinstance(images.store, Arrays):
        store = Arrays({**images.store.pixels, **made})
    else:
        store = WithFiles(images.store, {path: _png(values) for path, values in made.items()})
    share = float(np.median(peaks)) / 255
    note = (
        f"the pictures use {share:.1%} of their 16 bits: each is stretched to its own range "
        "to be seen"
    )
    return (
        Images(table, store, name=images.name, problems=images.problems, notes=images.notes),
        note,
    )


def open_masked(
    source: Any,
    masks: Any = None,
    classes: Any = None,
    ignore: Sequence[Any] = (),
    where: str | None = None,
) -> Masked:
    """Pictures or volumes, sorted by whether they have a mask; masks as class codes."""
    if isinstance(source, Volumes):
        return read_volume_masks(source, classes, ignore)
    if holds_volumes(source):
        return read_volume_masks(open_volumes(source, masks), classes, ignore)
    images, note = stretched(opened(source, None, where))
    found = read_masks(images, masks, classes, ignore)
    if note:
        found.notes.append(note)
    return found


def deep(images: Images, row: int) -> np.ndarray | None:
    """The values of a grey picture of more than 8 bits; None of any other."""
    from PIL import Image

    path = images.column("path")[row]
    if isinstance(images.store, Arrays):
        values = images.store.pixels[path]
        values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
        return values if values.ndim == 2 and values.dtype == np.uint16 else None
    try:
        with Image.open(io.BytesIO(read_bytes(images.store, path))) as picture:
            if picture.mode != "I" and not picture.mode.startswith("I;16"):
                return None
            return np.asarray(picture).astype(np.int64)
    except (Unreadable, OSError):
        return None  # said again, and counted, when it is decoded


def _png(values: np.ndarray) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(values).save(packed, "PNG")
    return packed.getvalue()
