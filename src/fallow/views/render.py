"""Render views of packed images on the processor, and hand their geometry back."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fallow.problems import SettingProblem, SourceProblem
from fallow.views.placing import place
from fallow.views.random import stream_key
from fallow.views.recipe import Recipe, parameters


class Pixels(Protocol):
    """What can be rendered: pictures one after the other in one flat array of bytes.

    If there is also an attribute `rows`, it names the image each entry came from, and chance
    follows the image rather than its place in the pack.
    """

    @property
    def pixels(self) -> np.ndarray: ...
    @property
    def offsets(self) -> np.ndarray: ...
    @property
    def heights(self) -> np.ndarray: ...
    @property
    def widths(self) -> np.ndarray: ...


@dataclass(frozen=True)
class ArrayPack:
    """A pack held in memory."""

    pixels: np.ndarray  # uint8
    offsets: np.ndarray  # N, int64
    heights: np.ndarray  # N, int32
    widths: np.ndarray  # N, int32
    rows: np.ndarray  # N, int64

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, position: int) -> np.ndarray:
        height, width = int(self.heights[position]), int(self.widths[position])
        start = int(self.offsets[position])
        return self.pixels[start : start + 3 * height * width].reshape(height, width, 3)


def pack_arrays(images: Sequence[np.ndarray] | np.ndarray) -> ArrayPack:
    """Pack pictures (uint8, H W 3 of any sizes; or H W for grey ones) in memory.

    >>> pack = pack_arrays([np.zeros((2, 3, 3), np.uint8), np.ones((1, 1), np.uint8)])
    >>> len(pack), pack[1].tolist()
    (2, [[[1, 1, 1]]])
    """
    pictures = []
    for number, image in enumerate(images):
        picture = np.asarray(image)
        if picture.ndim == 2:
            picture = np.repeat(picture[:, :, None], 3, axis=2)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise SourceProblem(
                f"picture {number} is {picture.dtype} {picture.shape}: give uint8 (H, W, 3)"
            )
        if picture.size == 0:
            raise SourceProblem(f"picture {number} has no pixels: leave it out")
        pictures.append(picture)
    sizes = np.array([picture.size for picture in pictures], np.int64)
    return ArrayPack(
        np.concatenate([picture.reshape(-1) for picture in pictures] or [np.zeros(0, np.uint8)]),
        np.concatenate([[0], np.cumsum(sizes)])[: len(sizes)].astype(np.int64),
        np.array([picture.shape[0] for picture in pictures], np.int32),
        np.array([picture.shape[1] for picture in pictures], np.int32),
        np.arange(len(pictures), dtype=np.int64),
    )


@dataclass(frozen=True)
class Drawn:
    """What chance decided for V views of B images; arrays, so that methods may change them.

    A pixel's colour becomes mixing @ pixel + pull @ (mean colour of the crop).
    """

    geometry: np.ndarray  # V B 2 3, float64, view pixel (x, y) to source pixel (x, y)
    factors: np.ndarray  # V B 4: brightness, contrast, saturation, hue; (1, 1, 1, 0) is none
    order: np.ndarray  # V B: row of colour.ORDERS
    grey: np.ndarray  # V B, bool
    sigma: np.ndarray  # V B, of the blur, 0 is none
    solarise: np.ndarray  # V B, bool
    mixing: np.ndarray  # V B 3 3
    pull: np.ndarray  # V B 3 3

    @property
    def coloured(self) -> np.ndarray:
        """V B: whether colours change at all."""
        return self.grey | (self.factors != (1.0, 1.0, 1.0, 0.0)).any(-1)


@dataclass
class Rendered:
    """Rendered views with their geometry. `groups` holds runs of views of equal size."""

    groups: list[Tensor]  # each V_g*B 3 S S, normalised float32, channels last, view-major
    geometry: Tensor  # V B 2 3
    roles: list[str]  # V
    drawn: Drawn

    @property
    def views(self) -> list[Tensor]:
        """One B 3 S S tensor per view; slices of the groups."""
        batch = self.geometry.shape[1]
        return [view for group in self.groups for view in (group.split(batch) if batch else [])]


def draw(
    recipe: Recipe,
    heights: np.ndarray,
    widths: np.ndarray,
    rows: np.ndarray,
    *,
    seed: int,
    epoch: int = 0,
) -> Drawn:
    """Decide every view of images of these sizes; `rows` are the numbers chance is keyed by.

    >>> from fallow.views import moco
    >>> one = draw(moco(224), [300], [400], [7], seed=0)
    >>> many = draw(moco(224), [50, 300], [60, 400], [3, 7], seed=0)
    >>> one.geometry.shape, bool((one.geometry[:, 0] == many.geometry[:, 1]).all())
    ((2, 1, 2, 3), True)
    """
    from fallow.views import kernel

    tables = parameters(recipe)
    shape = (len(tables), len(rows))
    drawn = Drawn(
        np.empty((*shape, 2, 3)),
        np.empty((*shape, 4)),
        np.empty(shape, np.int64),
        np.empty(shape, np.bool_),
        np.empty(shape),
        np.empty(shape, np.bool_),
        np.empty((*shape, 3, 3)),
        np.empty((*shape, 3, 3)),
    )
    kernel.draw(
        stream_key(seed, epoch)[0],
        np.ascontiguousarray(rows, np.int64),
        np.ascontiguousarray(heights, np.int64),
        np.ascontiguousarray(widths, np.int64),
        tables,
        drawn.geometry,
        drawn.factors,
        drawn.order,
        drawn.grey,
        drawn.sigma,
        drawn.solarise,
        drawn.mixing,
        drawn.pull,
    )
    place(drawn.geometry, recipe, heights, widths, rows, seed=seed, epoch=epoch)
    return drawn


def render(
    pack: Pixels,
    rows: Any,
    recipe: Recipe,
    *,
    seed: int,
    epoch: int = 0,
    threads: int | None = None,
    out: Rendered | None = None,
) -> Rendered:
    """Draw and render every view of the images at positions `rows` of the pack.

    The same seed, epoch and image give the same views in any batch, order and number of threads.
    `out` is an earlier result of the same shape whose memory may be written over.

    >>> from fallow.views import simclr
    >>> pack = pack_arrays(np.zeros((4, 32, 32, 3), np.uint8))
    >>> views = render(pack, [0, 2, 3], simclr(32), seed=0).views
    >>> [tuple(view.shape) for view in views]
    [(3, 3, 32, 32), (3, 3, 32, 32)]
    """
    positions = _positions(pack, rows)
    keys = np.asarray(getattr(pack, "rows", np.arange(len(pack.offsets))))[positions]
    drawn = draw(
        recipe,
        np.asarray(pack.heights)[positions],
        np.asarray(pack.widths)[positions],
        keys,
        seed=seed,
        epoch=epoch,
    )
    return render_drawn(pack, positions, drawn, recipe, threads=threads, out=out)


def render_drawn(
    pack: Pixels,
    rows: Any,
    drawn: Drawn,
    recipe: Recipe,
    *,
    threads: int | None = None,
    out: Rendered | None = None,
) -> Rendered:
    """Render views whose parameters are already decided (and perhaps changed) by the caller.

    >>> from fallow.views import identity
    >>> pack = pack_arrays(np.full((1, 4, 4, 3), 51, np.uint8))
    >>> drawn = draw(identity(4), pack.heights, pack.widths, pack.rows, seed=0)
    >>> float(render_drawn(pack, [0], drawn, identity(4)).views[0].mean())
    0.2...
    """
    from fallow.views import kernel

    positions = _positions(pack, rows)
    batch = len(positions)
    if drawn.geometry.shape[1] != batch:
        raise SettingProblem(
            f"the parameters are for {drawn.geometry.shape[1]} images, the batch has {batch}"
        )
    groups = _buffers(recipe, batch) if out is None else out.groups
    _check_buffers(groups, recipe, batch)
    pixels = np.asarray(pack.pixels).view()
    pixels.flags.writeable = False  # one compiled version for memory maps and arrays
    offsets = np.ascontiguousarray(pack.offsets, np.int64)
    heights = np.ascontiguousarray(pack.heights, np.int32)
    widths = np.ascontiguousarray(pack.widths, np.int32)
    scale = (1.0 / (255.0 * np.asarray(recipe.std))).astype(np.float32)
    shift = (-np.asarray(recipe.mean) / np.asarray(recipe.std)).astype(np.float32)
    coloured = drawn.coloured
    workers = max(1, torch.get_num_threads() if threads is None else threads)

    jobs = []
    for (first, last, size), group in zip(recipe.runs, groups, strict=True):
        target = group.permute(0, 2, 3, 1).view(len(group), size * size * 3).numpy()
        mine = slice(first, last)
        fixed = (
            pixels,
            offsets,
            heights,
            widths,
            positions,
            drawn.geometry[mine],
            drawn.mixing[mine],
            drawn.pull[mine],
            coloured[mine],
            drawn.sigma[mine],
            drawn.solarise[mine],
            scale,
            shift,
            size,
        )
        edges = np.linspace(0, len(group), (1 if workers == 1 else 4 * workers) + 1).astype(int)
        jobs += [
            (fixed, int(start), int(stop), target)
            for start, stop in pairwise(edges)
            if stop > start
        ]

    def run(job: tuple[Any, int, int, np.ndarray]) -> None:
        fixed, start, stop, target = job
        kernel.render(*fixed, start, stop, target)

    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            run(job)
    else:
        list(_pool(workers, os.getpid()).map(run, jobs))
    roles = [view.role for view in recipe.every_view]
    return Rendered(groups, torch.from_numpy(drawn.geometry), roles, drawn)


def _positions(pack: Pixels, rows: Any) -> np.ndarray:
    positions = np.atleast_1d(np.asarray(rows, dtype=np.int64))
    if len(positions) and not (positions.min() >= 0 and positions.max() < len(pack.offsets)):
        raise SettingProblem(
            f"positions go from {positions.min()} to {positions.max()}, "
            f"but the pack has entries 0 to {len(pack.offsets) - 1}"
        )
    return positions


def _buffers(recipe: Recipe, batch: int) -> list[Tensor]:
    return [
        _memory(((last - first) * batch, size, size, 3)).permute(0, 3, 1, 2)
        for first, last, size in recipe.runs
    ]


# Fresh memory costs as much as rendering into it, page by page: what earlier results gave back
# when their last tensor went away is taken first. A few blocks wait here, the oldest leave.
_shelf: dict[int, np.ndarray] = {}


def _memory(shape: tuple[int, ...]) -> Tensor:
    count = int(np.prod(shape))
    fitting = [key for key, block in list(_shelf.items()) if len(block) == count]
    block = _shelf.pop(fitting[-1], None) if fitting else None  # another thread may be faster
    if block is None:
        block = np.empty(count, np.float32)
    lent = block[:]  # torch holds this view; when it dies, nobody sees the block any more
    weakref.finalize(lent, _give_back, block).atexit = False
    return torch.from_numpy(lent).view(shape)


def _give_back(block: np.ndarray) -> None:
    _shelf[id(block)] = block
    for key in list(_shelf)[:-4]:
        _shelf.pop(key, None)


def _check_buffers(groups: list[Tensor], recipe: Recipe, batch: int) -> None:
    shapes = [tuple(group.shape) for group in groups]
    wanted = [((last - first) * batch, 3, size, size) for first, last, size in recipe.runs]
    if shapes != wanted:
        raise SettingProblem(f"`out` holds tensors of {shapes}, this batch needs {wanted}")


@lru_cache(maxsize=4)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Threads wait for the next batch; a forked process (other id) must start its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="views")
