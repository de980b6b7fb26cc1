"""Pictures that never fit the disk: decoded shard after shard, when a batch wants them."""

from __future__ import annotations

import posixpath
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fallow.files import cache_dir
from fallow.images.decode import reduced_size
from fallow.problems import Problem
from fallow.views.render import ArrayPack, pack_arrays

if TYPE_CHECKING:
    from fallow.images import Images

BUFFER = 4096  # pictures a row may be moved by: what shuffling within shards looks across


@dataclass(frozen=True)
class Unpacked:
    """What a pack says of pictures, without their pixels.

    >>> from fallow.images.samples import shapes
    >>> held = Unpacked(shapes(4, side=24), 16).held(np.array([2, 0]))
    >>> len(held), held.heights.tolist(), held.rows.tolist()
    (2, [16, 16], [2, 0])
    """

    images: Images
    side: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def name(self) -> str:
        return self.images.name

    @cached_property
    def rows(self) -> np.ndarray:
        return np.arange(len(self))

    @cached_property
    def heights(self) -> np.ndarray:
        return self._sizes[:, 1]

    @cached_property
    def widths(self) -> np.ndarray:
        return self._sizes[:, 0]

    @cached_property
    def _sizes(self) -> np.ndarray:
        widths, heights = (self.images.table.column(n).to_pylist() for n in ("width", "height"))
        sizes = [reduced_size(w, h, self.side) for w, h in zip(widths, heights, strict=True)]
        return np.array(sizes, np.int32).reshape(-1, 2)

    @cached_property
    def shards(self) -> np.ndarray:
        """The archive or folder of every picture, as a number in the order of their names."""
        paths = self.images.table.column("path").to_pylist()
        return np.unique([posixpath.dirname(path) for path in paths], return_inverse=True)[1]

    def __getitem__(self, row: int) -> np.ndarray:
        return self.images.read(row, self.side)

    @property
    def pixels(self) -> np.ndarray:
        raise Problem(
            f"this method looks at all pixels of {self.name} at once, and they do not fit the disk "
            "of the cache: choose another method, or point FALLOW_CACHE to a larger disk"
        )

    def held(self, rows: np.ndarray) -> ArrayPack:
        """The pixels of these rows. One that cannot be read is stood in for by its neighbour."""
        seen = [one for _, one in self.images.select(rows).map(np.asarray, side=self.side)]
        good = [place for place, one in enumerate(seen) if isinstance(one, np.ndarray)]
        if not good:
            raise Problem(
                f"none of {len(rows)} pictures of {self.name} in a row can be read "
                f"({self.images.problems[-1].reason}): look at the source"
            )
        after = np.minimum(np.searchsorted(good, np.arange(len(seen))), len(good) - 1)
        taken = [good[int(place)] for place in after]
        packed = pack_arrays([seen[place] for place in taken])  # type: ignore[misc]
        return replace(packed, rows=rows[taken])


def fits(images: Images, side: int) -> bool:
    """Whether a pack of these pictures has room on the disk of the cache, or is there already."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    needed = 3 * int((Unpacked(images, side)._sizes.astype(np.int64)).prod(axis=1).sum())
    return needed <= shutil.disk_usage(folder).free


def by_shard(
    shards: np.ndarray, batch: int, ranks: int, *, seed: int, epoch: int, buffer: int = BUFFER
) -> np.ndarray:
    """Rows of every batch of an epoch (steps, batch), read shard after shard.

    Every rank has shards of its own, and takes its share of each batch from them; a row leaves its
    place by less than `buffer`. As the order is a function of the seed, the epoch and the number
    of ranks, a run that goes on at a step goes on inside a shard. Where ranks have unequally many
    pictures, the rank with few begins its shards again, so that all batches are whole.

    >>> rows = by_shard(np.repeat([0, 1], 4), 2, 2, seed=0, epoch=0, buffer=2)
    >>> rows.shape, np.unique(rows).tolist(), len(np.unique(rows[:, 0] // 4))
    ((4, 2), [0, 1, 2, 3, 4, 5, 6, 7], 1)
    """
    if len(np.unique(shards)) < ranks:  # neighbours in the source, then, as equal parts
        shards = np.arange(len(shards)) * ranks // len(shards)
    draw = np.random.default_rng([seed, 4, epoch])
    names = draw.permutation(np.unique(shards))
    steps, share = len(shards) // batch, batch // ranks
    parts = []
    for rank in range(ranks):
        mine = names[rank::ranks]
        own = np.concatenate([np.flatnonzero(shards == name) for name in mine])
        moved = np.argsort(np.arange(len(own)) + draw.uniform(0, buffer, len(own)), kind="stable")
        parts.append(np.resize(own[moved], (steps, share)))
    return np.concatenate(parts, axis=1)
