"""Batches of rendered views, one step ahead of the model."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from fallow.train.method import Batch, Beside
from fallow.train.streaming import Unpacked
from fallow.views import render
from fallow.views.masks import render_masks
from fallow.views.volumes import Crop, cut

if TYPE_CHECKING:
    from fallow.images import Pack
    from fallow.images.volumes import Volumes
    from fallow.train.words import TextStream
    from fallow.views import Recipe

T = TypeVar("T")


class Stream:
    """The images of one name: a pack, the recipe that looks at it, its labels and its masks."""

    def __init__(
        self,
        pack: Pack | Unpacked,
        recipe: Recipe,
        labels: np.ndarray,
        seed: int,
        masks: Sequence[np.ndarray | None] | None = None,  # by place in the pack, at its size
        beside: Beside | None = None,
    ) -> None:
        self.pack, self.recipe, self.seed, self.masks = pack, recipe, seed, masks
        self.beside = beside
        self.labels = torch.from_numpy(labels[pack.rows])

    def __len__(self) -> int:
        return len(self.pack)

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """The views of some rows of the pack in some epoch."""
        if isinstance(self.pack, Unpacked):
            held = self.pack.held(rows)
            seen = render(held, np.arange(len(held)), self.recipe, seed=self.seed, epoch=epoch)
            rows = held.rows
        else:
            seen = render(self.pack, rows, self.recipe, seed=self.seed, epoch=epoch)
        index = torch.from_numpy(np.ascontiguousarray(rows))
        masks = []
        if self.masks is not None:
            sizes = [view.size for view in self.recipe.every_view]
            masks = render_masks([self.masks[row] for row in rows], seen.geometry, sizes)
        return Batch(
            seen.groups,
            seen.views,
            index,
            self.labels[index],
            seen.geometry,
            list(seen.roles),
            masks,
            torch.from_numpy(np.stack([self.pack.heights[rows], self.pack.widths[rows]], 1)),
            {} if self.beside is None else self.beside(rows, epoch),
        )


class VolumeStream:
    """Random crops of volumes: the stream of one name where images have three dimensions."""

    def __init__(self, volumes: Volumes, crop: Crop, seed: int) -> None:
        self.pack, self.recipe, self.seed = volumes, crop, seed
        self.scans = [volumes.normalised(row) for row in range(len(volumes))]

    def __len__(self) -> int:
        return len(self.scans)

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """A crop of each of some volumes in some epoch."""
        made = [
            cut(
                self.scans[row],
                self.pack.masks[row],
                self.recipe,
                np.random.default_rng([self.seed, 3, epoch, int(row), place]),
            )
            for place, row in enumerate(rows)
        ]
        scans = torch.from_numpy(np.stack([one for one, _ in made]))[:, None]  # B 1 D H W
        masks = torch.from_numpy(np.stack([mask for _, mask in made])).long()
        masked = [masks] if self.pack.masked.any() else []
        index = torch.from_numpy(np.asarray(rows))
        geometry = torch.zeros(1, len(rows), 2, 3)  # volumes have none
        unknown = torch.full((len(rows),), -1)
        return Batch([scans], [scans], index, unknown, geometry, ["weak"], masked)


def other_rows(count: int, batch: int, step: int, seed: int) -> tuple[np.ndarray, int]:
    """Rows and pass of a stream that only accompanies the first: it goes round and round.

    >>> rows, turn = other_rows(5, 4, step=1, seed=0)
    >>> len(rows), turn
    (4, 0)
    """
    turn, start = divmod(step * batch, count)
    order = np.concatenate(
        [
            np.random.default_rng([seed, 1, turn + k]).permutation(count)
            for k in range(2 + batch // count)
        ]
    )
    return order[start : start + batch], turn


def batches(
    streams: Mapping[str, Stream | VolumeStream | TextStream],
    order: np.ndarray,  # steps, batch
    *,
    epoch: int,
    first: int,
    step: int,
    rank: int,
    world: int,
    seed: int,
    prepare: Callable[[str, Batch, np.random.Generator], Batch] = lambda name, batch, draw: batch,
) -> Generator[dict[str, Batch]]:
    """This rank's share of every batch of an epoch, from batch `first` on."""
    leader = next(iter(streams))
    for k in range(first, len(order)):
        made = {}
        for place, (name, stream) in enumerate(streams.items()):
            if name == leader:
                rows, turn = order[k], epoch
            else:
                at = step + k - first
                rows, turn = other_rows(len(stream), order.shape[1], at, seed + place)
            share = (
                len(rows) // world
            )  # ranks take neighbouring parts: gathered, the batch is whole
            mine = np.ascontiguousarray(rows[rank * share : (rank + 1) * share])
            draw = np.random.default_rng([seed, 2, step + k - first, place, rank])
            made[name] = prepare(name, stream.batch(mine, turn), draw)
        yield made


def ahead(make: Callable[[], Iterator[T]], depth: int = 2) -> Generator[T]:
    """Run an iterator in a thread of its own, at most `depth` items ahead.

    >>> list(ahead(lambda: iter([1, 2, 3])))
    [1, 2, 3]
    """
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[str, T | BaseException | None]) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(item, timeout=0.1)

    def work() -> None:
        try:
            for item in make():
                put(("item", item))
                if stop.is_set():
                    return
            put(("end", None))
        except BaseException as error:  # handed over: it is raised where the items are used
            put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, item = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise item  # type: ignore[misc]
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
