"""What regions look like to an encoder: each cut out, with the rest of its box painted over."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fallow.problems import Problem

if TYPE_CHECKING:
    from fallow.encoders import Encoder

Surroundings = Literal["mean", "keep"]
Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two beyond the region


def boxes(regions: np.ndarray, enlarge: float = 0.0) -> list[Box]:
    """The tight box of every region 0, 1, ..., enlarged on each side by that share of its size.

    >>> boxes(np.array([[0, 0, 1], [0, 1, 1]]))
    [(0, 0, 2, 2), (0, 1, 2, 3)]
    """
    from scipy.ndimage import find_objects

    height, width = regions.shape
    found = []
    for slices in find_objects(regions + 1):
        if slices is None:
            raise Problem("the regions of an image are numbered 0, 1, ... without gaps.")
        rows, columns = slices
        more_rows = int(enlarge * (rows.stop - rows.start))
        more_columns = int(enlarge * (columns.stop - columns.start))
        found.append(
            (
                max(0, rows.start - more_rows),
                max(0, columns.start - more_columns),
                min(height, rows.stop + more_rows),
                min(width, columns.stop + more_columns),
            )
        )
    return found


def crop(
    pixels: np.ndarray, regions: np.ndarray, number: int, box: Box, surroundings: Surroundings
) -> np.ndarray:
    """A region's box; with "mean", what is not the region takes the mean of all values in the box.

    >>> pixels = np.array([[[0, 0, 0], [90, 90, 90]]], np.uint8)
    >>> crop(pixels, np.array([[0, 1]]), 0, (0, 0, 1, 2), "mean")[0, :, 0].tolist()
    [0, 45]
    """
    top, left, bottom, right = box
    part = pixels[top:bottom, left:right].copy()
    if surroundings == "mean":
        part[regions[top:bottom, left:right] != number] = round(float(part.mean()))
    return part


def look_at_regions(
    encoder: Encoder,
    pixels: np.ndarray,
    regions: np.ndarray,
    *,
    enlarge: float = 0.0,
    surroundings: Surroundings = "mean",
    batch: int = 64,
) -> np.ndarray:
    """Unit vectors (n D float32) of the regions 0, 1, ... of one image, squashed to the input.

    >>> from fallow.encoders import encoder
    >>> halves = np.repeat(np.array([[0, 1]]), 4, axis=1).repeat(4, axis=0)
    >>> look_at_regions(encoder("resnet8/8"), np.zeros((4, 8, 3), np.uint8), halves).shape
    (2, 32)
    """
    import torch
    import torch.nn.functional as F

    from fallow.encoders.maps import asked

    if not regions.size:
        raise Problem("an image of no pixels has no regions to look at.")

    def fitted() -> Any:
        for number, box in enumerate(boxes(regions, enlarge)):
            part = crop(pixels, regions, number, box, surroundings)
            yield encoder.preprocessing.squash(part)

    waiting = fitted()
    found = []
    with asked(encoder):
        while some := list(islice(waiting, batch)):
            inputs = encoder.preprocessing.normalise(torch.stack(some).to(encoder.device))
            found.append(F.normalize(encoder(inputs).float(), dim=1).cpu().numpy())
    return np.concatenate(found)
