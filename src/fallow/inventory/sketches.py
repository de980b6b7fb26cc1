"""What is kept of a picture so that copies of it are found without decoding it again.

A sketch is the picture itself, small, and its points: at most 2.1 kB of points and a JPEG of about
20,000 pixels, which is 4 to 9 kB for a photo. The first run looks at what the second one will read,
so both find the same.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import overload

import numpy as np

from fallow.inventory.keypoints import SIDE, Keypoints, keypoints, luma, small

QUALITY = 85
PARTS = 32  # of a pixel, in which places are stored
POINT = np.dtype([("place", "<u2", 2), ("level", "u1"), ("codes", "<u8", 2)])


def sketch(pixels: np.ndarray) -> bytes:
    """A picture (H W 3 or H W, uint8) as what is kept of it.

    >>> board = np.kron(np.indices((12, 12)).sum(0) % 2, np.ones((24, 24))).astype(np.uint8) * 200
    >>> kept = sketch(np.stack([board] * 3, axis=2))
    >>> points_of(kept).places.shape, picture_of(kept).shape
    ((100, 2), (144, 144, 3))
    """
    from PIL import Image

    picture = Image.fromarray(pixels)
    scale = SIDE / np.sqrt(picture.width * picture.height)
    if scale < 1:
        size = (max(8, round(picture.width * scale)), max(8, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    found = keypoints(small(luma(np.asarray(picture))))
    points = np.empty(len(found.levels), POINT)
    points["place"] = np.clip(np.rint(found.places * PARTS), 0, 65535)
    points["level"], points["codes"] = found.levels, found.codes
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return bytes([len(points)]) + points.tobytes() + file.getvalue()


def points_of(kept: bytes) -> Keypoints:
    """The points of a sketch."""
    points = np.frombuffer(kept, POINT, count=kept[0], offset=1)
    places = points["place"].astype(np.float32) / PARTS
    return Keypoints(places, points["level"].astype(np.int8), points["codes"].astype(np.uint64))


def picture_of(kept: bytes) -> np.ndarray:
    """The picture of a sketch (H W 3 or H W, uint8)."""
    from PIL import Image

    with Image.open(io.BytesIO(kept[1 + kept[0] * POINT.itemsize :])) as opened:
        return np.asarray(opened)


class Sketched(Sequence[np.ndarray]):
    """The pictures of sketches, each decoded when it is asked for."""

    def __init__(self, kept: Sequence[bytes]) -> None:
        self.kept = kept

    def __len__(self) -> int:
        return len(self.kept)

    @overload
    def __getitem__(self, row: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[np.ndarray]: ...

    def __getitem__(self, row: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        if isinstance(row, slice):
            return Sketched(self.kept[row])
        return picture_of(self.kept[row])
