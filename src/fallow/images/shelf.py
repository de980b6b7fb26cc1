"""The pixels of a collection at one size, for work that visits them in random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from fallow.images.collection import Images

ROOM = 1 << 30  # bytes of pixels held in memory; the rest is decoded whenever it is wanted


class Shelf:
    """Readable images as `fit` makes them, kept in memory only: nothing is written to a disk.

    Place k of the shelf is row `rows[k]` of the images.

    >>> import fallow
    >>> from fallow.encoders import Preprocessing
    >>> images = fallow.open([np.zeros((20, 30, 3), np.uint8)] * 3)
    >>> shelf = Shelf(images, Preprocessing(8, 8).fit, side=8)
    >>> len(shelf), shelf.look(np.array([2, 0])).shape
    (3, torch.Size([2, 3, 8, 8]))
    """

    def __init__(
        self,
        images: Images,
        fit: Callable[[np.ndarray], Tensor],
        side: int,
        room: int = ROOM,
    ) -> None:
        self.images, self.fit, self.side, self.room = images, fit, side, room
        self._held: dict[int, Tensor] = {}
        rows = []
        for row, pixels in images.map(fit, side=side):
            if isinstance(pixels, Tensor):
                rows.append(row)
                self._hold(row, pixels)
        self.rows = np.array(rows, np.int64)

    def _hold(self, row: int, pixels: Tensor) -> None:
        if pixels.numel() <= self.room:
            self._held[row] = pixels
            self.room -= pixels.numel()

    def __len__(self) -> int:
        return len(self.rows)

    def look(self, places: np.ndarray) -> Tensor:
        """Pixels (B, 3, S, S), uint8, of some places of the shelf."""
        rows = self.rows[places].tolist()
        absent = sorted({row for row in rows if row not in self._held})
        fresh: dict[int, Tensor] = {}
        for k, pixels in self.images.select(absent).map(self.fit, side=self.side):
            if isinstance(pixels, Tensor):
                fresh[absent[k]] = pixels
        return torch.stack([self._held[row] if row in self._held else fresh[row] for row in rows])

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Places and pixels of everything, in order."""
        for start in range(0, len(self), size):
            places = np.arange(start, min(start + size, len(self)))
            yield places, self.look(places)
