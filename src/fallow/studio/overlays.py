"""Masks as small pictures that a page lays over those they belong to: a colour for each class."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from fallow.problems import Problem
from fallow.studio.drawn import MASK, Drawn, colours

GROUND = "#000000"  # of the first class: it is not tinted


def masked(drawn: Drawn) -> bool:
    """Whether any picture of the desk has a mask: of the run, or drawn by hand."""
    found = bool(drawn.listed) and "mask" in drawn.desk.base.column_names
    return found or bool(drawn.rows(MASK))


def legend(drawn: Drawn) -> dict[str, str]:
    """Colours of the classes that are tinted, by name."""
    named = zip(drawn.classes.names, colours(drawn.classes), strict=True)
    return {name: colour for k, (name, colour) in enumerate(named) if k or colour != GROUND}


def overlay(drawn: Drawn, row: int, side: int) -> bytes:
    """A mask that fits into a square of that side, as PNG; empty where there is none to show."""
    try:
        codes = drawn.known_mask(row)
    except Problem:  # unreadable, or of a volume: the easel says why
        return b""
    return b"" if codes is None else tinted(codes, colours(drawn.classes), side)


def tinted(codes: np.ndarray, shown: Sequence[str], side: int) -> bytes:
    """Class codes (H W) in their colours, as PNG; the ground and what nobody judges are clear.

    >>> tinted(np.eye(4, dtype=np.uint8), ["#000000", "#40a060"], 2)[1:4]
    b'PNG'
    """
    from PIL import Image

    picture = Image.fromarray(codes)
    picture.thumbnail((side, side), Image.Resampling.NEAREST)  # as thumbnails are made
    # all 256 of a palette: PNG would keep fewer bits than a code of 255 needs
    picture.putpalette(bytes.fromhex("".join(one[1:] for one in shown)).ljust(768, b"\0"))
    seen = [0 if k == 0 and one == GROUND else 255 for k, one in enumerate(shown)]
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes([*seen, *[0] * (256 - len(seen))]))
    return file.getvalue()
