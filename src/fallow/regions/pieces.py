"""Pieces cut out of the pictures they came in: by their opacity, or from a plain ground."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fallow.images.tearing import Piece
from fallow.problems import SourceProblem
from fallow.regions.contours import NoOutline
from fallow.regions.superpixels import oklab

FRAME = 0.02  # of the short side: the rim that shows the ground
PLAIN = 0.05  # difference of colours that still passes for ground
UNEVEN = 0.1  # share of the rim that may differ from the ground
SPECK = 0.05  # of the largest piece's area: what is smaller is dust
SMALLEST = 64  # pixels of a piece


def pieces_in(pixels: np.ndarray, opacity: np.ndarray | None = None) -> list[Piece]:
    """The pieces in a picture (H W 3), from left to right and from top to bottom as they begin.

    With an opacity (H W) what is opaque is one piece. Without, everything is that stands out from
    the ground at the picture's rim, each part of it; nothing may reach the rim then.

    >>> scan = np.full((60, 80, 3), 250, np.uint8)
    >>> scan[10:30, 10:40], scan[35:50, 20:60] = (90, 60, 30), (20, 90, 160)
    >>> [piece.mask.shape for piece in pieces_in(scan)]
    [(22, 32), (17, 42)]
    """
    if opacity is not None and (opacity < 128).any():
        return [_largest(pixels, opacity >= 128)]
    return _standing_out(pixels)


def _largest(pixels: np.ndarray, mask: np.ndarray) -> Piece:
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=2)[1:]
    if not count or sizes.max() < SMALLEST:
        raise NoOutline(
            "nothing in it is opaque: save the piece with its ground cut away, or on a plain ground"
        )
    return _boxed(pixels, parts == 1 + int(sizes.argmax()))


def _standing_out(pixels: np.ndarray) -> list[Piece]:
    rim = max(1, round(FRAME * min(pixels.shape[:2])))
    colours = oklab(pixels)
    inner = np.ones(pixels.shape[:2], bool)
    inner[rim:-rim, rim:-rim] = False
    ground = np.median(colours[inner], 0)
    apart = np.linalg.norm(colours - ground, axis=2)
    if (apart[inner] > PLAIN).mean() > UNEVEN:
        raise SourceProblem(
            "its rim is not one plain colour: lay the pieces on a plain ground and leave some of "
            "it around them, or cut the ground away"
        )
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(apart > PLAIN, np.ones((3, 3))))
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=2)[1:]
    if not count or sizes.max() < SMALLEST:
        raise NoOutline("no piece stands out from its ground: choose a ground of another colour")
    found = [k for k in range(count) if sizes[k] >= max(SMALLEST, SPECK * sizes.max())]
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    if np.isin(edge, np.array(found) + 1).any():
        raise SourceProblem(
            "a piece in it reaches the edge of the picture, so that some of it may be missing: "
            "leave some ground around every piece"
        )
    return [_boxed(pixels, parts == k + 1) for k in found]


def _boxed(pixels: np.ndarray, mask: np.ndarray) -> Piece:
    """The box of what a mask marks, with a pixel of ground around it."""
    mask = ndimage.binary_fill_holes(mask)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    place = np.eye(2, 3)
    place[:, 2] = 1 - columns[0], 1 - rows[0]
    framed = np.pad(pixels[box], ((1, 1), (1, 1), (0, 0)), "edge")
    return Piece(framed, np.pad(mask[box], 1), place)
