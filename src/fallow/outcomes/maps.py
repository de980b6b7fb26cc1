"""Maps over pictures as files: heat, depth of 16 bits, class codes, overlays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fallow.colours import colours, heat
from fallow.outcomes.pictures import save_picture


def save_heat(path: str | Path, values: np.ndarray, low: float, high: float) -> Path:
    """A map in colours, the same for all maps between `low` and `high`."""
    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return save_picture(path, colours(share))


def save_depth(path: str | Path, values: np.ndarray, full: float) -> Path:
    """A map as grey of 16 bits, `full` as white, to compute with.

    >>> import tempfile
    >>> from PIL import Image
    >>> made = save_depth(Path(tempfile.mkdtemp()) / "a.tif", np.array([[0.0, 1.0]]), full=2.0)
    >>> np.array(Image.open(made)).tolist()
    [[0, 32768]]
    """
    return save_picture(path, np.rint(values / full * 65535).clip(0, 65535).astype(np.uint16))


def save_overlay(
    path: str | Path, pixels: np.ndarray, values: np.ndarray, low: float, high: float
) -> Path:
    """A map laid over its picture."""
    return save_picture(path, heat(pixels, values, low, high, opacity=0.5))


def save_codes(path: str | Path, codes: np.ndarray, palette: list[int] | None = None) -> Path:
    """Class codes as a PNG of 8 bits, or 16 where they need them; or marks (bool) as one of 1 bit.

    With a palette (red, green, blue, red, ...) eight bits look like their classes.
    """
    from PIL import Image

    if codes.dtype != bool:
        codes = codes.astype(np.uint8 if codes.max(initial=0) < 256 else np.uint16)
    picture = Image.fromarray(codes)
    if palette and codes.dtype == np.uint8:
        picture.putpalette(palette)
    return save_picture(path, picture)
